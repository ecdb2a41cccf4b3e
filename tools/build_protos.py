"""Generates the Python stubs and the contract image from protos/.

Two outputs, because two processes want different things of one contract:

- `client/{type,encoder,search}/v1`: stubs without the validation rules. A caller's process may hold
  another copy of `buf/validate/validate.proto`, and two versions of one file name in a process
  crash at import.
- `services/common/contract.binpb`: the full descriptors with rules and comments, which the servers
  load into a pool of their own to validate requests and to answer reflection.

Run as a script: `python tools/build_protos.py [--image-only FILE]`.
"""

from __future__ import annotations

import argparse
import shutil
import sysconfig
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from grpc_tools import protoc
from protovalidate._gen.buf.validate import validate_pb

STUB_PACKAGES = ("type", "encoder", "search")
VALIDATE_PROTO = "buf/validate/validate.proto"


def build(root: Path) -> None:
    """Write the stubs and the contract image below `root`, the repository's folder."""
    with tempfile.TemporaryDirectory() as folder:
        image_file = Path(folder) / "contract.binpb"
        write_image(root, image_file)
        image = descriptor_pb2.FileDescriptorSet.FromString(image_file.read_bytes())
        stubs = Path(folder) / "stubs"
        stubs.mkdir()
        _generate(_without_rules(image), Path(folder), stubs)
        for package in STUB_PACKAGES:
            target = root / "client" / package
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(stubs / "searchmesh" / package, target)
            for directory in (target, *(path for path in target.iterdir() if path.is_dir())):
                (directory / "__init__.py").write_text("")
        shutil.copyfile(image_file, root / "services" / "common" / "contract.binpb")


def write_image(root: Path, target: Path) -> None:
    """Write the contract with all imports, comments and rules as one FileDescriptorSet.

    This is also the image that `buf lint` and `buf breaking` read, so that they need no network.
    """
    with tempfile.TemporaryDirectory() as folder:
        includes = Path(folder)
        _lay_out_imports(includes)
        rules = includes / "validate.binpb"
        rules.write_bytes(_validate_descriptor_set().SerializeToString())
        protos = sorted(
            str(path.relative_to(root / "protos")) for path in (root / "protos").rglob("*.proto")
        )
        sources = includes / "searchmesh.binpb"
        # the rules come in as a descriptor set, the only form they are published in here
        _protoc(
            f"-I{root / 'protos'}",
            f"-I{includes}",
            f"--descriptor_set_in={rules}",
            "--include_imports",
            "--include_source_info",
            f"--descriptor_set_out={sources}",
            *protos,
            "google/longrunning/operations.proto",
            # no message of ours names them, but statuses carry them: tools ask reflection for them
            "google/rpc/error_details.proto",
        )
        shutil.copyfile(sources, target)


def _lay_out_imports(folder: Path) -> None:
    """Copy the imported Google protos to the paths they are registered under."""
    google = resources.files("google")
    for source, registered in {
        "api/annotations.proto": "api/annotations.proto",
        "api/client.proto": "api/client.proto",
        "api/http.proto": "api/http.proto",
        "api/launch_stage.proto": "api/launch_stage.proto",
        "api/field_behavior.proto": "api/field_behavior.proto",
        # googleapis-common-protos ships this file as operations_proto.proto
        "longrunning/operations_proto.proto": "longrunning/operations.proto",
        "rpc/error_details.proto": "rpc/error_details.proto",
        "rpc/status.proto": "rpc/status.proto",
    }.items():
        target = folder / "google" / registered
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(google.joinpath(source).read_text())
    well_known = resources.files("grpc_tools").joinpath("_proto/google/protobuf")
    target = folder / "google" / "protobuf"
    target.mkdir()
    for name in ("any", "descriptor", "duration", "empty", "field_mask", "struct", "timestamp"):
        (target / f"{name}.proto").write_text(well_known.joinpath(f"{name}.proto").read_text())


def _validate_descriptor_set() -> descriptor_pb2.FileDescriptorSet:
    """protovalidate's rules file and its imports; the package ships them as descriptors only."""
    files: dict[str, bytes] = {}

    def visit(file: Any) -> None:
        for dependency in file.dependencies:
            visit(dependency)
        files.setdefault(file.name, file.proto.to_binary())

    visit(validate_pb._DESC)  # noqa: SLF001 - there is no public accessor
    return descriptor_pb2.FileDescriptorSet(
        file=[descriptor_pb2.FileDescriptorProto.FromString(proto) for proto in files.values()]
    )


def _without_rules(image: descriptor_pb2.FileDescriptorSet) -> descriptor_pb2.FileDescriptorSet:
    """The same contract without `buf.validate`: neither the import nor any option of it."""
    stripped = descriptor_pb2.FileDescriptorSet()
    for file in image.file:
        if file.name == VALIDATE_PROTO:
            continue
        copy = stripped.file.add()
        copy.CopyFrom(file)
        if VALIDATE_PROTO in copy.dependency:
            copy.dependency.remove(VALIDATE_PROTO)
        for message in copy.message_type:
            _strip_message(message)
    return stripped


def _strip_message(message: descriptor_pb2.DescriptorProto) -> None:
    # the options are unknown fields here: this process never loads their definition
    message.options.DiscardUnknownFields()
    for field in message.field:
        field.options.DiscardUnknownFields()
    for oneof in message.oneof_decl:
        oneof.options.DiscardUnknownFields()
    for nested in message.nested_type:
        _strip_message(nested)


def _generate(image: descriptor_pb2.FileDescriptorSet, folder: Path, stubs: Path) -> None:
    stripped = folder / "stripped.binpb"
    stripped.write_bytes(image.SerializeToString())
    ours = [file.name for file in image.file if file.name.startswith("searchmesh/")]
    _protoc(
        f"--descriptor_set_in={stripped}",
        # the plugins are found here even when the environment is not activated
        *(
            f"--plugin={name}={_script(name)}"
            for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
        ),
        f"--python_out={stubs}",
        f"--grpc_python_out={stubs}",
        f"--mypy_out=quiet:{stubs}",
        f"--mypy_grpc_out=quiet:{stubs}",
        *ours,
    )


def _script(name: str) -> str:
    """Path of a command that is installed beside this interpreter or on PATH."""
    beside = Path(sysconfig.get_path("scripts")) / name
    return str(beside) if beside.exists() else str(shutil.which(name) or name)


def main() -> None:
    """Command line: everything by default, or only the image that lint and breaking checks read."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--image-only", type=Path, metavar="FILE", help="write only the contract image, to FILE"
    )
    root = Path(__file__).resolve().parent.parent
    image_only = parser.parse_args().image_only
    if image_only:
        write_image(root, image_only)
    else:
        build(root)


def _protoc(*arguments: str) -> None:
    if protoc.main(["protoc", *arguments]) != 0:
        raise SystemExit("protoc failed; its messages are above")


if __name__ == "__main__":
    main()

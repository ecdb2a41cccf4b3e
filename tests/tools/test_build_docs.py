"""The API reference: complete, with links that lead somewhere, and true to comments and rules."""

import re
import shutil
from pathlib import Path, PurePosixPath

import pytest
from build_docs import build, stale_pages, write_pages
from build_protos import write_image
from contract_elements import elements
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).with_name("data")


@pytest.fixture(scope="module")
def pages() -> dict[PurePosixPath, str]:
    return build(ROOT)


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> list[descriptor_pb2.FileDescriptorProto]:
    image = tmp_path_factory.mktemp("image") / "contract.binpb"
    write_image(ROOT, image)
    files = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()).file
    return [file for file in files if file.name.startswith("searchmesh/")]


def headings(page: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", page, re.MULTILINE)


def anchors(page: str) -> list[str]:
    return [re.sub(r"[^a-z0-9_-]", "", heading.lower()) for heading in headings(page)]


def test_everything_declared_is_described(
    pages: dict[PurePosixPath, str], contract: list[descriptor_pb2.FileDescriptorProto]
) -> None:
    for file in contract:
        page = pages[PurePosixPath(file.name.removeprefix("searchmesh/")).with_suffix(".md")]
        for service in file.service:
            assert {service.name, *(method.name for method in service.method)} <= {*headings(page)}
        for element in elements(file):
            assert element.heading in headings(page)
            names = element.enum.value if element.is_enum else element.message.field
            assert all(f"`{one.name}`" in page for one in names)


def test_every_link_leads_to_one_heading(pages: dict[PurePosixPath, str]) -> None:
    for path, page in pages.items():
        assert len({*anchors(page)}) == len(anchors(page)), path
        for target, anchor in re.findall(r"\]\((?!https:)([^)#]*)#?([^)]*)\)", page):
            file = (ROOT / "docs" / "api" / path.parent / target).resolve() if target else None
            if not anchor:
                assert file is not None
                assert file.exists(), (path, target)
                continue
            there = (
                pages[PurePosixPath(file.relative_to(ROOT / "docs" / "api").as_posix())]
                if file
                else page
            )
            assert anchor in anchors(there), (path, target, anchor)


def test_the_same_protos_make_the_same_pages(pages: dict[PurePosixPath, str]) -> None:
    assert build(ROOT) == pages


def test_a_page_word_for_word(tmp_path: Path) -> None:
    source = tmp_path / "protos" / "searchmesh" / "sample" / "v1" / "shelf.proto"
    source.parent.mkdir(parents=True)
    shutil.copyfile(DATA / "shelf.proto", source)
    page = build(tmp_path)[PurePosixPath("sample/v1/shelf.md")]
    assert page == (DATA / "shelf.md").read_text()


def test_stale_pages_are_named_and_written_anew(tmp_path: Path) -> None:
    pages = {PurePosixPath("README.md"): "index\n", PurePosixPath("a/v1/a.md"): "page\n"}
    assert stale_pages(pages, tmp_path) == ["README.md", "a/v1/a.md"]
    write_pages(pages, tmp_path)
    assert stale_pages(pages, tmp_path) == []
    (tmp_path / "a" / "v1" / "a.md").write_text("edited\n")
    (tmp_path / "a" / "v1" / "removed.md").write_text("no longer in the contract\n")
    assert stale_pages(pages, tmp_path) == ["a/v1/a.md", "a/v1/removed.md"]
    write_pages(pages, tmp_path)
    assert stale_pages(pages, tmp_path) == []

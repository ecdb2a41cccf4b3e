"""Writes the contract as Markdown: an index, and one page a proto file in the order of the file."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import PurePosixPath
from posixpath import relpath
from typing import TYPE_CHECKING

from contract_elements import (
    ENUM_VALUE,
    FILE_PACKAGE,
    FILE_SERVICE,
    MESSAGE_FIELD,
    MESSAGE_ONEOF,
    SERVICE_METHOD,
    Comments,
    Element,
    elements,
)
from contract_rules import Rules
from google.protobuf import descriptor_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Field = descriptor_pb2.FieldDescriptorProto

INDEX = PurePosixPath("README.md")

_OURS = "searchmesh/"
_COMMON_TYPES = "searchmesh.type.v1."

_SCALARS = {number: name.removeprefix("TYPE_").lower() for name, number in Field.Type.items()}

_ELSEWHERE = {
    "google.protobuf.": "https://protobuf.dev/reference/protobuf/google.protobuf/",
    "google.longrunning.Operation": "https://google.aip.dev/151",
    "google.rpc.Status": "https://google.aip.dev/193",
}

_CODES = "|".join(
    (
        *("CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
        *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
        *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
        "UNAUTHENTICATED",
    )
)
_STATUS = re.compile(rf"({_CODES})(?=:| when\b)")
# where a comment's next sentence tells of a status, or of what is not there yet
_NEXT_ITEM = re.compile(rf"(?<=[.:]) (?=(?:{_CODES})(?::| when\b)|Not implemented yet:)")

_NAME = re.compile(r"`([A-Z]\w*(?:\.\w+)*)`")


@dataclass(frozen=True)
class Place:
    """The heading under which something is described."""

    page: PurePosixPath
    anchor: str


class Reference:
    """The contract as Markdown pages."""

    def __init__(self, image: descriptor_pb2.FileDescriptorSet) -> None:
        """image: with all imports, comments and rules."""
        self.rules = Rules(image)
        self._files = sorted(
            (file for file in image.file if file.name.startswith(_OURS)),
            # services before what they speak of
            key=lambda file: (not file.service, file.package, file.name),
        )
        self._places = {
            name: Place(page_path(file), _anchor(heading))
            for file in self._files
            for name, heading in _headings(file)
        }

    def pages(self) -> dict[PurePosixPath, str]:
        """Every page by its path; each text ends with one line break."""
        pages = {page_path(file): Page(self, file).render() for file in self._files}
        pages[INDEX] = self._index()
        return pages

    def find(self, name: str, package: str) -> Place | None:
        """Where `name` is described: a full name, or one of the package or of the common types."""
        for prefix in ("", f"{package}.", _COMMON_TYPES):
            place = self._places.get(prefix + name)
            if place is not None:
                return place
        return None

    def _index(self) -> str:
        lines = [
            "# API reference",
            "",
            "Written by `make docs` from the comments and rules in [`protos/`](../../protos); a",
            "running server answers the same to `grpcurl describe`.",
        ]
        for package in dict.fromkeys(file.package for file in self._files):
            lines += ["", f"## {package}", ""]
            for file in (one for one in self._files if one.package == package):
                lines += _index_entries(file)
        return "\n".join(lines) + "\n"


class Page:
    """One proto file as a page."""

    def __init__(self, reference: Reference, file: descriptor_pb2.FileDescriptorProto) -> None:
        self._reference = reference
        self._file = file
        self._path = page_path(file)
        self._comments = Comments(file)

    def render(self) -> str:
        """The page's text, ending with one line break."""
        blocks = [f"# {self._file.name}", self._way_back(), *self._prose((FILE_PACKAGE,))]
        for index, service in enumerate(self._file.service):
            blocks += self._service(service, (FILE_SERVICE, index))
        found = list(elements(self._file))
        for title, is_enum in (("Messages", False), ("Enums", True)):
            group = [one for one in found if one.is_enum is is_enum]
            blocks += [f"## {title}"] if group else []
            for element in group:
                blocks += self._enum(element) if is_enum else self._message(element)
        return "\n\n".join(blocks) + "\n"

    def _way_back(self) -> str:
        source = relpath(f"protos/{self._file.name}", f"docs/api/{self._path.parent}")
        index = relpath(str(INDEX), str(self._path.parent))
        return f"`{self._file.package}` · [source]({source}) · [all pages]({index})"

    def _service(
        self, service: descriptor_pb2.ServiceDescriptorProto, path: tuple[int, ...]
    ) -> Iterator[str]:
        yield f"## {service.name}"
        yield from self._prose(path)
        for index, method in enumerate(service.method):
            request = self._message_link(method.input_type, stream=method.client_streaming)
            answer = self._message_link(method.output_type, stream=method.server_streaming)
            yield f"### {method.name}"
            yield f"`/{self._file.package}.{service.name}/{method.name}`: {request} → {answer}"
            yield from self._prose((*path, SERVICE_METHOD, index))

    def _enum(self, element: Element) -> Iterator[str]:
        yield f"### {element.heading}"
        yield from self._prose(element.path)
        rows = [
            (f"`{value.name}`", str(value.number), self._cell((*element.path, ENUM_VALUE, index)))
            for index, value in enumerate(element.enum.value)
        ]
        yield _table(("value", "number", "meaning"), rows)

    def _message(self, element: Element) -> Iterator[str]:
        yield f"### {element.heading}"
        yield from self._prose(element.path)
        for rule in self._reference.rules.of_message(element.message):
            yield f"*Rule:* {self._linked(rule)}."
        rows = list(self._field_rows(element))
        yield _table(("field", "type", "description"), rows) if rows else "No fields."

    def _field_rows(self, element: Element) -> Iterator[tuple[str, str, str]]:
        """Fields in the order of the file, each oneof in a row of its own before its members."""
        rules = self._reference.rules
        oneof_seen: set[int] = set()
        for index, field in enumerate(element.message.field):
            # proto3 puts an optional field into a oneof of its own
            in_oneof = field.HasField("oneof_index") and not field.proto3_optional
            if in_oneof and field.oneof_index not in oneof_seen:
                oneof_seen.add(field.oneof_index)
                oneof = element.message.oneof_decl[field.oneof_index]
                comment = self._cell((*element.path, MESSAGE_ONEOF, field.oneof_index))
                yield f"oneof `{oneof.name}`", "", comment + _rule(rules.of_oneof(oneof))
            comment = self._cell((*element.path, MESSAGE_FIELD, index))
            name = f"{'· ' if in_oneof else ''}`{field.name}` = {field.number}"
            yield name, self._type(field, element), comment + _rule(rules.of_field(field))

    def _type(self, field: Field, element: Element) -> str:
        entry = element.map_entry(field)
        if entry is not None:
            key, value = entry.field
            return f"map of {self._item_type(key)} to {self._item_type(value)}"
        if field.label == Field.LABEL_REPEATED:
            return f"repeated {self._item_type(field)}"
        return ("optional " if field.proto3_optional else "") + self._item_type(field)

    def _item_type(self, field: Field) -> str:
        return self._message_link(field.type_name) if field.type_name else _SCALARS[field.type]

    def _message_link(self, type_name: str, *, stream: bool = False) -> str:
        name = type_name.removeprefix(".")
        place = self._reference.find(name, self._file.package)
        url = self._url(place) if place is not None else _url_elsewhere(name)
        shown = name.removeprefix(f"{self._file.package}.").removeprefix(_COMMON_TYPES)
        return ("stream of " if stream else "") + (f"[{shown}]({url})" if url else f"`{shown}`")

    def _url(self, place: Place) -> str:
        if place.page == self._path:
            return f"#{place.anchor}"
        return f"{relpath(str(place.page), str(self._path.parent))}#{place.anchor}"

    def _prose(self, path: tuple[int, ...]) -> Iterator[str]:
        """A comment as Markdown blocks: paragraphs, code, and a list of the statuses it names."""
        for block in self._comments.blocks(path):
            if block.startswith("    "):
                yield f"```\n{textwrap.dedent(block)}\n```"
                continue
            items = _NEXT_ITEM.split(block)
            sentences = [one for one in items if not _STATUS.match(one)]
            statuses = [_STATUS.sub(r"- `\1`", one, count=1) for one in items if _STATUS.match(one)]
            if sentences:
                yield self._linked(" ".join(sentences))
            if statuses:
                yield self._linked("\n".join(statuses))

    def _cell(self, path: tuple[int, ...]) -> str:
        """A comment in one cell of a table."""
        blocks = (block.strip() for block in self._comments.blocks(path))
        return _escaped("<br>".join(self._linked(block) for block in blocks))

    def _linked(self, text: str) -> str:
        """`Model` and `Model.state`, in backticks, become links to the description of Model."""

        def link(match: re.Match[str]) -> str:
            name = match.group(1)
            for candidate in (name, name.rpartition(".")[0]):
                place = self._reference.find(candidate, self._file.package)
                if place is not None:
                    return f"[`{name}`]({self._url(place)})"
            return match.group()

        return _NAME.sub(link, text)


def page_path(file: descriptor_pb2.FileDescriptorProto) -> PurePosixPath:
    """For example `encoder/v1/encoder_service.md`."""
    return PurePosixPath(file.name.removeprefix(_OURS)).with_suffix(".md")


def _headings(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Full name and heading of all that has one; a method's name is without its service."""
    for service in file.service:
        yield f"{file.package}.{service.name}", service.name
        for method in service.method:
            yield f"{file.package}.{method.name}", method.name
    for element in elements(file):
        yield f"{file.package}.{element.heading}", element.heading


def _index_entries(file: descriptor_pb2.FileDescriptorProto) -> Iterator[str]:
    page = page_path(file)

    def link(heading: str) -> str:
        return f"[{heading}]({page}#{_anchor(heading)})"

    for service in file.service:
        methods = ", ".join(link(method.name) for method in service.method)
        yield f"- **{link(service.name)}**: {methods}"
    if not file.service:
        types = ", ".join(link(element.heading) for element in elements(file))
        yield f"- [{page.stem}]({page}): {types}"


def _url_elsewhere(name: str) -> str | None:
    for prefix, url in _ELSEWHERE.items():
        if prefix.endswith(".") and name.startswith(prefix):
            return f"{url}#{_anchor(name.removeprefix(prefix))}"
    return _ELSEWHERE.get(name)


def _anchor(heading: str) -> str:
    """The anchor that Markdown viewers make of a heading."""
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


def _rule(phrases: Sequence[str]) -> str:
    return f"<br>*Rule:* {_escaped('; '.join(phrases))}." if phrases else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def _escaped(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|")

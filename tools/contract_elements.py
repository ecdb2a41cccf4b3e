"""What a proto file declares, and the comments on it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf import descriptor_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

# numbers of the lists in descriptor.proto; a comment's path is made of them and of indices
FILE_PACKAGE, FILE_MESSAGE, FILE_ENUM, FILE_SERVICE = 2, 4, 5, 6
MESSAGE_FIELD, MESSAGE_NESTED, MESSAGE_ENUM, MESSAGE_ONEOF = 2, 3, 4, 8
SERVICE_METHOD, ENUM_VALUE = 2, 2


@dataclass(frozen=True)
class Element:
    """A message or an enum."""

    heading: str
    """Its name and those of the messages around it: `Outer.Inner`."""
    proto: descriptor_pb2.DescriptorProto | descriptor_pb2.EnumDescriptorProto
    path: tuple[int, ...]
    """Where the file keeps its comment."""

    @property
    def is_enum(self) -> bool:
        """Whether `enum` may be read, or else `message`."""
        return isinstance(self.proto, descriptor_pb2.EnumDescriptorProto)

    @property
    def enum(self) -> descriptor_pb2.EnumDescriptorProto:
        """The enum that this is."""
        assert isinstance(self.proto, descriptor_pb2.EnumDescriptorProto)
        return self.proto

    @property
    def message(self) -> descriptor_pb2.DescriptorProto:
        """The message that this is."""
        assert isinstance(self.proto, descriptor_pb2.DescriptorProto)
        return self.proto

    def map_entry(
        self, field: descriptor_pb2.FieldDescriptorProto
    ) -> descriptor_pb2.DescriptorProto | None:
        """The generated message with the key and the value of a field that is a map."""
        for nested in self.message.nested_type:
            if nested.options.map_entry and field.type_name.endswith(
                f".{self.heading}.{nested.name}"
            ):
                return nested
        return None


class Comments:
    """The comments of one file."""

    def __init__(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        """file: with source info."""
        self._by_path = {
            tuple(location.path): location.leading_comments or location.trailing_comments
            for location in file.source_code_info.location
        }

    def blocks(self, path: tuple[int, ...]) -> Iterator[str]:
        """The paragraphs of one comment, each on one line; indented code keeps its lines."""
        comment = self._by_path.get(path, "").strip("\n")
        lines = [line.removeprefix(" ").rstrip() for line in comment.split("\n")]
        for block in re.split(r"\n{2,}", "\n".join(lines)):
            if block.startswith("    "):
                yield block
            elif block.strip():
                yield " ".join(block.split())


def elements(file: descriptor_pb2.FileDescriptorProto) -> Iterator[Element]:
    """Every message and enum of a file, nested ones after the message around them."""
    for index, message in enumerate(file.message_type):
        yield from _message_elements("", message, (FILE_MESSAGE, index))
    for index, enum in enumerate(file.enum_type):
        yield Element(enum.name, enum, (FILE_ENUM, index))


def _message_elements(
    around: str, message: descriptor_pb2.DescriptorProto, path: tuple[int, ...]
) -> Iterator[Element]:
    if message.options.map_entry:
        return
    heading = around + message.name
    yield Element(heading, message, path)
    for index, nested in enumerate(message.nested_type):
        yield from _message_elements(f"{heading}.", nested, (*path, MESSAGE_NESTED, index))
    for index, enum in enumerate(message.enum_type):
        yield Element(f"{heading}.{enum.name}", enum, (*path, MESSAGE_ENUM, index))

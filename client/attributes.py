"""Attributes between plain JSON values and a Struct, whose every number is a double."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import struct_pb2

from searchmesh.errors import InvalidRequest

_LARGEST_EXACT = 2**53

_MOST_DEPTH = 30
"""Lists and objects within each other. A message may hold 100 others within each other; an object
takes three of them, and the calls around it a few more."""

_MOST_SHOWN_BITS = 128


def attributes_to(attributes: Mapping[str, Any], path: str) -> struct_pb2.Struct:
    """path: where the attributes are in the request, for the error.

    Raises InvalidRequest for what a Struct cannot hold as it is.
    """
    struct = struct_pb2.Struct()
    for key, value in attributes.items():
        _fill(struct.fields[_checked_text(key, path)], value, f"{path}.{key}")
    return struct


def attributes_from(struct: struct_pb2.Struct) -> dict[str, Any]:
    """A number without a fraction comes back as an int."""
    return {key: value_from(value) for key, value in struct.fields.items()}


def value_from(value: struct_pb2.Value) -> Any:
    """One value of attributes."""
    match value.WhichOneof("kind"):
        case "bool_value":
            return value.bool_value
        case "string_value":
            return value.string_value
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "struct_value":
            return attributes_from(value.struct_value)
        case "list_value":
            return [value_from(inner) for inner in value.list_value.values]
        case _:
            return None


def _fill(target: struct_pb2.Value, value: object, path: str, depth: int = 0) -> None:
    if depth > _MOST_DEPTH:
        raise InvalidRequest.of(path, f"lists and objects nest more than {_MOST_DEPTH} deep")
    match value:
        case None:
            target.null_value = struct_pb2.NULL_VALUE
        case bool():
            target.bool_value = value
        case str():
            target.string_value = _checked_text(value, path)
        case int() | float():
            target.number_value = _checked_number(value, path)
        case Mapping():
            target.struct_value.SetInParent()
            for key, inner in value.items():
                name = _checked_text(key, path)
                _fill(target.struct_value.fields[name], inner, f"{path}.{name}", depth + 1)
        case Sequence() if not isinstance(value, bytes | bytearray):
            target.list_value.SetInParent()
            for index, inner in enumerate(value):
                _fill(target.list_value.values.add(), inner, f"{path}[{index}]", depth + 1)
        case _:
            raise InvalidRequest.of(path, f"a {type(value).__name__} is no JSON value")


def _checked_text(text: object, path: str) -> str:
    if not isinstance(text, str):
        raise InvalidRequest.of(path, f"the key {text!r} must be a string")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest.of(path, "holds half a character (a lone surrogate)") from error
    return text


def _checked_number(value: float, path: str) -> float:
    if isinstance(value, int) and abs(value) > _LARGEST_EXACT:
        raise InvalidRequest.of(
            path, f"{_shown(value)} is past 2^53, where numbers lose digits: send it as a string"
        )
    if not math.isfinite(value):
        raise InvalidRequest.of(path, f"{value} is not finite: leave it out or send a string")
    return float(value)


def _shown(value: int) -> str:
    # a number of thousands of digits says nothing, and Python refuses to write it out
    return str(value) if value.bit_length() <= _MOST_SHOWN_BITS else "a whole number"

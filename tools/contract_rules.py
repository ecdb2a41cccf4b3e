"""Puts the contract's validation rules into words, for the API reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message


class Rules:
    """Reads `buf.validate` options, whose definition comes with the contract image itself."""

    def __init__(self, image: descriptor_pb2.FileDescriptorSet) -> None:
        """image: with all imports, `buf/validate/validate.proto` among them."""
        self._pool = descriptor_pool.DescriptorPool()
        for file in image.file:
            self._pool.Add(file)
        # extensions are known to a class only after the classes of their own file are made
        message_factory.GetMessageClassesForFiles([file.name for file in image.file], self._pool)

    def of_field(self, field: descriptor_pb2.FieldDescriptorProto) -> list[str]:
        """Phrases such as `1 to 256 items`; empty where the field has no rule."""
        return _field_phrases(self._read(field.options, "FieldOptions", "buf.validate.field"))

    def of_message(self, message: descriptor_pb2.DescriptorProto) -> list[str]:
        """The sentence of each rule that spans fields."""
        rules = self._read(message.options, "MessageOptions", "buf.validate.message")
        return [_cel_sentence(cel) for cel in _value(rules, "cel", ())]

    def of_oneof(self, oneof: descriptor_pb2.OneofDescriptorProto) -> list[str]:
        """`required`, or nothing."""
        rules = self._read(oneof.options, "OneofOptions", "buf.validate.oneof")
        return ["required"] if _value(rules, "required", False) else []

    def _read(self, options: Message, options_type: str, extension: str) -> Message:
        """The rules in `options`: in this process's default pool they are unknown fields."""
        descriptor = self._pool.FindMessageTypeByName(f"google.protobuf.{options_type}")
        known: Any = message_factory.GetMessageClass(descriptor)()
        known.ParseFromString(options.SerializeToString())
        rules: Message = known.Extensions[self._pool.FindExtensionByName(extension)]
        return rules


def _field_phrases(rules: Message) -> list[str]:
    phrases = []
    for descriptor, value in rules.ListFields():
        if descriptor.name == "ignore":
            continue  # tells who validates, not what is valid
        if descriptor.name == "cel":
            phrases += [_cel_sentence(cel) for cel in value]
        elif descriptor.message_type is not None:
            phrases += _typed_phrases({one.name: value for one, value in value.ListFields()})
        else:
            phrases.append(_phrase(descriptor.name, value))
    return phrases


def _typed_phrases(rules: Mapping[str, Any]) -> list[str]:
    """Phrases of one type's rules, such as StringRules; both ends of a range make one phrase."""
    left = dict(rules)
    phrases = []
    for low, high, unit in _RANGES:
        if low in left and high in left:
            phrases.append(f"{_shown(left.pop(low))} to {_shown(left.pop(high))}{unit}")
    phrases += [_phrase(name, value) for name, value in left.items()]
    return [one for one in phrases if one]


def _phrase(name: str, value: Any) -> str:
    if name in _PHRASES:
        return _PHRASES[name](value)
    # a rule that nobody has put into words yet is better shown bare than left out
    return f"`{name}` {_shown(value)}"


def _cel_sentence(rule: Any) -> str:
    return str(rule.message or f"`{rule.expression}`")


def _shown(value: Any) -> str:
    if isinstance(value, str | bytes):
        return f"`{value!r}`"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _count(number: int, unit: str) -> str:
    return f"1 {unit}" if number == 1 else f"{number} {_PLURALS[unit]}"


def _listed(values: Any) -> str:
    return ", ".join(_shown(value) for value in values)


def _value(message: Message, name: str, default: Any) -> Any:
    return next((value for one, value in message.ListFields() if one.name == name), default)


def _items(rules: Message) -> str:
    phrases = _field_phrases(rules)
    return "each: " + ", ".join(phrases) if phrases else ""


_PLURALS = {"character": "characters", "byte": "bytes", "item": "items", "entry": "entries"}

_RANGES = (
    ("gte", "lte", ""),
    ("min_len", "max_len", " characters"),
    ("min_bytes", "max_bytes", " bytes"),
    ("min_items", "max_items", " items"),
    ("min_pairs", "max_pairs", " entries"),
)

_PHRASES: Mapping[str, Callable[[Any], str]] = {
    "required": lambda _: "must be set",
    "gt": lambda value: f"more than {_shown(value)}",
    "gte": lambda value: f"at least {_shown(value)}",
    "lt": lambda value: f"less than {_shown(value)}",
    "lte": lambda value: f"at most {_shown(value)}",
    "in": lambda values: f"one of {_listed(values)}",
    "not_in": lambda values: f"not {_listed(values)}",
    "const": lambda value: f"exactly {_shown(value)}",
    "finite": lambda _: "finite",
    "defined_only": lambda _: "a value listed here",
    "min_len": lambda value: f"at least {_count(value, 'character')}",
    "max_len": lambda value: f"at most {_count(value, 'character')}",
    "min_bytes": lambda value: f"at least {_count(value, 'byte')}",
    "max_bytes": lambda value: f"at most {_count(value, 'byte')}",
    "min_items": lambda value: f"at least {_count(value, 'item')}",
    "max_items": lambda value: f"at most {_count(value, 'item')}",
    "min_pairs": lambda value: f"at least {_count(value, 'entry')}",
    "max_pairs": lambda value: f"at most {_count(value, 'entry')}",
    "unique": lambda _: "no two alike",
    "pattern": lambda value: f"matches `{value}`",
    "items": _items,
}

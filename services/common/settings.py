"""Settings: one frozen dataclass per service, filled from environment variables once, at the start.

    @dataclass(frozen=True, kw_only=True)
    class EncoderSettings(ServerSettings):
        query_workers: int = field(default=2, metadata=setting(minimum=1, maximum=256))
        \"\"\"Threads that encode queries.\"\"\"

    settings = load(EncoderSettings, "ENCODER_", os.environ)

`ENCODER_QUERY_WORKERS` fills `query_workers`. The string under a field is its documentation and is
what `--help` prints. Only a service's entry point calls `load`; nobody else reads the environment.
"""

from __future__ import annotations

import ast
import difflib
import enum
import inspect
import math
import re
import textwrap
import types
import typing
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_args, get_origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class _Dataclass(Protocol):
    __dataclass_fields__: typing.ClassVar[dict[str, Field[Any]]]


SettingsType = TypeVar("SettingsType", bound=_Dataclass)

_BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}

# Kubernetes adds these for a Service called like the prefix: ENCODER_SERVICE_HOST and the like
_SERVICE_LINK = re.compile(
    r"(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)

# nearer than this to a known name, an unknown one is a slip of the pen
_TYPO_SIMILARITY = 0.85


class SettingsError(Exception):
    """Settings that a service cannot start with; every fault is a line that names its variable."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class SettingsConflictError(SettingsError):
    """Settings that do not go together; raised by the `__post_init__` of their dataclass.

    `load` says it with the names of their variables instead of their fields.
    """

    def __init__(self, sentence: str, *fields: str) -> None:
        """sentence: with a `{}` for each of the fields."""
        super().__init__([sentence.format(*fields)])
        self.sentence = sentence
        self.fields = fields


def setting(
    *, minimum: float | None = None, maximum: float | None = None, env: str | None = None
) -> dict[str, Any]:
    """Metadata of a settings field, for `dataclasses.field(metadata=setting(...))`.

    minimum, maximum: the range of a number, both inclusive.
    env: the whole name of the variable where it does not follow from prefix and field.
    """
    return {"minimum": minimum, "maximum": maximum, "env": env}


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable that fills one field."""

    name: str
    field: str
    description: str
    default: str | None
    """As it would be written in the environment; None where the variable is required."""
    allowed: str
    """For example `a whole number from 1 to 256`."""


def load(cls: type[SettingsType], prefix: str, environ: Mapping[str, str]) -> SettingsType:
    """Fill the dataclass from `environ`; a field without its variable keeps its default.

    Types: str, int, float, bool, Path, an Enum (by value), tuple[str, ...] (separated by commas),
    and each of them `| None`, where an empty variable means None.

    Raises SettingsError naming every bad, missing and misspelt variable at once.
    """
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    faults = []
    for field in fields(cls):
        name = _variable_name(field, prefix)
        given = environ.get(name)
        if given is None:
            if _is_required(field):
                faults.append(
                    f"{name} is not set: {_allowed(hints[field.name], field)} is required"
                )
            continue
        try:
            values[field.name] = _parse(given, hints[field.name], field)
        except ValueError:
            faults.append(f"{name}={given!r} is not {_allowed(hints[field.name], field)}")
    faults += _misspelt(cls, prefix, environ)
    if faults:
        raise SettingsError(faults)
    try:
        return cls(**values)
    except SettingsConflictError as error:
        names = {variable.field: variable.name for variable in variables(cls, prefix)}
        named = error.sentence.format(*(names[one] for one in error.fields))
        raise SettingsError([named]) from error


def unknown_variables(cls: type[_Dataclass], prefix: str, environ: Mapping[str, str]) -> list[str]:
    """Variables that carry the prefix and fill nothing, for a warning.

    Only a warning, because a short prefix may be someone else's too; names close to a known one
    already stopped `load`.
    """
    known = {variable.name for variable in variables(cls, prefix)}
    return sorted(
        name
        for name in environ
        if name.startswith(prefix)
        and name not in known
        and not _SERVICE_LINK.fullmatch(name.removeprefix(prefix))
    )


def variables(cls: type[_Dataclass], prefix: str) -> list[Variable]:
    """Every variable that `load` reads, in the order of the fields."""
    hints = typing.get_type_hints(cls)
    documentation = _documentation(cls)
    return [
        Variable(
            name=_variable_name(field, prefix),
            field=field.name,
            description=documentation.get(field.name, ""),
            default=None if _is_required(field) else _spelt(_default(field)),
            allowed=_allowed(hints[field.name], field),
        )
        for field in fields(cls)
    ]


def help_text(cls: type[_Dataclass], prefix: str, *, width: int = 100) -> str:
    """What `--help` prints: each variable with its default, what is allowed and what it does."""
    paragraphs = []
    for variable in variables(cls, prefix):
        default = (
            "required" if variable.default is None else f"default: {variable.default or 'none'}"
        )
        description = textwrap.fill(
            " ".join(variable.description.split()),
            width,
            initial_indent="      ",
            subsequent_indent="      ",
        )
        paragraphs.append(f"  {variable.name}  ({variable.allowed}; {default})\n{description}")
    return "\n".join(paragraphs)


def _variable_name(field: Field[Any], prefix: str) -> str:
    return field.metadata.get("env") or prefix + field.name.upper()


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _default(field: Field[Any]) -> object:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _spelt(value: object) -> str:
    """A value as it is written in the environment."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case enum.Enum():
            return str(value.value)
        case tuple():
            return ",".join(value)
        case _:
            return str(value)


def _without_none(hint: Any) -> tuple[Any, bool]:
    """The type behind `X | None`, and whether None is allowed."""
    if get_origin(hint) in (typing.Union, types.UnionType):
        (inner,) = (one for one in get_args(hint) if one is not type(None))
        return inner, True
    return hint, False


def _parse(given: str, hint: Any, field: Field[Any]) -> object:
    kind, optional = _without_none(hint)
    text = given.strip()
    if optional and not text:
        return None
    if kind is bool:
        if text.lower() not in _BOOLEANS:
            raise ValueError(text)
        return _BOOLEANS[text.lower()]
    if kind in (int, float):
        return _parse_number(text, kind, field)
    if get_origin(kind) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind is Path:
        if not text:
            raise ValueError(text)
        return Path(text).expanduser()
    if issubclass(kind, enum.Enum):
        return kind(text.lower())
    return text


def _parse_number(text: str, kind: type[int] | type[float], field: Field[Any]) -> float:
    number = kind(text)
    minimum, maximum = field.metadata.get("minimum"), field.metadata.get("maximum")
    too_small = minimum is not None and number < minimum
    too_large = maximum is not None and number > maximum
    if too_small or too_large or not math.isfinite(number):
        raise ValueError(text)
    return number


def _allowed(hint: Any, field: Field[Any]) -> str:
    kind, optional = _without_none(hint)
    return _allowed_kind(kind) + _allowed_range(field) + (" or empty" if optional else "")


def _allowed_kind(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return "a list separated by commas"
    if issubclass(kind, enum.Enum):
        return "one of " + ", ".join(str(member.value) for member in kind)
    return {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}.get(
        kind, "a text"
    )


def _allowed_range(field: Field[Any]) -> str:
    minimum, maximum = field.metadata.get("minimum"), field.metadata.get("maximum")
    if minimum is not None and maximum is not None:
        return f" from {minimum} to {maximum}"
    if minimum is not None:
        return f" of at least {minimum}"
    if maximum is not None:
        return f" of at most {maximum}"
    return ""


def _misspelt(cls: type[_Dataclass], prefix: str, environ: Mapping[str, str]) -> list[str]:
    known = [variable.name for variable in variables(cls, prefix)]
    faults = []
    for name in unknown_variables(cls, prefix, environ):
        near = difflib.get_close_matches(name, known, n=1, cutoff=_TYPO_SIMILARITY)
        if near:
            faults.append(f"{name} is not a setting; did you mean {near[0]}?")
    return faults


def _documentation(cls: type) -> dict[str, str]:
    """Field name -> the string literal under it, a subclass's before its base's."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not hasattr(base, "__dataclass_fields__"):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        found.update(_attribute_docstrings(definition))
    return found


def _attribute_docstrings(definition: ast.ClassDef) -> dict[str, str]:
    found = {}
    for statement, following in zip(definition.body, definition.body[1:], strict=False):
        match statement, following:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = inspect.cleandoc(text)
    return found

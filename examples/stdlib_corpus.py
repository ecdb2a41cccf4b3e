"""The documentation of Python's standard library, read from the interpreter that runs this.

About 5,000 documents: every public module, class, function, method and property that has a
docstring. The id is the qualified name, the text `qualified.name: docstring`, and the attributes
are `module`, `kind`, `signature` and `name`. The same interpreter always gives the same documents.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import pkgutil
import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from searchmesh import Document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import ModuleType

_LEFT_OUT = {
    # open a browser, print, start windows, or need a display
    *("antigravity", "this", "idlelib", "tkinter", "turtle", "turtledemo"),
    # run as programs, or change the process that imports them
    *("__main__", "rlcompleter"),
    # tests, tables of characters, and what setuptools puts in the place of the library's own
    *("test", "tests", "encodings", "lib2to3", "distutils"),
    # the same functions for the system at hand are in os and os.path
    *("posix", "nt", "posixpath", "ntpath", "genericpath"),
}

_KNOWN_AS = {
    **dict.fromkeys(("posix", "nt"), "os"),
    **dict.fromkeys(("posixpath", "ntpath", "genericpath"), "os.path"),
}
"""Modules whose contents go by another name."""

_MOST_DEFAULT_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class _Member:
    """A class or function as one module shows it."""

    claim: tuple[int, int, str, str]
    """The lower, the more this module is the member's home."""
    module: str
    name: str
    value: Any


def documents() -> list[Document]:
    """Every document, by id. Imports the whole library, which takes a second."""
    # modules and names that Python will drop are documented all the same
    with warnings.catch_warnings(action="ignore"):
        modules = dict(_modules())
        found = [
            _document(name, name, name.rpartition(".")[2], "module", module, "")
            for name, module in modules.items()
        ]
        for member in _members(modules):
            found += _documents_of(member)
    by_id = {document.id: document for document in found if document is not None}
    return [by_id[document_id] for document_id in sorted(by_id)]


def _modules() -> Iterator[tuple[str, ModuleType]]:
    for name in sorted(sys.stdlib_module_names):
        yield from _walk(name)
    yield "os.path", sys.modules["os.path"]


def _walk(name: str) -> Iterator[tuple[str, ModuleType]]:
    """A module and the modules in it; nothing where it is of another system or not public."""
    last = name.rpartition(".")[2]
    if last.startswith("_") or last in _LEFT_OUT:
        return
    module = _imported(name)
    if module is None:
        return
    yield name, module
    inner = pkgutil.iter_modules(getattr(module, "__path__", ()))
    for found in sorted(info.name for info in inner):
        yield from _walk(f"{name}.{found}")


def _imported(name: str) -> ModuleType | None:
    """The module, imported without a sound; None where this machine does not have it."""
    silence = io.StringIO()
    with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
        try:
            return importlib.import_module(name)
        except ImportError:
            return None


def _members(modules: dict[str, ModuleType]) -> Iterable[_Member]:
    """Every class and function once, as the module shows it that people import it from."""
    best: dict[int, _Member] = {}
    for module_name, module in modules.items():
        for name, value in _public(module):
            claim = _claim(module_name, name, value, listed=hasattr(module, "__all__"))
            if claim is None:
                continue
            member = _Member(claim, module_name, name, value)
            known = best.get(id(value))
            if known is None or member.claim < known.claim:
                best[id(value)] = member
    return best.values()


def _public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    names = getattr(module, "__all__", None)
    if names is None:
        names = [name for name in vars(module) if not name.startswith("_")]
    for name in sorted(set(names)):
        value = getattr(module, name, None)
        if inspect.isclass(value) or inspect.isroutine(value):
            yield name, value


def _claim(module: str, name: str, value: Any, *, listed: bool) -> tuple[int, int, str, str] | None:
    """How much a module may call a member its own; None where it only imports it.

    A member is defined in the module, or in a private one that the module stands for, or in one
    of its own submodules: `asyncio.run` and not `asyncio.runners.run`.
    """
    home = getattr(value, "__module__", None)
    home = _KNOWN_AS.get(home, home) if isinstance(home, str) else "_"
    depth = module.count(".")
    if home == module or home.startswith(f"{module}."):
        return (0, depth, module, name)
    if not home.startswith("_"):
        return None
    stands_for = home.partition(".")[0].removeprefix("_") == module
    return (1 if stands_for else 2 if listed else 3, depth, module, name)


def _documents_of(member: _Member) -> Iterator[Document | None]:
    full_name = f"{member.module}.{member.name}"
    is_class = inspect.isclass(member.value)
    yield _document(
        full_name,
        member.module,
        member.name,
        "class" if is_class else "function",
        member.value,
        _signature(member.value),
    )
    if is_class:
        yield from _attributes(member, full_name)


def _attributes(member: _Member, full_name: str) -> Iterator[Document | None]:
    """The methods and properties that a class itself defines."""
    for name, value in sorted(vars(member.value).items()):
        if name.startswith("_"):
            continue
        wrapped = isinstance(value, classmethod | staticmethod)
        function = value.__func__ if wrapped else value
        if inspect.isroutine(function):
            kind, signature = "method", _signature(function)
        elif isinstance(value, property):
            kind, signature = "property", ""
        else:
            continue
        yield _document(f"{full_name}.{name}", member.module, name, kind, function, signature)


def _document(
    full_name: str, module: str, name: str, kind: str, value: Any, signature: str
) -> Document | None:
    """None for what has no documentation of its own."""
    documentation = value.__doc__
    if not isinstance(documentation, str) or not documentation.strip():
        return None
    return Document(
        full_name,
        f"{full_name}: {inspect.cleandoc(documentation).strip()}",
        attributes={"module": module, "kind": kind, "signature": signature, "name": name},
    )


class _Elided:
    def __repr__(self) -> str:
        return "..."


def _signature(value: Callable[..., Any]) -> str:
    """Empty where the interpreter does not know it.

    A default that shows an address or the state of this process is left out, so that the same
    interpreter always gives the same text.
    """
    try:
        signature = inspect.signature(value)
    except (ValueError, TypeError, AttributeError):
        return ""
    parameters = [
        parameter.replace(default=_Elided()) if _varies(parameter.default) else parameter
        for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=parameters))


def _varies(default: object) -> bool:
    """Whether a default shows an address, this machine's paths or the state of this process."""
    shown = repr(default)
    if default is inspect.Parameter.empty:
        return False
    return shown.startswith("<") or sys.prefix in shown or len(shown) > _MOST_DEFAULT_CHARACTERS

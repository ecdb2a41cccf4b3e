"""The options that every command understands, wherever they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WITH_VALUE = (
    "--encoder",
    "--search",
    "--ca",
    "--certificate",
    "--key",
    "--token",
    "--token-file",
    "--caller",
    "--timeout",
)
FLAGS = ("--tls", "--json")


def hoisted(arguments: Sequence[str]) -> list[str]:
    """The arguments with every global option moved before the command, where the parser wants it.

    What follows a `--` stays where it is.
    """
    first: list[str] = []
    others: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            others += [argument, *rest]
            break
        if argument in FLAGS or argument.partition("=")[0] in WITH_VALUE:
            first.append(argument)
            if argument in WITH_VALUE and rest:
                first.append(rest.pop(0))
        else:
            others.append(argument)
    return first + others

# SPDX-License-Identifier: MIT
"""Errors about arguments in terms of the flags that were typed."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from typer.core import TyperCommand, TyperGroup

from fslcore.arguments import ArgumentError


class WrongArgument(Exception):
    """A wrong argument, described in terms of the flags of a command."""


def check_repeated(command: Any, args: list[str], *, until_argument: bool = False) -> None:
    """Checks that no option is given twice with different values: the last one would win in silence.

    Args:
        command: the command.
        args: what was typed after it.
        until_argument: whether the options end at the first argument, which is a sub-command.

    Raises:
        WrongArgument: one is.
    """
    spelt = {name: option for option in command.params for name in (*option.opts, *option.secondary_opts)}
    given: dict[str, str] = {}
    rest = iter(args)
    for token in rest:
        name, equals, _ = token.partition("=")
        option = spelt.get(name)
        if token == "--" or (until_argument and not token.startswith("-")):
            return
        if option is None or option.param_type_name != "option":
            continue
        typed = token if option.is_flag or equals else f"{token} {next(rest, '')}"
        before = given.setdefault(option.name, typed)
        if before.replace("=", " ") != typed.replace("=", " "):
            raise WrongArgument(f"{option.opts[0]} must be given once, received {before} and {typed}")


def with_suggestion(error: Exception, text: str) -> str:
    """The parser's words about an unknown option, with its guesses as a question."""
    guesses, said = getattr(error, "possibilities", None), getattr(error, "message", None)
    return f"{said} (did you mean {guesses[0]}?)" if guesses and said else text


class Command(TyperCommand):
    """A command whose help lists options under headings, and whose ArgumentErrors speak of its flags."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes arguments and options, those without a heading first."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
                heading = getattr(parameter, "rich_help_panel", None) or kind
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Reads what was typed; no option may contradict itself."""
        check_repeated(self, args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except (ArgumentError, ImportError) as error:
            raise _in_flags(error, self.params) from error


class Group(TyperGroup):
    """A group of commands whose own ArgumentErrors speak of its flags."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Reads what was typed; no option may contradict itself."""
        check_repeated(self, args, until_argument=True)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Runs the group, or one of its commands."""
        try:
            return super().invoke(ctx)
        except (ArgumentError, ImportError) as error:
            raise _in_flags(error, self.params) from error


def flag(name: str, value: Any = None) -> str:
    """An option as it is typed: `inner_steps` is --inner-steps, and a `generator` of False --no-generator.

    A name such as `from_` is --from: Python has that word itself.
    """
    return f"--{'no-' if value is False else ''}{name.rstrip('_').replace('_', '-')}"


def flag_and_value(name: str, value: Any) -> str:
    """An option as it is typed, with its value."""
    return flag(name, value) if isinstance(value, bool) else f"{flag(name)} {value}"


def in_flags(text: str, options: Collection[str]) -> str:
    """Replaces names of options in backticks, such as `way` or `preset='5w1s'`, by the flags."""

    def replacement(match: re.Match[str]) -> str:
        name, _, value = match[1].partition("=")
        if name not in options:
            return match[0]
        if value in ("", "True", "False"):
            return flag(name, value != "False")
        return flag_and_value(name, value.strip("'"))

    return re.sub(r"`([^`]*)`", replacement, text)


def message(error: ArgumentError, options: Collection[str]) -> str:
    """The message of an error about arguments, for a command with these options."""
    # An argument may be a sum: "shot + query".
    names = re.findall(r"[a-z_]+", error.argument)
    if not any(name in options for name in names):
        return in_flags(str(error), options)
    on = error.received if isinstance(error.received, bool) else None
    shown = re.sub(
        r"[a-z_]+", lambda name: flag(name[0], on) if name[0] in options else name[0], error.argument
    )
    received = error.described
    if received == f"{error.argument}={error.received!r}":
        received = shown if on is not None else f"{shown} {'= ' if len(names) > 1 else ''}{error.received}"
    return f"{shown} {in_flags(error.requirement, options)}, received {received}"


def _in_flags(error: Exception, parameters: Collection[Any]) -> Exception:
    options = {parameter.name for parameter in parameters if parameter.param_type_name == "option"}
    if isinstance(error, ArgumentError):
        return WrongArgument(message(error, options))
    return ImportError(in_flags(str(error), options))

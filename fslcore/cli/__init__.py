# SPDX-License-Identifier: MIT
"""The command line `fslcore`: one file per command, one line for each below.

TensorFlow, which takes seconds to import, is imported inside the commands: `--help` and a wrong argument
answer at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fslcore import __version__
from fslcore.cli import (
    bench,
    classify,
    data,
    doctor,
    evaluate,
    exits,
    export,
    output,
    serve,
    show,
    signals,
    support,
    support_checks,
    train,
)
from fslcore.cli.flags import Command, WrongArgument, with_suggestion

support_checks.add_to(support.app)

# A command is a function, or a typer app with sub-commands.
COMMANDS: dict[str, Any] = {
    "train": train.app,
    "evaluate": evaluate.evaluate,
    "show": show.show,
    "classify": classify.classify,
    "support": support.app,
    "export": export.export,
    "serve": serve.serve,
    "data": data.app,
    "bench": bench.bench,
    "doctor": doctor.doctor,
}


class _Commands(TyperGroup):
    """`fslcore`: lists its commands in their order above."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)


app = typer.Typer(
    cls=_Commands,
    help="Few-shot learning: train a learner, measure it on classes that it has never seen, and use it.",
    epilog="FSLCORE_TRACEBACK=1 in the environment shows where an error comes from.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fslcore {__version__}")
        raise typer.Exit


@app.callback()
def _fslcore(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    pass


for _name, _command in COMMANDS.items():
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_name)
    else:
        app.command(_name, cls=Command)(_command)


def main() -> None:
    """Runs the command line; exits with 0, 1 for a failure, 2 for a wrong argument, 130 after Ctrl-C.

    After another signal than Ctrl-C the exit code is 128 and its number: 143 for SIGTERM, 129 for SIGHUP.
    Only what the user can put right is answered in one line: a wrong argument, a file, a package that is
    missing, memory. Any other exception is a fault of the program and is shown with its traceback.
    """
    # Before TensorFlow is imported: it reads them then, and would fill the screen with its start-up messages.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    output.degrade()
    try:
        with signals.raised(), output.warnings_in_one_line():
            code = app(prog_name="fslcore", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort) as stop:
        code = _complain("interrupted", signals.exit_code(stop))
    except BrokenPipeError:  # such as that of `| head`
        output.silence()
        code = exits.FAILED
    except (WrongArgument, OSError) as error:
        if os.environ.get("FSLCORE_TRACEBACK"):
            raise
        code = _complain(_in_words(error), _code(error))
    except ImportError as error:
        code = _complain(str(error), exits.FAILED)
    except Exception as error:
        code = _other(error)
    sys.exit(code or 0)


def _other(error: Exception) -> int:
    """Reports an error that is neither about an argument nor about a file, or raises it again."""
    # The errors of the parser, whose class depends on typer's version, know how to describe themselves.
    described = getattr(error, "format_message", None)
    if described is None:
        # TensorFlow's error, known by its name: it may not have been imported.
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            first = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
            return _complain(f"out of memory ({first}): try a smaller --image-size or --way", exits.FAILED)
        raise error
    if type(error).__name__ == "NoArgsIsHelpError":
        with contextlib.suppress(OSError):
            print(described(), flush=True)
        return exits.WRONG_ARGUMENT
    return _complain(with_suggestion(error, described()), exits.WRONG_ARGUMENT)


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What the user has not typed wrongly.
_FAILURES = {*_FULL, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def _code(error: Exception) -> int:
    failed = isinstance(error, OSError) and error.errno in _FAILURES
    return exits.FAILED if failed else exits.WRONG_ARGUMENT


def _in_words(error: Exception) -> str:
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    place = f"{error.filename}: " if error.filename is not None else ""
    remedy = " (free some, or choose another place with --out)" if error.errno in _FULL else ""
    return f"{place}{error.strerror.lower()}{remedy}"


def _complain(message: str, code: int) -> int:
    print(f"fslcore: {' '.join(message.split())}", file=sys.stderr)
    return code


__all__ = ["app", "main"]

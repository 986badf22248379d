# SPDX-License-Identifier: MIT
"""The command line `fslcore`: one file per command, one line for each below.

TensorFlow, which takes seconds to import, is imported inside the commands: `--help` and a wrong argument
answer at once.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from fslcore.cli import bench, doctor, evaluate, exits, show, train
from fslcore.cli.flags import Command, WrongArgument

# A command is a function, or a typer app with sub-commands.
COMMANDS: dict[str, Any] = {
    "train": train.app,
    "evaluate": evaluate.evaluate,
    "show": show.show,
    "bench": bench.bench,
    "doctor": doctor.doctor,
}


class _Commands(TyperGroup):
    """`fslcore`: lists its commands in their order above."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)


app = typer.Typer(
    cls=_Commands,
    help="Few-shot learning: train a learner, and measure it on classes that it has never seen.",
    epilog="FSLCORE_TRACEBACK=1 in the environment shows where an error comes from.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for _name, _command in COMMANDS.items():
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_name)
    else:
        app.command(_name, cls=Command)(_command)


def main() -> None:
    """Runs the command line; exits with 0, 1 for a failure, 2 for a wrong argument, 130 after Ctrl-C.

    Only what the user can put right is answered in one line: a wrong argument, a file, a package that is
    missing. Any other exception is a fault of the program and is shown with its traceback.
    """
    # Before TensorFlow is imported: it reads them then, and would fill the screen with its start-up messages.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        code = app(prog_name="fslcore", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = _complain("interrupted", exits.INTERRUPTED)
    except (WrongArgument, OSError) as error:
        if os.environ.get("FSLCORE_TRACEBACK"):
            raise
        code = _complain(str(error), exits.WRONG_ARGUMENT)
    except ImportError as error:
        code = _complain(str(error), exits.FAILED)
    except Exception as error:
        # The errors of the parser, whose class depends on typer's version, know how to describe themselves.
        if not hasattr(error, "format_message"):
            raise
        code = _complain(error.format_message(), exits.WRONG_ARGUMENT)
    sys.exit(code or 0)


def _complain(message: str, code: int) -> int:
    print(f"fslcore: {' '.join(message.split())}", file=sys.stderr)
    return code


__all__ = ["app", "main"]

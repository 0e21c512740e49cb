"""The commands in one tree, and what becomes of errors: one message on standard error and an exit code. Imports typer."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import emodef
from emodef.errors import DataError, EmodefError

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_PERMISSIONS = "name another place, or change its permissions"
_ROOM = "make room, or name another place"
_REMEDIES = {  # for what the system says of a path that a user gave
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is no folder; check it",
    errno.EISDIR: "name a file",
    errno.EACCES: _PERMISSIONS,
    errno.EPERM: _PERMISSIONS,
    errno.EROFS: _PERMISSIONS,
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.ENAMETOOLONG: "give a shorter name",
}


class Commands(TyperGroup):
    """A group whose commands may raise: users see what went wrong and the remedy, never a traceback."""

    def make_context(self, *given: Any, **options: Any) -> Any:
        """Read the command line, which shows the help that it asks for."""
        with _told():
            return super().make_context(*given, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; turn what it raises into a message and an exit code."""
        with _told():
            result = super().invoke(ctx)
            sys.stdout.flush()  # a reader that has gone away shows here, not when Python shuts down
            return result


@contextmanager
def _told() -> Iterator[None]:
    """Turn what the block raises into a message and an exit code."""
    try:
        yield
    except EmodefError as error:
        _fail(str(error), error.exit_code, error)
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:  # `emodef ... | head`: nothing is wrong
        _discard_output()
        raise typer.Exit(0) from None
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # rich's, of help
            raise typer.Exit(0) from None
        raise
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:  # what it holds cannot be written at the end either, when Python would fail anew
            _discard_output()
        where = "" if error.filename is None else f"{error.filename}: "
        said = f"{where}{error.strerror or error}"
        remedy = _REMEDIES.get(error.errno or 0)
        if remedy is None:
            _fail(said, EmodefError.exit_code, error)
        _fail(f"{said}; {remedy}", DataError.exit_code, error)
    except Exception as error:
        if type(error).__module__.split(".")[0] in ("typer", "click"):  # usage errors are typer's to show
            _hint_at_dashes(error)
            raise
        _fail(
            f"unexpected {type(error).__name__}: {error}\nThis is a fault of emodef. To see where it is, run the "
            "command again with EMODEF_DEBUG=1 in the environment",
            EmodefError.exit_code,
            error,
        )


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _hint_at_dashes(error: Any) -> None:
    """Say how a text is given that begins like an option, where there is no such option, nor one like it."""
    if type(error).__name__ != "NoSuchOption" or error.possibilities or error.ctx is None:
        return
    command = error.ctx.command
    if any(parameter.name == "texts" for parameter in command.params):
        error.message += (
            f'; a text that begins with - stands behind --, as in: emodef {command.name} -- "-5 degrees"'
        )


def _fail(message: str, code: int, error: BaseException | None = None) -> None:
    if os.environ.get("EMODEF_DEBUG") and error is not None:
        import traceback

        traceback.print_exception(error)
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"emodef {emodef.__version__}")
        raise typer.Exit


def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Fine-grained emotions in English text, from models that read what each label means.

    \b
    [bold]The whole way[/bold]
      emodef train --recipe demo --data examples/sample --out runs/demo
      emodef evaluate runs/demo
      emodef export runs/demo
      emodef predict --model runs/demo "Thank you so much, you saved my whole week!"

    Without --model, predict uses the model that emodef brings: nothing to train, no network.

    \b
    [bold]Exit codes[/bold]
      0 done, 1 unexpected, 2 wrong option or setting, 3 wrong or missing data, or no place to write,
      4 package to install, 5 training cannot go on, 6 fetching failed, 130 interrupted
    """


# command, or group of commands -> its module here
MODULES = {
    "fit": "fitting",
    "train": "training",
    "recipes": "training",
    "soft-labels": "distilling",
    "average": "distilling",
    "zero-shot": "zeroshot",
    "evaluate": "evaluating",
    "compare": "comparing",
    "export": "exporting",
    "pack": "exporting",
    "predict": "predicting",
    "explain": "explaining",
    "report": "reporting",
    "serve": "serving",
    "probe": "probing",
    "card": "probing",
    "paper": "papers",
    "few-shot": "few_shot",
    "experiment": "experiments",
    "data": "data",
    "labels": "labels",
}


def build(command: str | None = None) -> typer.Typer:
    """The tree of commands; given one of them, only what it needs: building all takes longer than predicting a text."""
    tree = typer.Typer(
        cls=Commands,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    tree.callback()(root)
    wanted = [MODULES[command]] if command in MODULES else dict.fromkeys(MODULES.values())
    for name in wanted:
        module = importlib.import_module(f"emodef.cli.{name}")
        if hasattr(module, "app"):
            tree.add_typer(module.app, name=name)
        else:
            module.add_commands(tree)
    return tree


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module 'emodef.cli.app' has no attribute {name!r}")
    globals()["app"] = whole = build()
    return whole

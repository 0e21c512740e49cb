"""`emodef serve`: the HTTP API and its page. Imports typer; emodef.server only inside the command."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emodef.cli import options
from emodef.errors import SettingsError

if TYPE_CHECKING:
    from emodef.server.settings import Limits

KEYS_VARIABLE = "EMODEF_API_KEYS"
_SAFETY, _JOBS, _LOGS = "Safety", "Files", "Logs"


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module into `app`."""
    app.command()(serve)


def serve(
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 for every one this machine has.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes one that is free.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes that answer, each with the model.")] = 1,
    model: options.LightModel = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU cores for each worker's model. By default they share all there are."),
    ] = None,
    pass_texts: Annotated[
        int,
        typer.Option(
            min=1,
            help="Texts of several requests that go through the model together, at most; 1: each alone.",
        ),
    ] = 32,
    page: Annotated[bool, typer.Option(help="Serve the page at /.")] = True,
    keys: Annotated[
        Path | None,
        typer.Option(
            "--api-keys",
            metavar="FILE",
            help=f"Answer only who gives one of these keys, a line each. {KEYS_VARIABLE} has them, too, parted by commas.",
            rich_help_panel=_SAFETY,
        ),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            help="A site whose pages may call this server, as https://example.org; several times for several.",
            rich_help_panel=_SAFETY,
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            help="A name to answer to, as emotions.example.org; several times for several. By default those of --host, or any "
            "where that is not this machine alone.",
            rich_help_panel=_SAFETY,
        ),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=N",
            help="A limit, such as texts=200 or seconds=10; several times for several. docs/server.md lists them.",
            rich_help_panel=_SAFETY,
        ),
    ] = None,
    jobs_folder: Annotated[
        Path | None,
        typer.Option(
            help="Where uploads and results lie. By default a private folder of this user and port among the system's "
            "temporary ones.",
            rich_help_panel=_JOBS,
        ),
    ] = None,
    job_hours: Annotated[
        float, typer.Option(help="How long a finished file is kept.", rich_help_panel=_JOBS)
    ] = 24.0,
    jobs_at_once: Annotated[
        int, typer.Option(min=1, help="Files that are predicted side by side.", rich_help_panel=_JOBS)
    ] = 1,
    log_texts: Annotated[
        bool,
        typer.Option(
            "--log-texts", help="Also log what clients send. By default no text is.", rich_help_panel=_LOGS
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Log no requests, only faults.", rich_help_panel=_LOGS)
    ] = False,
) -> None:
    """Answer over HTTP: predictions, own labels, explanations, files; and a page to try them on.

    Listens on this machine alone unless --host says otherwise. Logs are JSON, a line a request, on standard error. SIGTERM
    and Ctrl-C end it when what is being answered is finished. Needs the extra serve: pip install 'emodef[serve]'

    \b
    [bold]Examples[/bold]
      emodef serve
      emodef serve --host 0.0.0.0 --port 80 --workers 4 --api-keys keys.txt --allowed-host emotions.example.org
      curl -s localhost:8000/v1/predict -H 'Content-Type: application/json' -d '{"texts": ["Thank you so much!"]}'
    """
    from emodef.server.run import serve as run
    from emodef.server.settings import ServerSettings

    settings = ServerSettings(
        host=host,
        port=port,
        workers=workers,
        model=None if model is None else str(model),
        threads=threads,
        pass_texts=pass_texts,
        limits=_limits(limit or []),
        keys=_keys(keys),
        origins=tuple(origin or ()),
        hosts=tuple(allowed_host or ()),
        jobs_folder=None if jobs_folder is None else str(jobs_folder),
        job_hours=job_hours,
        jobs_at_once=jobs_at_once,
        log_texts=log_texts,
        log_requests=not quiet,
        page=page,
    )
    if not (settings.on_loopback or settings.keys):
        typer.echo("note: whoever reaches this address may use it; --api-keys asks for a key", err=True)
    run(settings, lambda line: typer.echo(line, err=True))


def _keys(path: Path | None) -> tuple[str, ...]:
    """The keys of a file and of the environment. Raises SettingsError where one of them is given and holds none, or cannot be read."""
    found = [key.strip() for key in os.environ.get(KEYS_VARIABLE, "").split(",")]
    if KEYS_VARIABLE in os.environ and not any(found):
        raise SettingsError(
            f"{KEYS_VARIABLE} is set and holds no key: anyone could use this server; give keys in it, or unset it"
        )
    if path is not None:
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
        except OSError as error:
            raise SettingsError(
                f"--api-keys {path}: cannot be read: {error.strerror}; give a file with a key a line"
            ) from None
        except UnicodeDecodeError:
            raise SettingsError(f"{path} is not UTF-8 text; save it as UTF-8, a key a line") from None
        given = [line for line in lines if line and not line.startswith("#")]
        if not given:
            raise SettingsError(f"{path} holds no key; give one a line, made with: openssl rand -hex 24")
        found += given
    return tuple(dict.fromkeys(key for key in found if key))


def _limits(given: list[str]) -> Limits:
    """Limits as NAME=N. Raises SettingsError for an unknown one or no number."""
    from emodef.server.settings import Limits

    kinds: dict[str, type[int] | type[float]] = {
        one.name: float if isinstance(one.default, float) else int for one in fields(Limits)
    }
    values: dict[str, float] = {}
    for entry in given:
        name, _, value = entry.partition("=")
        if name not in kinds:
            raise SettingsError(f"--limit {entry}: there is no such limit; there are {', '.join(kinds)}")
        try:
            values[name] = kinds[name](value)
        except ValueError:
            raise SettingsError(f"--limit {entry}: {value!r} is no number") from None
    return Limits(**values)  # type: ignore[arg-type]

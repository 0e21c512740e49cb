"""One run of an experiment, in a process of its own: `python -m emodef.train.worker`, started by emodef.experiments.processes.

Standard input has one line of JSON: folder, settings, canonical (what they are known by), data (how the corpus is read),
fingerprint (what it must be then), resume, weights, cpu. When it closes after that, the one who asked is gone: save and end.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emodef.errors import DataError, EmodefError, SettingsError

if TYPE_CHECKING:
    from emodef.train.settings import TrainSettings

_PATIENCE = 300.0  # seconds after which a process that could not save ends without


def main() -> int:
    """Read the order, do it; the exit code says how it went, as those of the command line do."""
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return EmodefError.exit_code
    threading.Thread(target=_watch, daemon=True).start()
    try:
        work(json.loads(line))
    except EmodefError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


def work(order: Mapping[str, Any]) -> None:
    """Start or resume the run. Raises what `run_training` raises, and DataError where the corpus is another than was planned with."""
    from emodef.runs import DataChoice, fingerprint, started
    from emodef.train.processes import locked
    from emodef.train.run import run_training
    from emodef.train.settings import TrainSettings

    folder, choice = Path(order["folder"]), DataChoice(**order["data"])
    settings = TrainSettings(**order["settings"])
    if (folder / "metrics.json").exists():  # made by another experiment, since this one was planned
        _check_made(folder, settings, order["fingerprint"])
        return
    if not order["resume"] and (folder / "settings.json").exists():
        with locked(folder):
            _clear(folder)
    resume = started(folder)
    if resume:  # what does not matter for the result may be otherwise now
        settings = _saved(folder, settings)
    corpus = choice.load(settings.corpus, settings.label_set)
    if fingerprint(corpus) != order["fingerprint"]:
        raise DataError("was changed since the experiment was planned; start it again", settings.corpus)
    run_training(
        settings, corpus, folder, resume=resume, cpu=order["cpu"], weights=order["weights"], choice=choice
    )


def _saved(folder: Path, settings: TrainSettings) -> TrainSettings:
    """The settings that a folder's run was started with. Raises SettingsError where they are not those of the planned run."""
    from emodef.runs import read_json
    from emodef.train.identities import NOTED, moved

    saved = type(settings)(**read_json(folder / "settings.json"))
    if saved.canonical() != settings.canonical():
        raise SettingsError(f"{folder} holds another run; move it away")
    now = moved(saved.model_dump(), settings.model_dump())
    return saved.model_copy(update={place: now[place] for place in NOTED})


def _check_made(folder: Path, settings: TrainSettings, data: str) -> None:
    """Raise SettingsError, saying what to do, where a finished run is not the planned one, or not whole."""
    from emodef.runs import read_json

    _saved(folder, settings)
    noted = read_json(folder / "metrics.json")["training"].get("corpus")
    if noted not in (None, data):
        raise SettingsError(f"{folder} holds a finished run on other texts or labels; move it away")
    if not (folder / "probabilities.npz").exists():
        raise SettingsError(
            f"{folder} holds a finished run without its probabilities.npz; copy that there too, or move the folder away to train again"
        )


def _clear(folder: Path) -> None:
    """Remove a run that is not finished."""
    if (folder / "metrics.json").exists():
        raise SettingsError(f"{folder} holds a finished run")
    for path in folder.iterdir():
        if path.name in (".lock", "output.txt"):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _watch() -> None:
    while os.read(
        sys.stdin.fileno(), 1 << 16
    ):  # not through sys.stdin, whose lock would be in the way at the end
        continue
    os.kill(os.getpid(), signal.SIGTERM)  # the loop saves and ends; before and after it, nothing is lost
    time.sleep(_PATIENCE)
    os._exit(128 + signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())

"""What every measurement needs: its options, the corpus and settings they name, what to say about the run, and saving it."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.report import write_report
from emodef.atomic import write_text

RESULTS = Path(__file__).parent / "results"
SHOWN = ("corpus", "backbone", "pooling", "batch_size", "max_length", "max_pair_length", "weight_decay")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every measurement of training has."""
    parser.add_argument("--data-dir", help="folder of the corpora (default: $EMODEF_DATA, else the cache)")
    parser.add_argument("--corpus", help="a corpus's name or a file (default: the recipe's)")
    parser.add_argument("--recipe", default="minilm")
    parser.add_argument("--backbone", help="instead of the recipe's")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a few steps of everything: does it run? Its figures mean nothing",
    )


def load(options: argparse.Namespace) -> tuple[Any, Any]:
    """Settings and corpus (split -> Corpus) as the options say."""
    from emodef.corpora import load_corpus
    from emodef.train.settings import load_recipe

    given = {"backbone": options.backbone, "corpus": options.corpus}
    settings = load_recipe(options.recipe, {key: value for key, value in given.items() if value})
    published = {"data_dir": options.data_dir} if options.data_dir else {}
    return settings, load_corpus(settings.corpus, **published)


def about(command: str, arguments: list[str], options: argparse.Namespace, settings: Any) -> dict[str, Any]:
    """What `circumstances` says, and the settings. The load is that before measuring: the machine should have been idle."""
    shown = {
        key: without_paths([value])[0] if isinstance(value := getattr(settings, key), str) else value
        for key in SHOWN
    }
    return {
        **circumstances(command, arguments, quick=options.quick, load=load_now(quick=options.quick)),
        "settings": shown,
    }


def circumstances(
    command: str, arguments: Sequence[str], *, quick: bool, load: float | None
) -> dict[str, Any]:
    """Command, date, commit, machine, load and versions, as every result has them."""
    from torch import device

    from emodef.train.versions import code_version, hardware, versions

    return {
        "command": shlex.join(["python", "-m", f"bench.{command}", *without_paths(arguments)]),
        "quick": quick,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": code_version(),
        "hardware": hardware(device("cpu")),
        "load_before": load,
        "versions": versions(),
    }


def load_now(*, quick: bool = False) -> float | None:
    """The machine's load, warning where it is not idle; None where the system does not tell."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    if load is not None and load > 0.5 and not quick:
        print(f"warning: the machine is not idle (load {load:.1f}); the figures will suffer", file=sys.stderr)
    return load


def save(folder: Path, name: str, result: dict[str, Any]) -> None:
    """Write `folder`/`name`.json, and the report over every result that stands there."""
    write_text(folder / f"{name}.json", json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(f"wrote {folder / name}.json and {write_report(folder)}")


def without_paths(arguments: Sequence[str]) -> list[str]:
    """Where the measuring machine keeps its folders says nothing to anyone else: absolute paths are cut to their last part."""
    found = []
    for word in arguments:
        option, sign, value = word.partition("=") if word.startswith("--") else ("", "", word)
        found.append(f"{option}{sign}…/{Path(value).name}" if Path(value).is_absolute() else word)
    return found

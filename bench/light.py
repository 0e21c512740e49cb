"""What every measurement of the light model needs: its options, texts and model, facts about the run, and a page for the results.

A measurement of training has a recipe's settings (`bench.common`); one of the light model has a model's directory. Imports nothing heavy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import RESULTS, circumstances, load_now
from emodef.atomic import write_text

ROOT = Path(__file__).parent.parent
SHIPPED_CHECKPOINT = ROOT / "models" / "minilm-taught"  # by name: others may be packed beside it
PACKAGES = ("onnxruntime", "openvino", "onnx")  # beside those that emodef.train.versions names


def parser(command: str, description: str | None, *, model: bool = True) -> argparse.ArgumentParser:
    """The options that every measurement has."""
    made = argparse.ArgumentParser(
        prog=f"python -m bench.{command}", description=(description or "").splitlines()[0]
    )
    if model:
        made.add_argument("--model", type=Path, help="a light model's folder (default: the shipped model)")
    made.add_argument("--data-dir", help="folder of the corpora (default: $EMODEF_DATA, else the cache)")
    made.add_argument("--corpus", default="goemotions", help="a published corpus's name, or a file")
    made.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    made.add_argument(
        "--quick", action="store_true", help="a little of everything: does it run? Its figures mean nothing"
    )
    return made


def splits(options: argparse.Namespace) -> dict[str, Any]:
    """The corpus that the options name: split -> Corpus."""
    from emodef.corpora import load_corpus

    published = {"data_dir": options.data_dir} if options.data_dir else {}
    return load_corpus(options.corpus, **published)


def light_folder(options: argparse.Namespace) -> Path:
    """The light model's directory. Raises DataError where there is none."""
    from emodef.predictor.core import SHIPPED
    from emodef.predictor.model_file import find

    return find(options.model or SHIPPED)


def checkpoint(options: argparse.Namespace) -> Path | None:
    """The model as transformers has it: the one given; for the shipped model its checkpoint; else None."""
    if options.checkpoint is not None or getattr(options, "model", None) is not None:
        return options.checkpoint
    return SHIPPED_CHECKPOINT if (SHIPPED_CHECKPOINT / "emodef.json").is_file() else None


def sample(texts: Sequence[str], size: int, number: int = 0) -> list[str]:
    """`size` texts, of lengths spread as those of all, in their order; another `number` gives others."""
    size = min(size, len(texts))
    order = np.argsort([len(text) for text in texts], kind="stable")
    strata = np.array_split(order, size)
    chosen = sorted(int(stratum[number % len(stratum)]) for stratum in strata)
    return [texts[i] for i in chosen]


def compiled() -> dict[str, str]:
    """This process's environment, in which Python keeps what it compiled, as it does for users: a checkout is compiled once."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def seconds(command: Sequence[str], number: int = 0, *, cwd: Path | None = None) -> float:
    """How long a process takes from start to end, in any round. Raises RuntimeError for one that fails."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=compiled())
    taken = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()[-2000:]}")
    return taken


class Run:
    """One measurement: begun before anything is measured, so that the load it notes is not its own."""

    def __init__(self, command: str, arguments: Sequence[str], options: argparse.Namespace) -> None:
        self.command, self.arguments, self.options = command, list(arguments), options
        self.load = load_now(quick=options.quick)

    def about(self) -> dict[str, Any]:
        """Command, machine, versions, commit and load."""
        found = circumstances(self.command, self.arguments, quick=self.options.quick, load=self.load)
        for name in PACKAGES:
            with suppress(PackageNotFoundError):
                found["versions"][name] = version(name)
        return found

    def save(self, result: dict[str, Any], page: Sequence[str]) -> None:
        """Write the figures as JSON and as a page of Markdown, named after the command."""
        about, folder = self.about(), self.options.out
        content = json.dumps({"about": about, **result}, indent=1, ensure_ascii=False)
        write_text(folder / f"{self.command}.json", content + "\n")
        text = "\n".join([*page, *_footer(about)]).rstrip() + "\n"
        write_text(folder / f"{self.command}.md", text)
        print(text, f"wrote {folder / self.command}.json and .md", sep="\n")


def _footer(about: dict[str, Any]) -> list[str]:
    machine = about["hardware"]
    load = "" if about["load_before"] is None else f", load before {about['load_before']:.2f}"
    named = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    lines = ["", "**A quick try: its figures mean nothing.**"] if about["quick"] else []
    return [
        *lines,
        "",
        f"Command: `{about['command']}` at commit {about['commit']}, {about['date']}. Machine: {machine['cpu']}, "
        f"{machine['cores']} cores{load}. {named}.",
    ]

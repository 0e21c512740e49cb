"""The measurements' results (JSON) as one page, training.md. Imports rounds.

python -m bench.report [FOLDER]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.rounds import shown
from emodef.atomic import write_text


def write_report(folder: Path) -> Path:
    """Write `folder`/training.md from whichever results stand in `folder`; returns its path."""
    parts = ["# Speed and memory of training", ""]
    for name, render in (("training_speed", _speed), ("training_profile", _profile), ("memory", _memory)):
        path = folder / f"{name}.json"
        if path.is_file():
            result = json.loads(path.read_text(encoding="utf-8"))
            parts += render(result) + _about(result["about"])
    write_text(folder / "training.md", "\n".join(parts).rstrip() + "\n")
    return folder / "training.md"


def _speed(result: dict[str, Any]) -> list[str]:
    lines = [
        "Ratios are taken within a round (all sides in turn, in one run, on one machine) and given as the median over the rounds,",
        "with the lowest and the highest. Sides of a table share corpus, model, batch size, optimiser and precision, except for",
        "what the row says.",
        "",
    ]
    for section in result["sections"].values():
        for comparison in section:
            lines += _comparison(comparison)
    return lines


def _comparison(found: dict[str, Any]) -> list[str]:
    rows, real = [], any("real_tokens_epoch" in row for row in found["rows"])
    for row in found["rows"]:
        ratio = row.get("ratio")
        cells = [row["name"], f"{row['examples_per_second']:.1f}", f"{row['ms_per_step']:.1f}"]
        if real:
            cells.append(f"{100 * row['real_tokens_epoch']:.1f}%" if "real_tokens_epoch" in row else "")
        if ratio is None:
            cells.append("1")
        else:
            wanted = f" (wanted: {row['wanted']:.1f})" if "wanted" in row else ""
            cells.append(shown(ratio) + wanted)
        rows.append(cells)
    head = [
        "",
        "examples/s",
        "ms a step",
        *(["real tokens, whole epoch"] if real else []),
        f'"{found["base"]}" is faster by',
    ]
    lines = [f"## {found['title']}", "", *table(head, rows), ""]
    if "denormal_moments" in found:
        counts = "; ".join(f"{name}: {number:,}" for name, number in found["denormal_moments"].items())
        lines += [
            f"First moments of the word table that are denormal numbers when timing starts: {counts}. Words that the first epoch",
            "leaves unseen for g steps got moments of words trained here after g updates of AdamW without a gradient",
            "(`age_moments`).",
            "",
        ]
    return lines


def _profile(result: dict[str, Any]) -> list[str]:
    setups = result["setups"]
    names = list(dict.fromkeys(name for found in setups.values() for name in found["groups"]))
    names.sort(key=lambda name: -sum(found["groups"].get(name, 0.0) for found in setups.values()))
    rows = [
        [name, *(f"{100 * found['groups'].get(name, 0.0):.1f}%" for found in setups.values())]
        for name in names
    ]
    rows.append(["ms a step", *(f"{found['ms_per_step']:.1f}" for found in setups.values())])
    rows.append(
        ["ms a step, profiled", *(f"{found['ms_per_step_profiled']:.1f}" for found in setups.values())]
    )
    lines = ["## Where the time of a step goes", "", *table(["", *setups], rows), ""]
    lines += [
        "Profiling itself slows short operations most, so their shares are upper bounds. `cdp`: steps on pairs.",
        "",
    ]
    for setup, found in setups.items():
        rows = [[f"`{o['operation']}`", o["group"], f"{100 * o['share']:.1f}%", f"{o['calls'] / found['steps']:.0f}"]
                for o in found["operations"]]  # fmt: skip
        lines += [
            f"### Costliest operations: {setup}",
            "",
            *table(["operation", "group", "share", "calls a step"], rows),
            "",
        ]
    return lines


def _memory(result: dict[str, Any]) -> list[str]:
    rows = [
        [run["setup"], f"{run['parameters'] / 1e6:.1f} M", f"{run['steps']['primary']} + {run['steps']['auxiliary']}",
         f"{run['peak_mib_before_training']:,}", f"**{run['peak_mib']:,}**"]
        for run in result["runs"]
    ]  # fmt: skip
    head = [
        "setup",
        "parameters",
        "steps, texts + pairs",
        "MiB before training",
        f"peak MiB (wanted: below {result['wanted_mib']:,})",
    ]
    return [
        "## Peak memory of a run", "", *table(head, rows), "",
        "Largest resident size of the process over a whole run: training steps (the split's longest texts among them), resume states,",
        "evaluation of all dev and test texts with bootstrap intervals, and saving.", "",
    ]  # fmt: skip


def _about(about: dict[str, Any]) -> list[str]:
    machine, versions = about["hardware"], about["versions"]
    warning = ["**A quick try: its figures mean nothing.**", ""] if about["quick"] else []
    load = "" if about["load_before"] is None else f", load before {about['load_before']:.2f}"
    return [
        *warning,
        f"Command: `{about['command']}` at commit {about['commit']}, {about['date']}. Machine: {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['threads']} threads{load}. Precision {about['precision']}; "
        + ", ".join(f"{key} {value}" for key, value in about["settings"].items())
        + ". "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
        "",
    ]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table; all columns but the first are right-aligned."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return [lines[0], "|" + "|".join(["---", *["---:"] * (len(head) - 1)]) + "|", *lines[1:]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the report anew."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    print(write_report(Path(given[0]) if given else Path(__file__).parent / "results"))


if __name__ == "__main__":
    main()

"""Every table by name, and the files they are written to. Imports the tables' modules, reporting, atomic."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from emodef.atomic import write_text
from emodef.paper.cells import Parts
from emodef.paper.controls import controls
from emodef.paper.statistics import Study
from emodef.paper.study import Block
from emodef.paper.table1 import table1
from emodef.paper.table2 import table2
from emodef.paper.table3 import table3
from emodef.paper.table4 import table4
from emodef.paper.table5 import table5
from emodef.reporting import Cell, Column, Table, render

TITLES = {
    "table1": "Table I: examples",
    "table2": "Table II: encoders and setups",
    "table3": "Table III: the sampling probability p",
    "table4": "Table IV: F1 by label",
    "table5": "Table V: disagreements with the annotators",
    "controls": "Controls: equal steps in all, equal primary steps, smaller gradients of auxiliary steps",
    "runs": "The runs behind the tables",
}
# made of other results than a `Study`'s, by a function of its own
FIGURE3 = {"figure3": "Figure 3 in numbers: transfer to other corpora"}
# the shipped recipes that make a table's or figure's runs
RECIPES = {
    "figure3": ("figure3",),
    "sweep": ("table3", "table3_primary"),
    "table2": ("table2",),
    "table3": ("table3", "table3_primary"),
    "table4": ("table4",),
    "table5": ("table4",),
    "controls": ("minilm_campaign", "minilm_bounded"),
}
_FROM_RUNS: Mapping[str, Callable[[Study, Sequence[str]], Parts]] = {
    "table2": table2,
    "table3": table3,
    "table4": table4,
    "table5": table5,
    "controls": controls,
}
_RUNS = (
    "Of what runs, and with which seeds, processors, versions and code those were made: [runs.md](runs.md)."
)
SUFFIXES = {"markdown": ".md", "latex": ".tex", "csv": ".csv"}


def build(
    name: str, study: Study, policies: Sequence[str], data_dir: str | os.PathLike[str] | None = None
) -> Parts:
    """The tables of one name of TITLES: slug -> table. Errors: those of `table1`, which is made from a corpus and not from runs."""
    if name == "table1":
        return table1(data_dir)
    return {"all": runs_table(study)} if name == "runs" else _FROM_RUNS[name](study, policies)


def runs_table(study: Study) -> Table:
    """Every run: how it was made, with what, how long it took."""
    columns = (
        Column("run"), Column("model"), Column("settings"), Column("p", "number", 1), Column("seed"),
        Column("primary steps", "count"), Column("auxiliary steps", "count"), Column("kept epoch"),
        Column("minutes", "number", 0), Column("precision"), Column("hardware"), Column("torch"), Column("code"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for block in study.blocks:
        for group in block.groups:
            for run in group.runs:
                kept = f"{run.training.get('kept_epoch', '?')} of {run.settings['epochs']}"
                rows.append(
                    (
                        run.name, group.title, _settings(block, group.settings), group.settings.get("p"), str(run.seed),
                        run.steps["primary"], run.steps["auxiliary"], kept, run.seconds / 60,
                        str(run.training.get("precision", "")), run.hardware, str(run.about.get("versions", {}).get("torch", "")),
                        run.about.get("code"),
                    )
                )  # fmt: skip
    return Table(
        "Runs",
        columns,
        tuple(rows),
        ("minutes: by the clock, evaluation on dev included",) if rows else ("not run here",),
    )


def write(name: str, parts: Parts, folder: str | os.PathLike[str], command: str) -> list[Path]:
    """Write NAME.md and NAME.tex, and each table as NAME-SLUG.csv; what was written. command: what makes them again."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    made = f"Made by `{command}`."
    if name in _FROM_RUNS:
        made += f" {_RUNS}"
    pages = {
        "markdown": [f"# {(TITLES | FIGURE3)[name]}", made],
        "latex": [f"% made by: {command}"],
    }
    for form, page in pages.items():
        page += [render(table, form).strip() for table in parts.values()]
    content = {f"{name}{SUFFIXES[form]}": "\n\n".join(page) + "\n" for form, page in pages.items()}
    content |= {f"{name}-{slug}.csv": render(table, "csv") for slug, table in parts.items()}
    for file, text in content.items():
        write_text(out / file, text)
    return [out / file for file in content]


def write_figures_page(shown: Sequence[str], folder: str | os.PathLike[str], command: str) -> Path:
    """Write figures.md: every figure with its caption, as `Drawing.markdown` has it."""
    path = Path(folder) / "figures.md"
    parts = ["# Figures", f"Made by `{command}`. {_RUNS}", *(each.strip() for each in shown)]
    write_text(path, "\n\n".join(parts) + "\n")
    return path


def _settings(block: Block, settings: Mapping[str, object]) -> str:
    extra = [
        f"{key} {settings[key]}"
        for key in ("budget", "steps_as_p", "auxiliary_clip")
        if settings.get(key) not in (None, "total")
    ]
    return ", ".join([block.name, *extra])

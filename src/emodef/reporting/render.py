"""A table as columns and rows, rendered for the terminal, Markdown, LaTeX, CSV, JSON. Imports bootstrap, atomic, errors; rich to print."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emodef import atomic
from emodef.bootstrap import Estimate, Mean
from emodef.errors import SettingsError

if TYPE_CHECKING:
    import rich.console
    import rich.table


class Marked(str):
    """A cell's text that carries a footnote's mark, such as " *", where people read it; CSV and JSON hold the text alone."""

    mark: str

    def __new__(cls, text: str, mark: str = "") -> Marked:
        """`text` as data, `text` and `mark` as people read it."""
        made = super().__new__(cls, text)
        made.mark = mark
        return made


Cell = str | int | float | Estimate | None
NOTHING = "–"
_PARTS = ("std", "low", "high")  # what a value in a CSV may be followed by
_UNSIGNED = {"gain": "percent"}  # how the standard deviation of a kind is written


@dataclass(frozen=True)
class Column:
    """A column: its title and how its cells are written.

    kind: "text"; "count" (1,787); "percent" (a fraction, written times 100); "gain" (a signed percent); "number";
    "p" (a p-value). digits: after the point; an interval's ends have one fewer.
    """

    title: str
    kind: str = "text"
    digits: int = 2


@dataclass(frozen=True)
class Table:
    """A table as data: cells keep their full precision until they are rendered. The last `footer` rows are set apart."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    footer: int = 0

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"a row of {len(row)} cells in a table of {len(self.columns)} columns: {row}"
                )


@dataclass(frozen=True)
class Provenance:
    """What it takes to get a result again, printed under it. seconds: how long the command took."""

    command: str
    data: str
    seeds: Sequence[int]
    hardware: str
    commit: str
    seconds: float
    date: str

    def lines(self) -> list[str]:
        """One line a fact, as Markdown."""
        return [
            f"Command: `{self.command}`",
            f"Data: {self.data}",
            f"Seeds: {', '.join(map(str, self.seeds))}",
            f"Hardware: {self.hardware}",
            f"Commit: `{self.commit}`, {self.date}",
            f"Time: {format_duration(self.seconds)}",
        ]


def format_cell(cell: Cell, column: Column) -> str:
    """A cell as people read it; a missing or undefined value is a dash."""
    if cell is None or cell == "":
        return NOTHING
    if isinstance(cell, Marked):
        return cell + cell.mark
    if isinstance(cell, str):
        return cell
    value = cell.value if isinstance(cell, Estimate) else cell
    if math.isnan(value):
        return NOTHING
    text = _format_number(value, column.kind, column.digits)
    if isinstance(cell, Mean) and cell.std is not None:
        text += f" ± {_format_number(cell.std, _UNSIGNED.get(column.kind, column.kind), column.digits)}"
    if not isinstance(cell, Estimate) or cell.low is None or cell.high is None:
        return text
    if math.isnan(cell.low) or math.isnan(cell.high):
        return text
    ends = [_format_number(end, column.kind, max(column.digits - 1, 0)) for end in (cell.low, cell.high)]
    return f"{text} [{', '.join(ends)}]"


def format_duration(seconds: float) -> str:
    """0.8 s, 42 s, 27 min 3 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def to_markdown(table: Table) -> str:
    """A GitHub-flavoured Markdown table under its title, notes below."""
    lines = [f"**{_escape_markdown(table.title)}**", ""] if table.title else []
    lines.append(_markdown_row([_escape_markdown(column.title) for column in table.columns]))
    lines.append(_markdown_row([":--" if column.kind == "text" else "--:" for column in table.columns]))
    for number, row in enumerate(_formatted(table)):
        cells = [_escape_markdown(cell) for cell in row]
        if number >= len(table.rows) - table.footer:
            cells = [f"*{cell}*" for cell in cells]
        lines.append(_markdown_row(cells))
    for note in table.notes:
        lines += ["", _escape_markdown(note)]
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """A LaTeX table environment in the booktabs style."""
    alignment = "".join("l" if column.kind == "text" else "r" for column in table.columns)
    titles = " & ".join(_escape_latex(column.title) for column in table.columns)
    body = [_latex_row(row) for row in _formatted(table)]
    if table.footer:
        body.insert(len(body) - table.footer, r"\midrule")
    notes = [rf"\\ {{\footnotesize {_escape_latex(note)}}}" for note in table.notes]
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{_escape_latex(table.title)}}}"]
    lines += [rf"\begin{{tabular}}{{{alignment}}}", r"\toprule", titles + r" \\", r"\midrule", *body]
    lines += [r"\bottomrule", r"\end{tabular}", *notes, r"\end{table}"]
    return "\n".join(lines) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    row = " & ".join(map(_escape_latex, cells)) + r" \\"
    # the end of the row before would take a [ for its argument, and swallow a *
    return "{}" + row if row.startswith(("[", "*")) else row


def to_csv(table: Table) -> str:
    """Comma-separated raw values (percentages as fractions), each followed by what its column has of std, low and high."""
    parts = [
        [part for part in _PARTS if any(_part(row[k], part) is not None for row in table.rows)]
        for k in range(len(table.columns))
    ]
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    header: list[str] = []
    for column, held in zip(table.columns, parts, strict=True):
        header += [column.title, *(f"{column.title} {part}" for part in held)]
    writer.writerow(header)
    for row in table.rows:
        cells: list[Any] = []
        for cell, held in zip(row, parts, strict=True):
            value = cell.value if isinstance(cell, Estimate) else cell
            cells += [value, *(_part(cell, part) for part in held)]
        writer.writerow(["" if _missing(cell) else cell for cell in cells])
    return output.getvalue()


def to_json(table: Table) -> str:
    """Raw values: {"title", "rows": [{column title: value, or {"value", "low", "high"} (a mean: and "std", "n")}], "notes"}.

    Notes on the marks of Marked cells are left out with the marks.
    """

    def plain(cell: Cell) -> Any:
        if isinstance(cell, Estimate):
            ends = {"value": cell.value, "low": cell.low, "high": cell.high}
            if isinstance(cell, Mean):
                ends |= {"std": cell.std, "n": cell.n}
            return {key: None if _missing(end) else end for key, end in ends.items()}
        return None if _missing(cell) else cell

    titles = [column.title for column in table.columns]
    rows = [dict(zip(titles, map(plain, row), strict=True)) for row in table.rows]
    marks = {cell.mark.strip() for row in table.rows for cell in row if isinstance(cell, Marked)}
    notes = [note for note in table.notes if note.split(" ", 1)[0] not in marks]
    content = {"title": table.title, "rows": rows, "notes": notes}
    return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def to_rich(table: Table) -> rich.table.Table:
    """The table for a rich console."""
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(
        title=Text(table.title),
        caption=Text("\n".join(table.notes)),
        caption_justify="left",
        expand=not table.rows,  # a caption is as wide as its table, and this one says why it is empty
    )
    for column in table.columns:
        shown.add_column(Text(column.title), justify="left" if column.kind == "text" else "right")
    rows = _formatted(table)
    for number, row in enumerate(rows):
        last = table.footer and number == len(rows) - table.footer - 1
        shown.add_row(*map(Text, row), end_section=bool(last))
    return shown


def print_table(table: Table, console: rich.console.Console | None = None) -> None:
    """Print to the terminal, or to a console of one's own."""
    from rich.console import Console

    (console or Console()).print(to_rich(table))


def to_terminal(table: Table, width: int = 160) -> str:
    """What `print_table` prints on a terminal `width` characters wide, without colours."""
    from rich.console import Console

    output = io.StringIO()
    print_table(table, Console(file=output, width=width, color_system=None))
    return output.getvalue()


RENDERERS = {
    "terminal": to_terminal,
    "markdown": to_markdown,
    "latex": to_latex,
    "csv": to_csv,
    "json": to_json,
}


def render(table: Table, form: str) -> str:
    """The table as text in one of RENDERERS' forms. Raises SettingsError for another."""
    if form not in RENDERERS:
        raise SettingsError(f"no table form {form!r}; there are {', '.join(RENDERERS)}")
    return RENDERERS[form](table)


def result_page(heading: str, tables: Sequence[Table], provenance: Provenance, introduction: str = "") -> str:
    """A Markdown page: heading, what it shows, the tables, and under them how to get them again."""
    parts = [f"# {heading}", introduction.strip(), *(to_markdown(table).strip() for table in tables)]
    parts.append("\n".join(f"- {line}" for line in provenance.lines()))
    return "\n\n".join(part for part in parts if part) + "\n"


def write_result(
    path: str | Path, heading: str, tables: Sequence[Table], provenance: Provenance, introduction: str = ""
) -> None:
    """Write `result_page` to `path`, atomically."""
    atomic.write_text(path, result_page(heading, tables, provenance, introduction))


def _format_number(value: float, kind: str, digits: int) -> str:
    if kind == "percent":
        return f"{100 * value:.{digits}f}"
    if kind == "gain":
        return f"{100 * value:+.{digits}f}"
    if kind == "count":
        return f"{round(value):,}"
    if kind == "p":
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    if kind == "number":
        return f"{value:.{digits}f}"
    raise ValueError(f"a number in a column of kind {kind!r}")


def _formatted(table: Table) -> list[list[str]]:
    return [
        [format_cell(cell, column) for cell, column in zip(row, table.columns, strict=True)]
        for row in table.rows
    ]


def _part(cell: Cell, part: str) -> float | None:
    return getattr(cell, part, None) if isinstance(cell, Estimate) else None


def _missing(cell: object) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escape_markdown(text: str) -> str:
    for character in "\\|*<`":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "⌈": r"$\lceil$",
    "⌉": r"$\rceil$",
    NOTHING: "--",
}


def _escape_latex(text: str) -> str:
    return " ".join("".join(_LATEX.get(character, character) for character in text).split())

"""Reading predictions for the page: every form and format that predict writes, bad rows, times in all their spellings."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from commands import emodef_command
from emodef.errors import DataError
from emodef.reporting.page import Prediction, open_predictions
from emodef.reporting.page.times import parse_time

Put = Callable[[Mapping[str, str | bytes]], Path]

TEXTS = [
    "I am so happy and glad, thanks!",
    "why is this awful, I hate it",
    "the d of it",  # no label
    "I am so happy and glad, thanks!",  # again, right after one that has none
    "I am so happy and glad, thanks!",
    "",  # kept by predict, without a prediction
    'afraid, "worried" | scared; and\tangry',
    "<script>alert('so happy')</script> glad 🙂",
]


def read(path: Path, **options: object) -> list[Prediction]:
    return list(open_predictions(path, **options).rows())  # type: ignore[arg-type]


def column(name: str, cells: list[str]) -> str:
    return "\n".join([name, *cells]) + "\n"


@pytest.mark.parametrize("form", ["labels", "probabilities", "long"])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_what_predict_writes(tiny_light: Path, tmp_path: Path, suffix: str, form: str) -> None:
    """The page sees what the predictor found, whatever the way it was written down."""
    if suffix == "parquet":
        pytest.importorskip("polars")
    from emodef import Predictor

    with open(tmp_path / "in.csv", "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text", "posted_at"])
        rows.writerows(
            [f"{k:03}", text, f"2024-05-{k + 1:02}T12:00:00+02:00"] for k, text in enumerate(TEXTS)
        )
    out = tmp_path / f"out.{suffix}"
    emodef_command(
        "predict",
        "--model",
        tiny_light,
        "--file",
        tmp_path / "in.csv",
        "--out",
        out,
        "--form",
        form,
        "--quiet",
    )

    source = open_predictions(out)
    found = list(source.rows())
    texts = [text for text in TEXTS if text]
    expected = Predictor.load(tiny_light).predict(texts)
    assert source.gaps.predictions == 1
    assert [row.text for row in found] == [t.replace("\t", " ") if suffix == "tsv" else t for t in texts]
    assert [list(row.scores) for row in found] == [[label.name for label in p.labels] for p in expected]
    for row, prediction in zip(found, expected, strict=True):
        for label in prediction.labels:
            assert row.scores[label.name] == pytest.approx(label.score, abs=1e-3)
    days = [k + 1 for k, text in enumerate(TEXTS) if text]
    assert [row.time for row in found] == [datetime(2024, 5, day, 10, tzinfo=UTC) for day in days]
    if form == "probabilities" and suffix != "jsonl":
        assert source.labels == Predictor.load(tiny_light).label_set.names


def test_labels_with_any_characters(put: Put) -> None:
    cells = {
        "text": "a",
        "predicted": ["a|b", "<i>", "c,d"],
        "probabilities": {"a|b": 0.9, "<i>": 0.8, "c,d": 0.7},
    }
    folder = put({"p.jsonl": json.dumps(cells) + "\n"})
    assert list(read(folder / "p.jsonl")[0].scores) == ["a|b", "<i>", "c,d"]


def test_probabilities_as_json_in_a_cell(put: Put) -> None:
    folder = put(
        {"p.tsv": 'text\tpredicted\tprobabilities\na\tjoy|x\t{"joy": 0.9, "x": 0.5, "y": 0.1}\nb\t\t{}\n'}
    )
    assert [dict(row.scores) for row in read(folder / "p.tsv")] == [{"joy": 0.9, "x": 0.5}, {}]


def test_parquet_with_objects_and_nulls(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {
            "text": ["a", "b", None],
            "predicted": ["joy", None, None],
            "probabilities": [{"joy": 0.75}, {"joy": None}, None],
            "date": [date(2024, 1, 2), None, None],
        }
    )
    frame.write_parquet(tmp_path / "p.parquet")
    source = open_predictions(tmp_path / "p.parquet")
    assert [(r.text, dict(r.scores)) for r in source.rows()] == [("a", {"joy": 0.75}), ("b", {})]
    assert (source.gaps.predictions, source.gaps.times, source.time_column) == (1, 1, "date")


def test_long_parquet_crosses_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    polars = pytest.importorskip("polars")
    from emodef.reporting.page import reading

    monkeypatch.setattr(reading, "BATCH", 2)
    labels = ["joy", "love", "fear", None, "joy", "love", "joy"]
    texts = ["a", "a", "a", "b", "c", "c", "c"]
    polars.DataFrame({"text": texts, "label": labels, "probability": [0.5] * 7}).write_parquet(
        tmp_path / "p.parquet"
    )
    found = [(row.text, list(row.scores)) for row in read(tmp_path / "p.parquet")]
    assert found == [("a", ["joy", "love", "fear"]), ("b", []), ("c", ["joy", "love"]), ("c", ["joy"])]


def test_broken_parquet(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    texts = [f"text {k} {k**7}" for k in range(3000)]
    frame = polars.DataFrame({"text": texts, "predicted": [["joy"]] * 3000, "probabilities": [[0.5]] * 3000})
    path = tmp_path / "p.parquet"
    frame.write_parquet(path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[40:4000] = bytes(3960)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"p\.parquet: cannot be read as Parquet"):
        read(path)


def test_no_probabilities(put: Put) -> None:
    folder = put({"p.csv": "text,predicted,probabilities\na,joy|love,\n"})
    scores = read(folder / "p.csv")[0].scores
    assert list(scores) == ["joy", "love"]
    assert all(math.isnan(score) for score in scores.values())


def test_prefixed_columns_and_columns_of_the_input(put: Put) -> None:
    """predict puts its columns last, with a prefix where the input had such columns; the input may have p_ columns too."""
    header = "predicted,probabilities,p_value,text,emo_predicted,emo_probabilities,emo_p_joy,emo_p_fear"
    folder = put({"p.csv": f"{header}\nfear,0.5,0.01,a,joy,0.9,0.9,0.2\n"})
    source = open_predictions(folder / "p.csv")
    assert source.labels == ("joy", "fear")
    assert [dict(row.scores) for row in source.rows()] == [{"joy": 0.9}]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a,joy,1.5", "the probability of 'joy' is '1.5'"),
        ("a,joy,high", "the probability of 'joy' is 'high'"),
        ("a,joy|love,0.5", "2 labels are predicted, but there are 1 probabilities"),
        ("a,joy", "2 fields"),
        ('a,joy,"{oops"', "not valid JSON"),
        (b"\xff,joy,0.5", "not UTF-8"),
        (b"a,\xff,0.5", "not UTF-8"),
    ],
)
def test_bad_rows(put: Put, row: str | bytes, reason: str) -> None:
    raw = row if isinstance(row, bytes) else row.encode()
    folder = put({"p.csv": b"text,predicted,probabilities\nx,joy,0.5\n" + raw + b"\ny,love,0.5\n"})
    with pytest.raises(DataError, match=r"p\.csv:3: .*--on-error skip") as error:
        read(folder / "p.csv")
    assert reason in str(error.value)
    source = open_predictions(folder / "p.csv", on_error="skip")
    assert [found.text for found in source.rows()] == ["x", "y"]
    assert "1 row could not be used and is left out" in source.notes()[0]
    assert "p.csv:3" in source.notes()[0]


@pytest.mark.parametrize(
    ("content", "options", "reason"),
    [
        ("text,joy\na,1\n", {}, "'emodef predict --out' has written"),
        (
            "body,predicted,probabilities\na,joy,0.5\n",
            {},
            "--text-column, or leave the texts out with --examples 0",
        ),
        (
            "text,predicted,probabilities\na,joy,0.5\n",
            {"time_column": "when"},
            "has no column 'when' (--time-column)",
        ),
        (
            "text,predicted,probabilities\na,joy,0.5\n",
            {"text_column": "body"},
            "has no column 'body' (--text-column)",
        ),
        ("body,label,probability\na,joy,0.5\n", {"needs_texts": False}, "--text-column"),
    ],
)
def test_columns_that_are_missing(put: Put, content: str, options: dict[str, str], reason: str) -> None:
    folder = put({"p.csv": content})
    with pytest.raises(DataError) as error:
        open_predictions(folder / "p.csv", **options)  # type: ignore[arg-type]
    assert reason in str(error.value)


def test_a_column_that_is_not_text(put: Put) -> None:
    folder = put({"p.jsonl": '{"text": "a", "id": 7, "predicted": ["joy"], "probabilities": {"joy": 0.5}}\n'})
    with pytest.raises(DataError, match="the text is 7; say which column has the texts"):
        read(folder / "p.jsonl", text_column="id")


def test_without_texts(put: Put) -> None:
    folder = put({"p.csv": "body,predicted,probabilities\na,joy,0.5\nb,,\n"})
    found = read(folder / "p.csv", needs_texts=False)
    assert [(row.text, list(row.scores)) for row in found] == [(None, ["joy"]), (None, [])]


@pytest.mark.parametrize("form", ["labels", "probabilities", "long"])
def test_columns_of_later_rows_are_not_the_predictions(put: Put, tiny_light: Path, form: str) -> None:
    """They come behind those of predict, which are in the first row already."""
    theirs = {
        "labels": {"label": "spam", "probability": 0.9},
        "probabilities": {"label": "spam", "probability": 0.9},
        "long": {"predicted": "spam", "probabilities": 0.9, "my_label": "ham", "my_probability": 0.8},
    }[form]
    rows = [{"text": "so happy"}, {"text": "so glad", **theirs}, {"text": "this is awful", **theirs}]
    folder = put({"in.jsonl": "".join(json.dumps(row) + "\n" for row in rows)})
    out = folder / "out.jsonl"
    options = ["--model", tiny_light, "--form", form, "--at-least-one", "--quiet"]
    emodef_command("predict", *options, "--file", folder / "in.jsonl", "--out", out)
    found = read(out)
    assert len(found) == 3
    assert not {"spam", "ham"} & {name for one in found for name in one.scores}


@pytest.mark.parametrize("form", ["labels", "probabilities"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_rows_without_a_prediction_where_no_column_is_the_text(
    tiny_light: Path, put: Put, suffix: str, form: str
) -> None:
    """Predict's own files tell them by nulls and empty p_LABEL columns; a CSV of labels does not, which is said."""
    if suffix == "parquet":
        pytest.importorskip("polars")
    folder = put({"in.csv": "body,id\nit is so,1\n,2\n \t,3\nhappy,4\n"})
    out = folder / f"out.{suffix}"
    arguments = (
        "--file",
        folder / "in.csv",
        "--text-column",
        "body",
        "--out",
        out,
        "--form",
        form,
        "--quiet",
    )
    emodef_command("predict", "--model", tiny_light, *arguments)
    source = open_predictions(out, needs_texts=False)
    assert source.text_column is None
    found = [list(row.scores) for row in source.rows()]
    if suffix == "csv" and form == "labels":
        assert found == [[], [], [], ["joy"]]
        assert source.gaps.predictions == 0
        (note,) = source.notes()
        assert "counted as texts without a label: 3" in note
        assert "--text-column" in note
    else:
        assert found == [[], ["joy"]]
        assert source.notes() == ["Rows without a prediction, left out: 2."]


@pytest.mark.parametrize("form", ["labels", "probabilities", "long"])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_texts_without_a_prediction(tiny_light: Path, put: Put, suffix: str, form: str) -> None:
    """A text of bytes that are no UTF-8, or of nothing that the model reads, is not one without a label, where the form tells."""
    if suffix == "parquet":
        pytest.importorskip("polars")
    folder = put({"in.csv": b"text,id\nit is so,1\n\xc3\xa9 \xff,2\n\xe2\x80\x8b,3\nhappy,4\n"})
    out = folder / f"out.{suffix}"
    emodef_command(
        "predict", "--model", tiny_light, "--file", folder / "in.csv", "--out", out, "--form", form, "--quiet"
    )
    source = open_predictions(out)
    found = [list(row.scores) for row in source.rows()]
    if form == "long" or (form == "labels" and suffix in ("csv", "tsv")):
        assert (found, source.notes()) == ([[], [], [], ["joy"]], [])
    else:
        assert found == [[], ["joy"]]
        assert source.notes() == ["Rows without a prediction, left out: 2."]


def test_very_many_columns_named_like_predictions(put: Put) -> None:
    names = [f"{n}label" for n in range(30_000)]
    folder = put({"p.csv": ",".join(["text", *names]) + "\n"})
    began = time.process_time()
    with pytest.raises(DataError, match="has neither the columns"):
        open_predictions(folder / "p.csv")
    assert time.process_time() - began < 5


MAY = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("2024-05-01", MAY),
        ("20240501", MAY),
        ("2024-05", MAY),
        ("2024/5/1", MAY),
        ("2024/05/01 09:30", MAY.replace(hour=9, minute=30)),
        ("2024", datetime(2024, 1, 1, tzinfo=UTC)),
        (2024, datetime(2024, 1, 1, tzinfo=UTC)),
        (2024.0, datetime(2024, 1, 1, tzinfo=UTC)),
        (20240501, MAY),
        (20240501093000, MAY.replace(hour=9, minute=30)),
        ("20240501093000", MAY.replace(hour=9, minute=30)),
        (" 2024-05-01T09:30:15.25Z ", MAY.replace(hour=9, minute=30, second=15, microsecond=250_000)),
        ("2024-05-01 02:00:00+0200", MAY),
        ("2024-04-30T19:00-05:00", MAY),
        ("1714521600", MAY),
        ("1714521600.0", MAY),
        ("1714521600.000", MAY),  # as long as a compact time
        ("1.7145216e9", MAY),
        (1714521600, MAY),
        (1714521600.5, MAY + timedelta(seconds=0.5)),
        ("1714521600000", MAY),
        (1714521600_000_000, MAY),
        (1714521600_000_000_000, MAY),
        (date(2024, 5, 1), MAY),
        (datetime(2024, 5, 1, 2, tzinfo=timezone(timedelta(hours=2))), MAY),
        (datetime(2024, 5, 1), MAY),
        ("", None),
        ("  ", None),
        (None, None),
        (math.nan, None),
    ],
)
def test_times(written: object, time: datetime | None) -> None:
    assert parse_time(written) == time


@pytest.mark.parametrize(
    "written",
    ["soon", "05/01/2024", "2024-13-01", "12:30", "17", 17, 0, -5.0, -123, 2024.5, True, math.inf, "1e30", 10**400, "9" * 400, [2024],
     "0000-01-01", "0001-01-01T00:00+05:00", "2024-02-30", "２０２４-05-01x"],
)  # fmt: skip
def test_no_times(written: object) -> None:
    with pytest.raises(ValueError, match=r"time|epoch|calendar"):
        parse_time(written)


@pytest.mark.parametrize("form", ["predicted,probabilities", "label,probability"])
def test_labels_without_a_text_tell_that_the_column_is_another(put: Put, form: str) -> None:
    cells = ["I am happy,yes,joy,0.5", "so glad,,joy,0.5", "so so,,,"]
    folder = put({"p.csv": column(f"body,comment,{form}", cells)})
    with pytest.raises(DataError, match="labels and no text; say which column has the texts"):
        list(open_predictions(folder / "p.csv").rows())
    source = open_predictions(folder / "p.csv", text_column="body")
    assert [one.text for one in source.rows() if one.scores] == ["I am happy", "so glad"]


def test_unreadable_times_are_counted(put: Put) -> None:
    cells = ["2024-05-01,a,joy,0.5", "soon,b,joy,0.5", ",c,joy,0.5", "later,d,joy,0.5"]
    folder = put({"p.csv": column("Created_At,text,predicted,probabilities", cells)})
    source = open_predictions(folder / "p.csv")
    assert source.time_column == "Created_At"
    assert len(list(source.rows())) == 4
    assert (source.gaps.times, source.gaps.unreadable_times) == (1, 2)
    assert "row 3, 'soon' is not a time" in source.notes()[1]
    assert "2; the first" in source.notes()[1]

"""Users' files as a Corpus: columns, labels, splits, and every kind of malformed row, on small files written here."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emodef.corpora import Corpus, load_corpus
from emodef.corpora.files import is_derived, read_file, skeleton_toml
from emodef.errors import DataError, LabelSetError, MissingExtraError, SettingsError
from emodef.labels import LabelSet

MOODS = LabelSet("moods", ("joy", "anger", "mild fear, or worry"), ("glad", "cross", "uneasy"))
ONE = LabelSet("one", ("joy", "anger"), ("glad", "cross"), exclusive=True)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def all_rows(path: Path, **options: Any) -> Corpus:
    splits = read_file(path, **options)
    assert list(splits) == ["all"]
    return splits["all"]


def fault(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_file(path, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.csv", 'text,labels\nWhat a day,joy|anger\n"No, no",anger\n'),
        ("m.csv", 'text;labels\nWhat a day;"joy;anger"\n"No, no";anger\n'),
        ("m.csv", "labels\ttext\njoy,anger\tWhat a day\nanger\tNo, no\n"),
        ("m.csv", '\ufefftext,labels\r\nWhat a day,"joy, anger"\r\n\r\n"No, no",anger\r\n'),
        ("m.csv", 'text,labels\nWhat a day,"[""joy"", ""anger""]"\n"No, no","[""anger""]"'),
        ("m.csv", 'text,labels\nWhat a day,0;1\n"No, no",1\n'),
        ("m.csv", 'Sentence,Emotion\nWhat a day,Joy|ANGER\n"No, no", anger |\n'),
        ("m.tsv", "text\tlabel\nWhat a day\tjoy|anger\nNo, no\tanger\n"),
        ("m.csv", 'text,joy,anger,"mild fear, or worry"\nWhat a day,1,1,0\n"No, no",0,1.0,False\n'),
        (
            "m.jsonl",
            '{"text": "What a day", "labels": ["joy", "anger"]}\n\n{"labels": "anger", "text": "No, no"}\n',
        ),
        ("m.ndjson", '{"text": "What a day", "labels": [0, 1]}\r\n{"text": "No, no", "labels": 1}'),
        (
            "m.jsonl",
            '{"comment": "What a day", "emotions": "joy;anger"}\n{"comment": "No, no", "emotions": [1.0]}',
        ),
    ],
)
def test_forms_that_say_the_same(write: Any, name: str, content: str) -> None:
    corpus = all_rows(write(name, content), label_set=MOODS)
    assert corpus.texts == ["What a day", "No, no"]
    assert corpus.labels.tolist() == [[1, 1, 0], [0, 1, 0]]
    assert corpus.labels.dtype == np.uint8
    assert corpus.label_set is MOODS
    assert corpus.problems == []


def test_parquet(tmp_path: Path) -> None:
    rows = {
        "text": ["What a day", "No, no"],
        "labels": [["joy", "anger"], ["anger"]],
        "big": [b"x" * 9, None],
    }
    pl.DataFrame(rows).write_parquet(tmp_path / "[m].parquet")
    corpus = all_rows(tmp_path / "[m].parquet", label_set=MOODS)
    assert corpus.texts == ["What a day", "No, no"]
    assert corpus.labels.tolist() == [[1, 1, 0], [0, 1, 0]]
    assert corpus.ids == ["[m]:1", "[m]:2"]


def test_parquet_with_gaps_and_types(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    texts = pl.Series("text", ["a", "b", None, "d"], dtype=pl.Categorical)
    pl.DataFrame({"text": texts, "label": [0.0, None, 1.0, float("nan")]}).write_parquet(path)
    assert fault(path, label_set=MOODS).startswith(f"{path}:2: has no label")
    corpus = all_rows(path, label_set=MOODS, on_error="skip")
    assert corpus.label_lists() == [["joy"]]
    assert [problem.row for problem in corpus.problems] == [2, 3, 4]
    bools = pl.DataFrame({"text": ["a"], "joy": [True], "anger": [False], "mild fear, or worry": [True]})
    bools.write_parquet(path)
    assert all_rows(path, label_set=MOODS).labels.tolist() == [[1, 0, 1]]


def test_parquet_that_is_none(write: Any) -> None:
    assert "cannot be read as Parquet" in fault(write("m.parquet", b"PAR1 but not really"), label_set=MOODS)


def test_parquet_without_polars(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(MissingExtraError, match=r"emodef\[data\]"):
        read_file(write("m.parquet", b""), label_set=MOODS)


def test_named_columns_and_delimiter(write: Any) -> None:
    path = write("m.csv", "text,body,mood,key\nno,Hello,joy / anger,007\nno,Bye,anger,1e3\n")
    corpus = all_rows(
        path, text_column="body", label_column="mood", id_column="key", delimiter="/", label_set=MOODS
    )
    assert corpus.texts == ["Hello", "Bye"]
    assert corpus.label_lists() == [["joy", "anger"], ["anger"]]
    assert corpus.ids == ["007", "1e3"]


def test_label_name_with_the_delimiter_in_it(write: Any) -> None:
    path = write("m.csv", 'text,label\na,"mild fear, or worry"\nb,"joy|mild fear, or worry"\n')
    assert all_rows(path, label_set=MOODS).labels.tolist() == [[0, 0, 1], [1, 0, 1]]


def test_texts_and_ids_stay_as_they_are(write: Any) -> None:
    path = write("m.csv", 'id,text,label\n007," two\r\nlines, ""quoted"" ",joy\n,"b\u2028c",joy\n')
    corpus = all_rows(path, label_set=MOODS)
    assert corpus.texts == [' two\r\nlines, "quoted" ', "b\u2028c"]
    assert corpus.ids == ["007", "m:4"]


def test_quotes_in_tsv_are_text_unless_said_otherwise(write: Any) -> None:
    path = write("m.tsv", 'text\tlabel\n"No" he said\tanger\n"a ""b"""\tjoy\n')
    assert all_rows(path, label_set=MOODS).texts == ['"No" he said', '"a ""b"""']
    assert fault(path, label_set=MOODS, quoting=True).startswith(f"{path}:2: a quote inside a quoted field")
    path = write("m.csv", 'text,label\n"No" he said,anger\n')
    assert all_rows(path, label_set=MOODS, quoting=False).texts == ['"No" he said']


def test_chosen_label_columns(write: Any) -> None:
    path = write("m.csv", "text,other,Joy\na,9,1\nb,9,0\n")
    assert "has no 0/1 column for 'anger', 'mild fear" in fault(path, label_set=MOODS)
    corpus = all_rows(path, label_set=MOODS, label_columns=["Joy"], allow_unlabelled=True)
    assert corpus.labels.tolist() == [[1, 0, 0], [0, 0, 0]]
    assert "'other' is named like none of the labels" in fault(path, label_set=MOODS, label_columns=["other"])
    with pytest.raises(SettingsError, match="exclude each other"):
        read_file(path, label_column="text", label_columns=["Joy"])


def test_without_a_label_set_one_is_derived(write: Any) -> None:
    path = write("m.csv", "text,label\na,worry|Joy\nb,joy\nc,calm\n")
    corpus = all_rows(path)
    assert corpus.label_set.names == ("Joy", "calm", "worry")
    assert corpus.label_lists() == [["Joy", "worry"], ["Joy"], ["calm"]]
    assert is_derived(corpus.label_set)
    assert not is_derived(MOODS)
    assert not corpus.label_set.exclusive


def test_derived_labels_are_those_of_kept_rows(write: Any) -> None:
    path = write("m.csv", "text,label\na,joy\n,sad\nb,3\n")
    assert all_rows(path, on_error="skip").label_set.names == ("joy",)
    assert fault(write("n.csv", "text,label\na,3\n")).startswith(
        str(path.with_name("n.csv:2: the label 3 is a number"))
    )


def test_derived_from_chosen_columns_keeps_empty_ones(write: Any) -> None:
    corpus = all_rows(write("m.csv", "text,b,a\nx,1,0\n"), label_columns=["b", "a"])
    assert corpus.label_set.names == ("a", "b")
    assert corpus.label_lists() == [["b"]]


def test_skeleton_is_refused_until_filled_in(tmp_path: Path) -> None:
    text = skeleton_toml(["joy", 'a "b"'], name="mine")
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(LabelSetError, match="empty definition"):
        LabelSet.load(path)
    path.write_text(text.replace('definition = ""', 'definition = "a line"'))
    assert LabelSet.load(path) == LabelSet("mine", ("joy", 'a "b"'), ("a line", "a line"))


def test_label_set_by_file(write: Any) -> None:
    labels = write("moods.toml", MOODS.to_toml())
    assert all_rows(write("m.csv", "text,label\na,joy\n"), label_set=labels).label_set == MOODS


def test_splits_by_column(write: Any) -> None:
    path = write(
        "m.csv", "text,label,part\na,joy,test\nb,joy,Valid\nc,joy,train\nd,joy,extra\n,joy,test\ne,joy,\n"
    )
    splits = read_file(path, label_set=MOODS, split_column="part", on_error="skip")
    assert list(splits) == ["train", "dev", "test", "extra"]
    assert [corpus.texts for corpus in splits.values()] == [["c"], ["b"], ["a"], ["d"]]
    assert [problem.row for corpus in splits.values() for problem in corpus.problems] == [6, 7]
    assert "split, column 'part', is empty" in str(splits["test"].problems[1])


def test_folder_of_splits(write: Any, tmp_path: Path) -> None:
    write("set/train.csv", "text,label\na,joy\nb,calm\n")
    write("set/validation.jsonl", '{"text": "c", "labels": ["worry"]}\n')
    write("set/test.tsv", "text\tlabel\nd\tjoy\n")
    write("set/notes.csv", "nothing of ours")
    splits = load_corpus(tmp_path / "set")
    assert list(splits) == ["train", "dev", "test"]
    assert {corpus.name for corpus in splits.values()} == {"set"}
    assert splits["dev"].label_set.names == ("calm", "joy", "worry")  # of all splits together
    assert splits["test"].ids == ["test:2"]
    with pytest.raises(SettingsError, match="each file is a split"):
        read_file(tmp_path / "set", split_column="x")
    write("set/dev.csv", "text,label\na,joy\n")
    assert "two files for the split 'dev'" in fault(tmp_path / "set")
    (tmp_path / "empty").mkdir()
    assert "no train, dev or test file" in fault(tmp_path / "empty")


def test_limit_stops_before_what_follows(write: Any) -> None:
    path = write("m.csv", "text,label\na,joy\nb,joy\n,nonsense\n")
    assert len(all_rows(path, label_set=MOODS, limit=2)) == 2
    with pytest.raises(SettingsError, match="limit is 0"):
        read_file(path, limit=0)


def test_unlabelled_rows_only_on_request(write: Any) -> None:
    path = write("m.csv", "text,label\na,\nb,joy\n")
    assert fault(path, label_set=MOODS).startswith(f"{path}:2: has no label")
    assert all_rows(path, label_set=MOODS, allow_unlabelled=True).labels.tolist() == [[0, 0, 0], [1, 0, 0]]
    bare = write("n.csv", "text\na\n")
    assert "no column looks like the labels" in fault(bare, label_set=MOODS)
    assert "needs --labels" in fault(bare, allow_unlabelled=True)
    assert all_rows(bare, label_set=MOODS, allow_unlabelled=True).labels.shape == (1, 3)


def test_exclusive_set_takes_one_label_a_text(write: Any) -> None:
    path = write("m.csv", "text,label\na,joy\nb,joy|anger\n")
    assert fault(path, label_set=ONE).startswith(f"{path}:3: has the labels 'joy', 'anger'")


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        ("a,b\n1,2\n", {}, "no column looks like the text, it has: 'a', 'b'"),
        ("text,mood\n1,2\n", {}, "no column looks like the labels, it has: 'text', 'mood'"),
        (
            "text,label\n1,2\n",
            {"text_column": "txt"},
            "no column 'txt', it has: 'text', 'label'; did you mean 'text'?",
        ),
        ("text,label,text\n1,2,3\n", {}, ":1: two columns are named 'text'"),
        ('text,"label\na,joy\n', {}, ":1: the header cannot be read: a quote that opens"),
        ("", {}, "is empty"),
        ("text,label\n", {}, "has no row to use: it is empty"),
        ("text,label\n,joy\n", {"on_error": "skip"}, "has no row to use: its 1 rows are malformed"),
        ("text,label".encode("utf-16"), {}, "is UTF-16; save it as UTF-8, or: iconv -f UTF-16 "),
        ("text,label".encode("utf-16-le"), {}, "is UTF-16; save it as UTF-8, or: iconv -f UTF-16LE "),
        ("text,label".encode("utf-16-be"), {}, "is UTF-16; save it as UTF-8, or: iconv -f UTF-16BE "),
    ],
)
def test_files_that_do_not_fit(
    write: Any, content: str | bytes, options: dict[str, Any], expected: str
) -> None:
    assert expected in fault(write("m.csv", content), label_set=MOODS, **options)


def test_formats_not_known(write: Any) -> None:
    assert ".csv, .tsv, .jsonl, .ndjson, .parquet" in fault(write("m.xlsx", "x"))
    assert "cannot be read: No such file" in fault(Path("nowhere.csv"))
    with pytest.raises(SettingsError, match="on_error"):
        read_file("nowhere.csv", on_error="ignore")
    with pytest.raises(SettingsError, match="delimiter is empty"):
        read_file("nowhere.csv", delimiter="")


BAD_CSV = [
    (b"b,joy,more\n", "3 fields, but the header names 2 columns"),
    (b"b\n", "1 field, but the header names 2 columns"),
    (b"  ,joy\n", "the text is empty"),
    (b"b,\n", "has no label"),
    (b"b,angr\n", "no label 'angr'; did you mean anger?"),
    (b"b,xyzzy\n", "no label 'xyzzy'; it has 'joy', 'anger'"),
    (b"b,nan\n", "no label 'nan'"),
    (b"b,3\n", "label number 3 is not between 0 and 2"),
    (b"b,-1\n", "no label '-1'"),
    (b'b,"[""joy"""\n', "not a valid JSON list"),
    (b"b,['joy']\n", "not a valid JSON list"),
    (b'b,"[true]"\n', "the label True is neither a name nor a number"),
    (b'b,"[1.5]"\n', "the label 1.5 is neither"),
    (b"caf\xe9,joy\n", "the text is not UTF-8: byte 0xe9 at character 4"),
    (b'"b" c,joy\n', "a quote inside a quoted field is not doubled"),
    (b'"b,joy\n', "a quote"),
]


@pytest.mark.parametrize(("line", "expected"), BAD_CSV)
def test_malformed_csv_rows_fail_or_are_skipped_by_line(write: Any, line: bytes, expected: str) -> None:
    content = b'text,label\n"two\nlines",joy\n' + line + b'after,anger\n"x",joy\n'
    path = write("m.csv", content)
    with pytest.raises(DataError) as caught:
        read_file(path, label_set=MOODS)
    assert str(caught.value).startswith(f"{path}:4: ")
    assert expected in str(caught.value)
    assert "--on-error skip" in str(caught.value)
    corpus = all_rows(path, label_set=MOODS, on_error="skip")
    assert corpus.texts == ["two\nlines", "after", "x"]
    assert [(problem.row, problem.kind) for problem in corpus.problems] == [(4, "skipped")]
    assert expected in corpus.problems[0].reason
    assert corpus.ids == ["m:2", "m:5", "m:6"]


def test_quote_never_closed_costs_its_line_only(write: Any) -> None:
    path = write("m.csv", 'text,label\na,joy\n"b,joy\nc,anger\nd,joy\n')
    assert fault(path, label_set=MOODS).startswith(
        f"{path}:3: a quote that opens in this row is never closed"
    )
    corpus = all_rows(path, label_set=MOODS, on_error="skip")
    assert corpus.texts == ["a", "c", "d"]
    assert [problem.row for problem in corpus.problems] == [3]


BAD_JSONL = [
    ('{"text": "b", "labels": ["joy"]', "not valid JSON"),
    ('["b", "joy"]', "not a JSON object"),
    ("[" * 100_000, "too deep"),
    ('{"labels": ["joy"]}', "column 'text' is missing"),
    ('{"text": "b"}', "column 'labels' is missing"),
    ('{"text": null, "labels": ["joy"]}', "the text is empty"),
    ('{"text": 5, "labels": ["joy"]}', "the text is 5, not text"),
    ('{"text": NaN, "labels": ["joy"]}', "the text is empty"),
    ('{"text": "b", "labels": null}', "has no label"),
    ('{"text": "b", "labels": []}', "has no label"),
    ('{"text": "b", "labels": [["joy"]]}', "neither a name nor a number"),
    ('{"text": "b", "labels": {"joy": 1}}', "neither a name nor a number"),
    ('{"text": "b", "labels": [null]}', "neither a name nor a number"),
    ('{"text": "b", "labels": true}', "neither a name nor a number"),
    ('{"text": "b", "labels": ["joi"]}', "did you mean joy?"),
    ('{"text": "b\\ud800", "labels": ["joy"]}', "half a character, U+D800 at character 2"),
]


@pytest.mark.parametrize(("line", "expected"), BAD_JSONL)
def test_malformed_jsonl_rows(write: Any, line: str, expected: str) -> None:
    good = '{"text": "a", "labels": ["joy"]}\n'
    path = write("m.jsonl", good + "\n" + line + "\n" + good)
    assert fault(path, label_set=MOODS).startswith(f"{path}:3: ")
    corpus = all_rows(path, label_set=MOODS, on_error="skip")
    assert corpus.texts == ["a", "a"]
    assert [problem.row for problem in corpus.problems] == [3]
    assert expected in corpus.problems[0].reason


@pytest.mark.parametrize("value", ["2", "", "yes", "0.5"])
def test_columns_hold_only_0_and_1(write: Any, value: str) -> None:
    path = write("m.csv", f"text,joy,anger\na,1,0\nb,1,{value}\n")
    assert fault(path, label_set=ONE).startswith(f"{path}:3: the column 'anger' holds {value!r}, not 0 or 1")


def test_huge_field(write: Any) -> None:
    text = "word " * 100_000
    assert all_rows(write("m.csv", f'text,label\n"{text}",joy\n'), label_set=MOODS).texts == [text]


rows_of_any_text = st.lists(
    st.tuples(
        st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: text.strip() != ""),
        st.lists(st.sampled_from(MOODS.names), min_size=1, unique=True),
    ),
    min_size=1,
    max_size=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(rows=rows_of_any_text)
def test_what_is_written_is_read(tmp_path: Path, rows: list[tuple[str, list[str]]]) -> None:
    with open(tmp_path / "m.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "labels"])
        writer.writerows((text, json.dumps(labels)) for text, labels in rows)
    lines = [json.dumps({"text": text, "labels": labels}, ensure_ascii=False) for text, labels in rows]
    (tmp_path / "m.jsonl").write_text("\n".join(lines), encoding="utf-8", newline="\n")
    frame = pl.DataFrame({"text": [text for text, _ in rows], "labels": [labels for _, labels in rows]})
    frame.write_parquet(tmp_path / "m.parquet")
    for suffix in ("csv", "jsonl", "parquet"):
        corpus = all_rows(tmp_path / f"m.{suffix}", label_set=MOODS)
        assert corpus.texts == [text for text, _ in rows]
        assert corpus.label_lists() == [
            [name for name in MOODS.names if name in labels] for _, labels in rows
        ]

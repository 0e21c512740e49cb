"""Light models on labelled corpora: `emodef evaluate` of an exported directory, and the module behind it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from commands import emodef_command
from emodef.corpora import Corpus
from emodef.errors import DataError, SettingsError
from emodef.evaluation import evaluate
from emodef.labels import LabelSet
from emodef.measuring import choose_split, light_reports, own_corpus, policies, read_corpus
from emodef.predictor import Predictor
from test_corpora import isear
from tiny_light import build_tiny_light

ROWS = (
    "text,labels,split\n"
    "so happy and glad,joy,test\nthis is awful,anger,test\nam afraid and furious,anger|fear,test\nthe meeting is in it,neutral,test\n"
    "why is that so,curiosity,dev\nthe chairs,neutral,train\nlovely,joy,train\n"
)
COLUMNS = ("--split-column", "split")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(ROWS, encoding="utf-8")
    return path


@pytest.fixture
def predictor(tiny_light: Path) -> Predictor:
    return Predictor.load(tiny_light, threads=1)


def test_reports_are_what_evaluate_gives(predictor: Predictor, tiny_corpus: dict[str, Corpus]) -> None:
    """The same code as for anything else with predict_proba, at the saved thresholds."""
    test, train = tiny_corpus["test"], tiny_corpus["train"]
    found = light_reports(predictor, [tiny_corpus["dev"], test], train=train)
    assert list(found) == ["dev tuned", "dev fixed", "test tuned", "test fixed"]
    tuned = {level: np.asarray(v) for level, v in predictor.info.thresholds["tuned"].items()}
    words = found["test tuned"].policy
    again = evaluate(predictor.predict_proba, test, thresholds=tuned, policy=words, train_labels=train.labels)
    assert again.to_dict() == found["test tuned"].to_dict()
    assert found["test tuned"].labels[0].train_support == train.labels[:, 0].sum()
    assert found["test tuned"].to_dict() != found["test fixed"].to_dict()


def test_evaluate_a_light_model(tiny_light: Path, rows: Path, predictor: Predictor) -> None:
    printed = json.loads(emodef_command("evaluate", tiny_light, "--data", rows, *COLUMNS, "--json").stdout)
    assert printed["model"] == str(tiny_light)
    (report,) = printed["reports"].values()
    corpus = read_corpus(str(rows), predictor.label_set, split_column="split")["test"]
    assert report == light_reports(predictor, [corpus])["test tuned"].to_dict()
    assert report["texts"] == 4
    assert report["levels"][0]["summary"]["subset_accuracy"]["value"] == 1
    table = emodef_command("evaluate", tiny_light, "--data", rows, *COLUMNS, "--policy", "both").stdout
    assert "macro average" in table
    assert "sentiment" in table
    assert "fixed 0.3" in table
    dev = emodef_command(
        "evaluate", tiny_light, "--data", rows, *COLUMNS, "--split", "dev", "--format", "csv"
    ).stdout
    assert dev.startswith("label,dev,")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--scores", "mean"], 2, "answers with one head's scores"),
        (["--split", "train"], 2, "has no split 'train'; choose one of dev, test"),
        (["--level", "ekman"], 2, "no level 'ekman'"),
    ],
)
def test_evaluate_errors(
    tiny_light: Path, tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(line for line in ROWS.splitlines() if "train" not in line), encoding="utf-8")
    result = emodef_command("evaluate", tiny_light, "--data", path, *COLUMNS, *options, code=code)
    assert message in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_a_model_of_ones_own_data_needs_the_data_named(tmp_path: Path) -> None:
    silent = build_tiny_light(tmp_path / "silent", about={})
    named = build_tiny_light(tmp_path / "named", about={"corpus": "mine.csv"})
    known = build_tiny_light(tmp_path / "known", about={"corpus": "goemotions"})
    assert "does not say what it was trained on" in emodef_command("evaluate", silent, code=2).stderr
    assert "name the texts with --data" in emodef_command("evaluate", named, code=2).stderr
    assert own_corpus(Predictor.load(known)) == "goemotions"
    with pytest.raises(SettingsError, match=r"mine\.csv"):
        own_corpus(Predictor.load(named))


def test_a_corpus_without_a_test_split_may_be_what_a_model_learned(tmp_path: Path) -> None:
    labels = LabelSet.load("isear")
    model = build_tiny_light(tmp_path / "light", labels=labels, about={"corpus": "isear"})
    (tmp_path / "isear").mkdir()
    rows = isear(("joy", "1", "We won."), ("fear", "2", "I was alone in a dark wood."))
    (tmp_path / "isear" / "isear.csv").write_text(rows, encoding="utf-8")
    refused = emodef_command("evaluate", model, "--data-dir", tmp_path, code=2)
    assert "has no test split, so the model may have learned" in " ".join(refused.stderr.split())
    measured = emodef_command("evaluate", model, "--data-dir", tmp_path, "--split", "all")
    assert "macro average" in measured.stdout


def test_columns_need_data(tiny_light: Path) -> None:
    assert (
        "name it with --data"
        in emodef_command("evaluate", tiny_light, "--text-column", "body", code=2).stderr
    )


def test_other_labels_are_refused(tiny_light: Path, tmp_path: Path, predictor: Predictor) -> None:
    file = tmp_path / "other.csv"
    file.write_text("text,label\nA text,melancholy\n", encoding="utf-8")
    assert "no label 'melancholy'" in emodef_command("evaluate", tiny_light, "--data", file, code=3).stderr
    reordered = build_tiny_light(tmp_path / "light", labels=_reversed(predictor.label_set))
    with pytest.raises(DataError, match="no such corpus"):
        read_corpus("nothing.csv", Predictor.load(reordered).label_set)


def test_a_published_corpus_brings_labels_of_its_own(put, predictor: Predictor) -> None:
    folder = put({"isear/isear.csv": "ID|Field1|MYKEY|SIT\n1|joy|1|We won.\n"})
    with pytest.raises(DataError, match=r"its labels \(isear\) are not the model's \(tiny\)"):
        read_corpus("isear", predictor.label_set, data_dir=folder)


def test_one_label_a_text_has_one_policy(tmp_path: Path, tiny_corpus: dict[str, Corpus]) -> None:
    from dataclasses import replace

    labels = replace(tiny_corpus["test"].label_set, exclusive=True)
    predictor = Predictor.load(build_tiny_light(tmp_path / "light", labels=labels))
    assert list(policies(predictor)) == ["fixed"]
    one = tiny_corpus["test"].labels.sum(axis=1) == 1
    corpus = replace(tiny_corpus["test"].take(np.flatnonzero(one)), label_set=labels)
    (report,) = light_reports(predictor, [corpus]).values()
    assert report.policy == "likeliest label"


def test_choose_split(tiny_corpus: dict[str, Corpus]) -> None:
    assert choose_split(tiny_corpus, "tiny").split == "test"
    assert choose_split(tiny_corpus, "tiny", "dev").split == "dev"
    assert choose_split({"all": tiny_corpus["dev"]}, "tiny") is tiny_corpus["dev"]
    with pytest.raises(SettingsError, match="no split 'test'"):
        choose_split({"train": tiny_corpus["train"]}, "tiny")


def test_without_torch(tiny_light: Path, rows: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    copy = shutil.copytree(tiny_light, tmp_path / "copy")
    code = (
        "import sys\nfrom emodef.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'transformers', 'sklearn', 'scipy', 'onnx'} & set(sys.modules)\nassert not heavy, heavy"
    )
    command = [sys.executable, "-c", code, "evaluate", str(copy), "--data", str(rows), *COLUMNS]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "macro average" in run.stdout


def _reversed(labels):
    from emodef.labels import LabelSet

    return LabelSet("backwards", labels.names[::-1], labels.definitions[::-1])

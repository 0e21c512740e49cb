"""`emodef export` and `emodef pack`, from a run to a prediction without torch."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from commands import emodef_command
from emodef.corpora import Corpus
from emodef.predictor.model_file import ModelInfo
from emodef.train.checkpoint import TrainedModel


@pytest.fixture(scope="module")
def workplace(
    tiny_corpus: dict[str, Corpus], tiny_bert_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """mine/{train,dev,test}.csv, mine.toml (labels), and run (of one epoch)."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "mine").mkdir()
    for split, corpus in tiny_corpus.items():
        with open(folder / "mine" / f"{split}.csv", "w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["text", "labels"])
            table.writerows(zip(corpus.texts, map("|".join, corpus.label_lists()), strict=True))
    (folder / "mine.toml").write_text(tiny_corpus["train"].label_set.to_toml(), encoding="utf-8")
    emodef_command(
        "train", "--data", folder / "mine", "--labels", folder / "mine.toml", "--setup", "cdp+match", "--cpu", "-q",
        "--set", f"backbone={tiny_bert_dir}", "--set", "pooling=mean", "--set", "epochs=1", "--out", folder / "run",
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def light(workplace: Path) -> tuple[Path, str]:
    """(the light model's folder, what the export printed)."""
    result = emodef_command("export", workplace / "run")
    return workplace / "run" / "light", result.stdout


def test_a_run_becomes_a_light_model_beside_it(light: tuple[Path, str], workplace: Path) -> None:
    folder, printed = light
    info = ModelInfo.read(folder)
    assert info.about["precision"] == "int8"
    assert info.scores == "match"
    assert set(info.thresholds["tuned"]) == {"tiny", "sentiment"}
    for told in ("micro-F1 tuned", "AUC of the definition score", "beside others", "limit", str(folder)):
        assert told in printed
    assert {path.name for path in workplace.iterdir()} == {"mine", "mine.toml", "run"}
    assert str(workplace) not in (folder / "model.json").read_text(encoding="utf-8")


def test_the_light_model_predicts(light: tuple[Path, str], workplace: Path) -> None:
    for model in (light[0], workplace / "run"):
        result = emodef_command("predict", "--model", model, "--json", "what a lovely day it was")
        assert json.loads(result.stdout)


def test_json_and_another_folder_and_name(workplace: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    result = emodef_command(
        "export", workplace / "run", "--precision", "fp32", "--out", out, "--name", "Mine", "--json"
    )
    printed = json.loads(result.stdout)
    assert printed["folder"] == str(out)
    assert printed["bytes"] == (out / "model.onnx").stat().st_size
    assert all(check["found"] <= check["limit"] for check in printed["parity"]["checks"])
    assert (out / "README.md").read_text(encoding="utf-8").count("Mine")
    # a light model is replaced, with what is measured now
    emodef_command("export", workplace / "run", "--precision", "fp32", "--out", out, "--name", "Other", "-q")
    assert ModelInfo.read(out).about["name"] == "Other"


def test_a_model_without_its_run(workplace: Path, tmp_path: Path) -> None:
    shutil.copytree(workplace / "run" / "model", tmp_path / "model")
    told = emodef_command("export", tmp_path / "model", code=2)
    assert "--out" in told.stderr
    told = emodef_command("export", tmp_path / "model", "--out", tmp_path / "light", code=2)
    assert "--data" in told.stderr
    emodef_command(
        "export", tmp_path / "model", "--out", tmp_path / "light", "--data", workplace / "mine", "-q"
    )
    assert (
        ModelInfo.read(tmp_path / "light").label_set
        == TrainedModel.load(workplace / "run" / "model").label_set
    )


def test_what_is_refused_is_refused_before_the_work(workplace: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    assert "something else" in emodef_command("export", workplace / "run", "--out", tmp_path, code=2).stderr
    told = emodef_command("export", workplace / "run", "--text-column", "body", code=2).stderr
    assert "--data" in told
    assert "--text-column" in told
    assert "--on-error" in emodef_command("export", workplace / "run", "--on-error", "skip", code=2).stderr
    emodef_command("export", tmp_path / "nothing", "--out", tmp_path / "light", code=3)


def test_a_damaged_run(workplace: Path, tmp_path: Path) -> None:
    shutil.copytree(workplace / "run", tmp_path / "run", ignore=shutil.ignore_patterns("light"))
    weights = tmp_path / "run" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    told = emodef_command("export", tmp_path / "run", code=3).stderr
    assert "model.safetensors" in told
    assert not (tmp_path / "run" / "light").exists()


def test_pack_and_train_on_from_it(workplace: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    assert str(out) in emodef_command("pack", workplace / "run", "--out", out).stdout
    emodef_command(
        "train", "--data", workplace / "mine", "--labels", workplace / "mine.toml", "--cpu", "-q",
        "--set", f"backbone={out}", "--set", "pooling=mean", "--set", "epochs=1", "--out", tmp_path / "run",
    )  # fmt: skip
    made = TrainedModel.load(tmp_path / "run" / "model")
    assert {str(p.dtype) for p in made.model.parameters()} == {"torch.float32"}

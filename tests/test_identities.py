"""What a run is known by: the content of what it is made from, wherever that lies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from emodef.corpora import Corpus
from emodef.errors import SettingsError
from emodef.experiments.results import Found, RunSpec
from emodef.runs import fingerprint, read_json
from emodef.train.averaging import _members, _untuned
from emodef.train.identities import moved
from emodef.train.run import run_training
from emodef.train.settings import TrainSettings
from emodef.train.teachers import with_hashes


@pytest.fixture
def encoders(tiny_bert_dir: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The same tiny encoder twice."""
    places = tmp_path / "here", tmp_path / "there"
    for place in places:
        shutil.copytree(tiny_bert_dir, place)
    return places


def remake(encoder: Path) -> None:
    weights = encoder / "model.safetensors"
    save_file(
        {name: value + 1 for name, value in load_file(weights).items()}, weights, metadata={"format": "pt"}
    )


def test_an_encoder_in_a_folder_is_known_by_what_is_in_it(encoders: tuple[Path, Path]) -> None:
    here, there = (TrainSettings(backbone=str(place)) for place in encoders)
    known = here.canonical()
    assert known == there.canonical() == with_hashes(there).canonical()
    assert "backbone" not in known
    for name in ("README.md", "metrics.json", "pytorch_model.bin"):
        (encoders[1] / name).write_text("is not read")
    assert there.canonical() == known
    noted = with_hashes(there)
    remake(encoders[1])
    assert there.canonical() != known
    with pytest.raises(SettingsError, match=r"is another now \(\w+\), and .*--set backbone=FOLDER"):
        with_hashes(noted)
    shutil.rmtree(encoders[1])
    with pytest.raises(SettingsError, match="is no folder from here"):
        with_hashes(noted)


def test_names_are_known_by_name(tiny_bert_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = TrainSettings(backbone=tiny_bert_dir.name)
    for settings in (named, TrainSettings(backbone="minilm")):
        assert settings.canonical() == {"backbone": settings.backbone}
        assert with_hashes(settings).backbone_hash is None
    monkeypatch.setenv("EMODEF_BACKBONES", str(tiny_bert_dir.parent))
    assert named.canonical() == {"backbone": tiny_bert_dir.name}
    there = TrainSettings(backbone=str(tiny_bert_dir))  # a path, in whichever folder
    assert set(there.canonical()) == {"backbone_hash"}


def test_a_stopped_run_goes_on_with_its_encoder_elsewhere_and_not_with_another(
    encoders: tuple[Path, Path], tiny_corpus: dict[str, Corpus], tmp_path: Path
) -> None:
    here, there = (
        TrainSettings(backbone=str(place), epochs=1, precision="fp32", max_length=32) for place in encoders
    )
    run = tmp_path / "run"
    run_training(here, tiny_corpus, run, cpu=True)
    saved = read_json(run / "settings.json")
    assert saved["backbone_hash"] == here.canonical()["backbone_hash"]
    (run / "metrics.json").unlink()  # as if it had been stopped in its last moment
    shutil.rmtree(encoders[0])
    run_training(there, tiny_corpus, run, resume=True, cpu=True)
    (run / "metrics.json").unlink()
    remake(encoders[1])
    with pytest.raises(SettingsError, match="backbone"):
        run_training(there, tiny_corpus, run, resume=True, cpu=True)


def test_what_was_never_noted_is_taken_for_the_same_where_it_lies_the_same() -> None:
    nothing = {
        "backbone": "b",
        "backbone_hash": None,
        "start": None,
        "start_hash": None,
        "teacher": (),
        "teacher_hashes": (),
        "unlabelled": None,
        "unlabelled_hash": None,
    }
    now = nothing | {"backbone_hash": "1a"}
    assert moved(nothing, now) == now
    assert moved(nothing, now | {"backbone": "c"})["backbone"] == "b"
    assert moved(nothing | {"backbone_hash": "1a"}, now | {"backbone": "c"})["backbone"] == "c"
    assert moved(nothing | {"backbone_hash": "2b"}, now)["backbone_hash"] == "2b"
    told = nothing | {"teacher": ("t",), "teacher_hashes": ("3c",)}
    assert moved(told, nothing)["teacher_hashes"] == ("3c",)


def test_models_of_the_same_encoder_are_averaged_wherever_it_lay(
    encoders: tuple[Path, Path], tiny_corpus: dict[str, Corpus], tmp_path: Path
) -> None:
    runs = [tmp_path / "one", tmp_path / "two"]
    for place, run in zip(encoders, runs, strict=True):
        settings = TrainSettings(backbone=str(place), epochs=1, precision="fp32", max_length=32)
        run_training(settings, tiny_corpus, run, cpu=True)
    models = _members(runs, cpu=True)
    assert len(models) == 2
    assert _untuned(models[0])
    remake(encoders[0])
    with pytest.raises(SettingsError, match=r"is not what this model was trained from .*--untuned 0"):
        _untuned(models[0])
    other = TrainSettings(backbone=str(encoders[0]), epochs=1, precision="fp32", max_length=32)
    run_training(other, tiny_corpus, tmp_path / "three", cpu=True)
    with pytest.raises(SettingsError, match="has backbone_hash = "):
        _members([*runs, tmp_path / "three"], cpu=True)


def test_a_finished_run_is_known_where_its_encoder_is_not(
    encoders: tuple[Path, Path], tiny_corpus: dict[str, Corpus]
) -> None:
    settings = TrainSettings(backbone=str(encoders[0]))
    noted, data = with_hashes(settings), fingerprint(tiny_corpus)
    saved = noted.model_dump(mode="json")
    made = Found(Path(), saved, noted.canonical(), {"corpus": data})
    here = RunSpec(saved, noted.canonical(), data, 1)
    shutil.rmtree(encoders[0])
    away = RunSpec(settings.model_dump(mode="json"), settings.canonical(), data, 1)
    elsewhere = TrainSettings(backbone=str(encoders[1] / "other"))
    other = RunSpec(elsewhere.model_dump(mode="json"), elsewhere.canonical(), data, 1)
    assert made.is_run(here, tiny_corpus)
    assert made.is_run(away, tiny_corpus)
    assert not made.is_run(other, tiny_corpus)

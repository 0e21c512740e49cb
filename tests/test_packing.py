"""Half-precision copies: half the size, read as float32, and a backbone to train on from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file, save_file

from emodef.errors import DataError, SettingsError
from emodef.train.checkpoint import TrainedModel
from emodef.train.packing import pack
from tiny_models import TEXTS, tiny_model


@pytest.fixture
def saved(tiny_bert_dir: Path, tmp_path: Path) -> Path:
    tiny_model(tiny_bert_dir, pooling="mean").save(tmp_path / "model", card="# A card\n")
    return tmp_path / "model"


def test_half_the_size_and_all_else_the_same(saved: Path, tmp_path: Path) -> None:
    out = pack(saved, tmp_path / "packed")
    assert {path.name for path in out.iterdir()} == {path.name for path in saved.iterdir()}
    for path in saved.iterdir():
        if path.name != "model.safetensors":
            assert (out / path.name).read_bytes() == path.read_bytes()
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (saved, out)]
    assert sizes[1] < 0.6 * sizes[0]
    assert {tensor.dtype for tensor in load_file(out / "model.safetensors").values()} == {torch.float16}


def test_it_is_read_in_float32_and_answers_alike(each_backbone: tuple[str, Path], tmp_path: Path) -> None:
    made = tiny_model(each_backbone[1])
    made.save(tmp_path / "model")
    packed = TrainedModel.load(pack(tmp_path / "model", tmp_path / "packed"))
    kinds = {t.dtype for t in packed.model.state_dict().values() if t.is_floating_point()}
    assert kinds == {torch.float32}
    weights = packed.model.state_dict()
    for name, tensor in made.model.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(weights[name], tensor, rtol=2**-10, atol=1e-7)
    np.testing.assert_allclose(packed.predict_proba(TEXTS), made.predict_proba(TEXTS), atol=0.02)


def test_training_starts_from_it_in_float32(saved: Path, tmp_path: Path) -> None:
    out = pack(saved, tmp_path / "packed")
    made = tiny_model(out, pooling="mean", shaken=0)
    kinds = {t.dtype for t in made.model.state_dict().values() if t.is_floating_point()}
    assert kinds == {torch.float32}
    started = made.model.encoder.get_input_embeddings().weight
    torch.testing.assert_close(
        started, TrainedModel.load(saved).model.encoder.get_input_embeddings().weight, rtol=2**-10, atol=1e-7
    )
    text = "so sorry [NAME], about [RELIGION]"  # its placeholders are single tokens already
    ids = [m.tokenizer.encoder.tokenize([text]).flat.tolist() for m in (made, TrainedModel.load(saved))]
    assert ids[0] == ids[1]
    assert not made.tokenizer.new_tokens


def test_a_copy_is_replaced_and_nothing_else_is(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = pack(saved, tmp_path / "packed")
    assert pack(saved, out) == out
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine", encoding="utf-8")
    for folder, message in (
        ("other", "something else"),
        ("model", "the model itself"),
        (".", "the model itself"),
    ):
        with pytest.raises(SettingsError, match=message):
            pack(saved, tmp_path / folder)
    with pytest.raises(SettingsError, match="is a file"):
        pack(saved, tmp_path / "other" / "notes.txt")
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"a saved model and notes\.txt, which would be gone"):
        pack(saved, out)
    (out / "notes.txt").unlink()
    (tmp_path / "link").symlink_to(out)
    pack(saved, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "model", "other", "packed"]
    monkeypatch.chdir(out)
    with pytest.raises(SettingsError, match="is the folder you are in"):
        pack(saved, ".")


def test_weights_beyond_half_precision_are_named(saved: Path, tmp_path: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    name = sorted(weights)[0]
    weights[name].view(-1)[0] = 1e6
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        pack(saved, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


def test_a_damaged_model_is_not_copied(saved: Path, tmp_path: Path) -> None:
    (saved / "heads.safetensors").write_bytes(b"no")
    with pytest.raises(DataError, match=r"heads\.safetensors"):
        pack(saved, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()

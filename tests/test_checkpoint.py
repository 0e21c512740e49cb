"""The saved model directory: the same predictions back, nothing pickled, open to transformers, and honest about damage."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from emodef.corpora import Corpus
from emodef.errors import DataError, SettingsError
from emodef.evaluation import evaluate
from emodef.labels import LabelSet
from emodef.train import checkpoint
from emodef.train.card import model_card
from emodef.train.checkpoint import FILES, TrainedModel
from emodef.train.versions import hardware, versions
from tiny_backbones import ARCHITECTURES, build_backbone
from tiny_models import LABELS, TEXTS, tiny_model

Backbone = Callable[..., Path]
WRITTEN = {*FILES, "emodef.json", "README.md"}


@pytest.fixture
def saved(tiny_bert_dir: Path, tmp_path: Path) -> Path:
    """A saved model with every head and its own pooling."""
    tiny_model(tiny_bert_dir).save(tmp_path / "model", card="# A card\n")
    return tmp_path / "model"


def same_weights(one: TrainedModel, other: TrainedModel) -> bool:
    a, b = one.model.state_dict(), other.model.state_dict()
    return set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)


# ---- there and back


@pytest.mark.parametrize("pooling", ["own", "mean"])
@pytest.mark.parametrize("setup", ["none", "cdp+mlm", "cdp+mlm+match"])
def test_the_same_model_comes_back(
    setup: str, pooling: str, each_backbone: tuple[str, Path], tmp_path: Path
) -> None:
    """Bit for bit, and without the backbone it was built from, which is deleted."""
    _, shared = each_backbone
    folder = tmp_path / "backbone"
    shutil.copytree(shared, folder)
    made = tiny_model(folder, pooling=pooling, setup=setup)
    made.thresholds = {"fixed": 0.3, "tuned": {"five": [0.1, 0.2, 0.3, 0.4, 0.5]}}
    made.metrics = {"dev fixed": {"macro_f1": {"value": 0.5}}}
    before = {which: made.predict_proba(TEXTS, scores=which) for which in scores_of(setup)}
    made.save(tmp_path / "model")
    shutil.rmtree(folder)
    state = torch.get_rng_state()
    loaded = TrainedModel.load(tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), state)  # loading draws nothing from the caller's stream
    for which, expected in before.items():
        np.testing.assert_array_equal(loaded.predict_proba(TEXTS, scores=which), expected)
    assert same_weights(made, loaded)
    assert not loaded.model.training
    assert loaded.label_set == LABELS
    assert loaded.settings == made.settings
    assert (loaded.thresholds, loaded.metrics) == (made.thresholds, made.metrics)
    text = "so sorry [NAME], about [RELIGION]"
    ids = [m.tokenizer.encoder.tokenize([text]).flat.tolist() for m in (made, loaded)]
    assert ids[0] == ids[1]
    # a second round changes nothing more
    loaded.save(tmp_path / "again")
    for name in ("model.safetensors", "heads.safetensors", "config.json", "tokenizer.json", "emodef.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


def scores_of(setup: str) -> tuple[str, ...]:
    return ("emotion", "match", "mean") if "match" in setup else ("emotion",)


def test_heads_without_a_checkpoints_own_masked_words_come_back(
    tiny_backbone: Backbone, tmp_path: Path
) -> None:
    made = tiny_model(tiny_backbone("mpnet", head=False), pooling="mean")
    made.save(tmp_path / "model")
    assert same_weights(made, TrainedModel.load(tmp_path / "model"))


def test_what_is_written(saved: Path) -> None:
    """These files and no others; safetensors, JSON and text, never pickle."""
    assert {path.name for path in saved.iterdir()} <= WRITTEN | {"special_tokens_map.json", "vocab.txt"}
    assert {path.name for path in saved.iterdir()} >= WRITTEN
    assert (saved / "README.md").read_text(encoding="utf-8") == "# A card\n"
    for path in saved.iterdir():
        content = path.read_bytes()
        assert not content.startswith((b"\x80", b"PK")), f"{path.name} looks like a pickle"
        if path.suffix == ".safetensors":
            assert load_file(path)
        elif path.suffix == ".json":
            assert isinstance(json.loads(content), dict)
        else:
            content.decode("utf-8")
    about = json.loads((saved / "emodef.json").read_text(encoding="utf-8"))
    assert about["heads"] == ["definition", "masked_words", "match"]
    assert about["versions"]["emodef"] == versions()["emodef"]
    heads = set(load_file(saved / "heads.safetensors"))
    network = set(load_file(saved / "model.safetensors"))
    assert {name.split(".")[0] for name in heads} == {"definition", "masked_words", "match"}
    assert "classifier.weight" in network  # where transformers looks for it
    vocabulary = [n for n in heads | network if "decoder.weight" in n or "word_embeddings" in n]
    assert vocabulary == ["bert.embeddings.word_embeddings.weight"]  # tied: kept once


def test_a_pickle_beside_the_weights_is_never_opened(saved: Path) -> None:
    tensors = load_file(saved / "model.safetensors")
    (saved / "model.safetensors").unlink()
    torch.save(tensors, saved / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"model\.safetensors: not found"):
        TrainedModel.load(saved)


def test_a_backbone_of_pickled_weights_is_refused(tiny_bert_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backbone"
    shutil.copytree(tiny_bert_dir, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match="safetensors"):
        tiny_model(folder)


# ---- open to transformers


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_transformers_pipeline_gives_the_same_scores(
    architecture: str, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    made = tiny_model(tiny_backbone(architecture), setup="cdp+mlm")
    made.save(tmp_path / "model")
    texts = [text for text in TEXTS if text]
    answers = transformers.pipeline("text-classification", model=str(tmp_path / "model"), top_k=None)(texts)
    by_label = [{answer["label"]: answer["score"] for answer in answer_of} for answer_of in answers]
    theirs = np.array([[scores[name] for name in LABELS.names] for scores in by_label])
    ours = made.predict_proba(texts)
    assert ours.std(0).max() > 0.02
    assert not np.allclose(ours.sum(1), 1, atol=0.05)  # sigmoids, no softmax
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(
    ("pooling", "setup", "says"),
    [
        ("own", "none", "It also opens in `transformers.pipeline"),
        ("own", "cdp", "It also opens in `transformers.pipeline"),
        ("own", "match", "It does not open in transformers' own .* matching head"),
        ("mean", "none", "It does not open in transformers' own .* mean of the token vectors"),
        ("mean", "match", "It does not open in transformers' own .* matching head"),
    ],
)
def test_the_card_says_whether_transformers_opens_it(
    pooling: str, setup: str, says: str, tiny_bert_dir: Path, tiny_corpus: dict[str, Corpus], tmp_path: Path
) -> None:
    made = tiny_model(tiny_bert_dir, pooling=pooling, setup=setup)
    made.label_set = tiny_corpus["dev"].label_set
    facts = {
        "precision": "fp32",
        "steps": {"primary": 1200, "auxiliary": 34},
        "seconds": 61.0,
        "kept_epoch": 3,
        "truncated_texts": 7,
    }
    about = {"versions": versions(), "code": None, "hardware": hardware(torch.device("cpu"))}
    reports = {"dev fixed": evaluate(made.predict_proba, tiny_corpus["dev"], bootstrap=20)}
    card = model_card(made, facts, reports, tiny_corpus, about)
    made.save(tmp_path / "model", card)
    written = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert written == card
    assert written.startswith("---\n")
    assert re.search(says, written)
    assert "1,200 primary and 34 auxiliary" in written
    for name, definition in zip(made.label_set.names, made.label_set.definitions, strict=True):
        assert f"**{name}**: {definition}" in written
    opens = pooling == "own" and setup != "match"
    assert ("It also opens" in written) == opens


# ---- prediction


def test_predictions_leave_the_model_as_it_was(tiny_bert_dir: Path) -> None:
    made = tiny_model(tiny_bert_dir)
    made.model.train()
    first = made.predict_proba(TEXTS)
    assert made.model.training
    np.testing.assert_array_equal(made.predict_proba(TEXTS), first)  # no dropout in them
    assert all(p.grad is None and p.requires_grad for p in made.model.parameters())


def test_the_head_a_model_answers_with(tiny_bert_dir: Path) -> None:
    made = tiny_model(tiny_bert_dir, setup="match")
    by_head = {which: made.predict_proba(TEXTS, scores=which) for which in ("emotion", "match", "mean")}
    np.testing.assert_array_equal(made.predict_proba(TEXTS), by_head["match"])
    np.testing.assert_allclose((by_head["emotion"] + by_head["match"]) / 2, by_head["mean"], atol=1e-6)
    plain = tiny_model(tiny_bert_dir, setup="none")
    np.testing.assert_array_equal(plain.predict_proba(TEXTS), plain.predict_proba(TEXTS, scores="emotion"))
    for model, which in ((plain, "match"), (plain, "mean"), (made, "softmax")):
        with pytest.raises(DataError, match="this model answers with"):
            model.predict_proba(TEXTS, scores=which)


def test_long_texts_no_texts_and_progress(tiny_bert_dir: Path) -> None:
    made = tiny_model(tiny_bert_dir, setup="none")
    longest = made.tokenizer.longest
    cut, uncut = made.predict_proba(["rain " * (longest - 2), "rain " * 1000])
    np.testing.assert_allclose(cut, uncut, atol=1e-6)
    assert made.predict_proba([]).shape == (0, 5)
    done: list[int] = []
    made.predict_proba(TEXTS * 10, token_budget=200, progress=done.append)
    assert sum(done) == 60
    assert len(done) > 5


# ---- damage


def damaged(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    if damage == "missing":
        path.unlink()
    elif damage == "cut short":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "other content":
        path.write_text("[1, 2]" if path.suffix == ".json" else "no tensors", encoding="utf-8")


@pytest.mark.parametrize("damage", ["missing", "cut short", "other content"])
@pytest.mark.parametrize("name", sorted({*FILES, "emodef.json"}))
def test_a_damaged_file_is_named_with_the_remedy(name: str, damage: str, saved: Path) -> None:
    damaged(saved, name, damage)
    with pytest.raises(DataError) as caught:
        TrainedModel.load(saved)
    message = str(caught.value)
    assert f"{saved}/{name}: " in message, message
    assert any(words in message for words in ("copy the whole model again", "emodef train", "label")), message
    assert "\n" not in message


def test_no_model_there(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            DataError, match=r"emodef\.json: not found; a model directory is written by 'emodef"
        ):
            TrainedModel.load(folder)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_another_format_or_unknown_settings(saved: Path) -> None:
    about = saved / "emodef.json"
    whole = about.read_text(encoding="utf-8")
    edit(about, lambda d: d.update(format=99))
    with pytest.raises(DataError, match=r"emodef\.json: format 99, .* reads 1; install a matching release"):
        TrainedModel.load(saved)
    for change in (
        lambda d: d["settings"].update(colour="red"),
        lambda d: d["settings"].update(setup="cpd"),
        lambda d: d.pop("settings"),
        lambda d: d.pop("heads"),
    ):
        about.write_text(whole, encoding="utf-8")
        edit(about, change)
        with pytest.raises(DataError, match=r"emodef\.json: cannot be read"):
            TrainedModel.load(saved)


def test_weights_that_do_not_fit(saved: Path) -> None:
    """Missing or misshapen tensors are refused: transformers would draw them at random."""
    heads, network = saved / "heads.safetensors", saved / "model.safetensors"
    for path, name in ((heads, "definition.weight"), (network, "classifier.weight")):
        whole = load_file(path)
        save_file({n: t for n, t in whole.items() if n != name}, path, metadata={"format": "pt"})
        with pytest.raises(DataError, match=rf"{path.name}: .*{name}"):
            TrainedModel.load(saved)
        save_file({**whole, name: torch.zeros(3, 7)}, path, metadata={"format": "pt"})
        with pytest.raises(DataError, match=rf"{path.name}: "):
            TrainedModel.load(saved)
        save_file(whole, path, metadata={"format": "pt"})
    TrainedModel.load(saved)


def test_labels_that_do_not_fit(saved: Path) -> None:
    edit(saved / "labels.json", lambda d: d["labels"].pop())
    with pytest.raises(DataError, match=r"model\.safetensors: "):
        TrainedModel.load(saved)


# ---- atomic


@pytest.mark.parametrize("failing", ["save_file", "rename", "tokenizer"])
def test_a_failed_save_leaves_the_old_model(
    failing: str, saved: Path, tiny_bert_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    other = tiny_model(tiny_bert_dir, seed=1)

    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if failing == "save_file":
            patch.setattr(checkpoint, "save_file", full)
        elif failing == "tokenizer":
            patch.setattr(type(other.tokenizer.tokenizer), "save_pretrained", full)
        else:  # the new folder cannot take the place of the old one, which has been moved aside already
            replace = os.replace
            new = [".part"]
            patch.setattr(
                os,
                "replace",
                lambda a, b: full() if str(a).endswith(tuple(new)) else replace(a, b),
            )
        with pytest.raises(OSError, match="No space left"):
            other.save(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert [path.name for path in saved.parent.iterdir()] == ["model"]  # and nothing half-written
    other.save(saved)
    assert same_weights(TrainedModel.load(saved), other)
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


# ---- other label sets and settings


def test_one_label_and_many(tmp_path: Path, tiny_bert_dir: Path) -> None:
    """No label count is special: one label, and more labels than the encoder is wide."""
    from emodef.train.model import build_model
    from emodef.train.tokenization import TextTokenizer

    for count in (1, 40):
        labels = [{"name": f"label {k}", "definition": f"definition number {k}"} for k in range(count)]
        label_set = LabelSet.from_dict({"name": "many", "labels": labels})
        base = tiny_model(tiny_bert_dir)
        tokenizer = TextTokenizer.load(tiny_bert_dir, base.settings.placeholders)
        model = build_model(
            str(tiny_bert_dir),
            labels=count,
            pooling="own",
            tasks=base.settings.tasks,
            vocabulary=tokenizer.size,
            new_tokens=tokenizer.new_tokens,
        )
        made = TrainedModel(model.eval(), tokenizer, label_set, base.settings)
        made.save(tmp_path / str(count))
        loaded = TrainedModel.load(tmp_path / str(count))
        for which in ("emotion", "match", "mean"):
            expected = made.predict_proba(TEXTS, scores=which)
            assert expected.shape == (6, count)
            np.testing.assert_array_equal(loaded.predict_proba(TEXTS, scores=which), expected)


def test_an_architecture_unknown_to_own_pooling(tiny_bert_dir: Path, tmp_path: Path) -> None:
    build_backbone("bert", tmp_path)
    edit(tmp_path / "config.json", lambda d: d.update(model_type="electra"))
    with pytest.raises(SettingsError, match="'electra'"):
        tiny_model(tmp_path)

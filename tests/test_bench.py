"""The measurements in bench/ run, on tiny settings, and time what they say they time. No speed is asserted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _bench_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'src'}")  # for the processes that are started


@pytest.fixture
def trainer(tiny_bert_dir: Path, tiny_corpus: dict[str, Any]) -> Callable[..., Any]:
    def make(setup: str, **changed: Any) -> Any:
        from bench.steps import Trainer

        from emodef.train.settings import load_recipe

        given = {"backbone": str(tiny_bert_dir), "setup": setup, "batch_size": 8, **changed}
        return Trainer(load_recipe("minilm", given), tiny_corpus["train"])

    return make


def test_published_padding_holds_the_same_texts(trainer: Callable[..., Any]) -> None:
    from bench.steps import batches_of, in_random_order

    made: Any = trainer("cdp")
    for pairs, length in ((False, 50), (True, 100)):
        ours = batches_of(made, pairs=pairs)
        published = in_random_order(ours, full_length=True)
        steps = len(ours.auxiliary) if pairs else ours.epoch_steps
        real = {}
        for name, batches in (("ours", ours), ("published", published)):
            rows = []
            for step in range(steps):
                batch: Any = batches.make(step).batch
                inputs = batch.pairs if pairs else batch.texts
                assert name == "ours" or inputs.input_ids.shape[1] == length
                rows += [
                    tuple(ids[mask == 1].tolist())
                    for ids, mask in zip(inputs.input_ids, inputs.attention_mask, strict=True)
                ]
            real[name] = rows
        assert sorted(real["ours"]) == sorted(real["published"])
        assert real["ours"] != real["published"]


def test_padding_does_not_change_a_loss(trainer: Callable[..., Any]) -> None:
    """One batch holding every text: in whatever order and however wide, the same loss."""
    from bench.steps import Knobs, batches_of, in_random_order

    made: Any = trainer("none", batch_size=120)
    made.use(Knobs(dropout="none"))
    ours = batches_of(made)
    losses = [
        made.model(batches.make(0).batch)["emotion"].item()
        for batches in (
            ours,
            in_random_order(ours, full_length=False),
            in_random_order(ours, full_length=True),
        )
    ]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


def test_every_position_gives_the_same_losses(trainer: Callable[..., Any]) -> None:
    from bench.steps import Knobs, batches_of, every_position

    made: Any = trainer("cdp+mlm")
    made.use(Knobs(dropout="none"))
    batch = batches_of(made, pairs=True).make(0).batch
    masked, everywhere = made.model(batch), every_position(made.model, batch)
    assert set(masked) == {"cdp", "mlm"}
    for task, loss in masked.items():
        assert everywhere[task].item() == pytest.approx(loss.item(), rel=1e-5)


def test_tokenising_anew_gives_the_same_batch(trainer: Callable[..., Any]) -> None:
    from bench.steps import batches_of, tokenised_anew

    made: Any = trainer("none")
    ours = batches_of(made)
    for step in range(3):
        first: Any = ours.make(step).batch
        again: Any = tokenised_anew(made, ours, step).batch
        assert torch.equal(first.texts.input_ids, again.texts.input_ids)
        assert torch.equal(first.texts.attention_mask, again.texts.attention_mask)
        assert torch.equal(first.labels, again.labels)


def test_knobs_switch_what_they_say(trainer: Callable[..., Any]) -> None:
    from bench.steps import Knobs, batches_of

    made: Any = trainer("none")
    ours = batches_of(made)
    step = [ours.make(0)]

    def changed_by(knobs: Any) -> set[str]:
        made.use(knobs)
        before = {name: p.detach().clone() for name, p in made.model.named_parameters()}
        made.step(step)
        return {name for name, p in made.model.named_parameters() if not torch.equal(p, before[name])}

    table = {name for name, p in made.model.named_parameters() if p is made.table}
    everything = changed_by(Knobs())
    assert table < everything
    assert changed_by(Knobs(optimizer="plain")) == everything
    assert changed_by(Knobs(optimizer="no embeddings")) == everything - table
    assert changed_by(Knobs(embeddings="frozen")) == everything - table

    def losses(knobs: Any) -> set[float]:
        made.use(knobs)
        return {made.model(step[0].batch)["emotion"].item() for _ in range(3)}

    assert len(losses(Knobs())) == 3
    assert len(losses(Knobs(dropout="hidden"))) == 3
    assert len(losses(Knobs(dropout="none"))) == 1
    assert len(losses(Knobs())) == 3


def test_rounds_are_epochs_in_small() -> None:
    from bench.timing import Epoch, Size

    sizes = np.random.default_rng(0).integers(100, 1000, 400)
    rounds = Epoch(sizes, 1.0).rounds(Size(rounds=5, steps=20))
    assert [len(steps) for steps in rounds] == [20] * 5
    assert len({step for steps in rounds for step in steps}) == 100  # none twice
    for steps in rounds:
        assert sizes[steps].mean() == pytest.approx(sizes.mean(), rel=0.03)


def test_ratios_are_taken_within_rounds() -> None:
    from bench.timing import Round, side_by_side

    @dataclasses.dataclass
    class Clock:
        name: str
        seconds: list[float]

        def run(self, number: int, limit: int | None = None) -> Round:
            return Round(self.seconds[number], steps=1, examples=8, real=9, computed=10)

    found = side_by_side(
        "t", [Clock("a", [1.0, 2.0, 4.0]), Clock("b", [3.0, 4.0, 20.0])], 3, wanted={"b": 2.0}
    )
    first, second = found["rows"]
    assert "ratio" not in first
    assert second["ratio"] == {"median": 3.0, "lowest": 2.0, "highest": 5.0, "rounds": [3.0, 2.0, 5.0]}
    assert (first["examples_per_second"], second["wanted"], second["real_tokens_timed"]) == (4.0, 2.0, 0.9)


def test_aged_moments_are_what_adamw_leaves(trainer: Callable[..., Any]) -> None:
    """A word unseen for g steps gets the moments of some trained word after g of AdamW's decays."""
    from bench.processes import age_moments
    from bench.steps import Knobs, batches_of

    made: Any = trainer("none")
    made.use(Knobs())
    ours: Any = batches_of(made)
    for step in range(5):
        made.step([ours.make(step)])
    state = made.optimizer.state[made.table]
    before = {key: state[key].clone() for key in ("exp_avg", "exp_avg_sq")}
    last: dict[int, int] = {}
    for step in range(ours.epoch_steps):
        last.update(dict.fromkeys(ours.make(step).batch.texts.input_ids.unique().tolist(), step))
    assert age_moments(made, ours, ours.epoch_steps) == 0  # nothing is so old here
    gaps = {row: ours.epoch_steps - 1 - step for row, step in last.items()}
    assert max(gaps.values()) > 2
    for row in range(len(made.table)):
        gap = gaps.get(row, 0)
        expected = before["exp_avg"] * 0.9**gap, before["exp_avg_sq"] * 0.999**gap
        found = state["exp_avg"][row], state["exp_avg_sq"][row]
        same = [
            torch.isclose(mine, theirs, rtol=1e-4, atol=0).all(1)
            for mine, theirs in zip(found, expected, strict=True)
        ]
        assert bool((same[0] & same[1]).any() if gap else (same[0] & same[1])[row])


def test_groups_of_operations() -> None:
    from bench.training_profile import STEP, group

    assert group(["aten::addmm", "aten::linear", STEP]) == "matrix products"
    assert group(["aten::zero_", "aten::embedding_dense_backward", STEP]).startswith("word table's gradient")
    assert group(["aten::mul", "aten::dropout", STEP]) == "elementwise arithmetic and sums"
    assert group(["aten::bernoulli_", "aten::dropout", STEP]) == "dropout: random numbers"
    assert group(["aten::_fused_adamw_", "Optimizer.step#AdamW.step", STEP]) == "optimiser"
    assert group([STEP]).startswith("Python and autograd")


def test_measurements_run(tiny_bert_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import memory, training_profile, training_speed

    monkeypatch.setattr(memory, "SETUPS", ("match",))  # each is a process

    given = [
        "--quick",
        "--corpus",
        str(ROOT / "examples" / "sample"),
        "--backbone",
        str(tiny_bert_dir),
        "--out",
        str(tmp_path),
    ]
    training_speed.main(given)
    training_profile.main(given)
    memory.main(given)

    speed = json.loads((tmp_path / "training_speed.json").read_text(encoding="utf-8"))
    assert set(speed["sections"]) == set(training_speed.SECTIONS)
    for section in speed["sections"].values():
        for comparison in section:
            assert comparison["rows"][0]["name"] == comparison["base"]
            assert all(row["ratio"]["median"] > 0 for row in comparison["rows"][1:])
    ours, _, published = speed["sections"]["texts"][0]["rows"]
    assert published["real_tokens_epoch"] < ours["real_tokens_epoch"] <= 1

    for found in json.loads((tmp_path / "training_profile.json").read_text(encoding="utf-8"))[
        "setups"
    ].values():
        assert sum(found["groups"].values()) == pytest.approx(1, abs=0.01)
        assert {"matrix products", "optimiser", "word table's gradient (zero-filled)"} <= set(found["groups"])

    runs = json.loads((tmp_path / "memory.json").read_text(encoding="utf-8"))["runs"]
    assert [run["setup"] for run in runs] == ["match"]
    assert all(run["peak_mib"] >= run["peak_mib_before_training"] > 0 for run in runs)

    page = (tmp_path / "training.md").read_text(encoding="utf-8")
    assert str(tiny_bert_dir) not in page
    assert str(tmp_path) not in page


def test_recorded_steps_are_compared_with_plain_ones(
    tiny_bert_dir: Path, tiny_corpus: dict[str, Any]
) -> None:
    """Without a GPU a recording is the work done again: the same losses, and no gain."""
    from bench.recorded_steps import compare, page

    from emodef.train.settings import load_recipe
    from replays import Replays

    given = {"backbone": str(tiny_bert_dir), "setup": "cdp+mlm", "precision": "fp32", "batch_size": 8}
    settings, replays = load_recipe("minilm", given), Replays()
    found = compare(settings, tiny_corpus["train"], torch.device("cpu"), rounds=3, steps=8, record=replays)
    assert replays.replayed > 0
    assert found["largest_difference"] < 1e-3
    middle, low, high = found["ratio"]
    assert 0 < low <= middle <= high
    about = {"quick": True, "command": "c", "date": "d", "commit": "e", "hardware": {}, "versions": {}}
    told = page({"about": about, "setups": [found]})
    assert "| cdp+mlm |" in told
    assert "mean nothing" in told

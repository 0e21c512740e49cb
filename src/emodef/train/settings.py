"""Settings of a training run: documented, strict, saved beside the result; and recipes of them. Imports pydantic.

A recipe is a TOML file of settings that may build on another (`extends = "paper"`). A list stands for a run with each of its
values, several lists for each combination; `[[runs]]` tables hold several such blocks, to which what stands outside is common.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from emodef.corpora import CORPORA
from emodef.errors import SettingsError
from emodef.train.backbones import PACKAGED, checkpoint_of, named_folder
from emodef.train.identities import NOTED, known_checkpoint, known_start, known_texts
from emodef.train.recipe_files import combinations, is_list, parse_overrides, read_values, recipes
from emodef.train.teachers import known_by

if TYPE_CHECKING:
    from emodef.train.transfer_settings import TransferSettings

__all__ = [
    "Experiment",
    "TrainSettings",
    "load_experiment",
    "load_recipe",
    "parse_overrides",
    "recipes",
]

TASKS = ("cdp", "mlm", "match")
TRANSFER = "transfer"  # the kind of recipe that is not of training runs


class TrainSettings(BaseModel):
    """Everything a run depends on besides the corpus and the label set. The defaults are the paper's (section IV and its code)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    description: str = Field("", description="what this recipe is for")
    corpus: str = Field("goemotions", description="a known corpus, or a file or folder of your own")
    label_set: str | None = Field(
        None, description="label set of a corpus of your own: a shipped one's name, or a TOML file"
    )
    backbone: str = Field(
        "bert-base-cased",
        description="'minilm', a model hub name (a folder of that name in $EMODEF_BACKBONES comes first), or a folder with a "
        "transformers checkpoint",
    )
    backbone_hash: str | None = Field(
        None, description="what a folder's checkpoint is known by; noted when a run starts"
    )
    start: str | None = Field(
        None,
        description="begin with this trained model (its own folder, or its run's) instead of the bare backbone",
    )
    start_hash: str | None = Field(None, description="what that model is known by; noted when a run starts")
    setup: str = Field("none", description="none, or tasks joined by +: cdp, mlm, match")
    pooling: Literal["own", "mean"] = Field(
        "own", description="the architecture's own pooling projection, or the mean of the token vectors"
    )
    p: float = Field(
        0.5, gt=0, le=1, description="probability that a step trains the primary task (used with cdp or mlm)"
    )
    epochs: int = Field(10, ge=1, description="steps (see budget) = epochs × ⌈primary examples / batch_size⌉")
    budget: Literal["total", "primary"] = Field(
        "total",
        description="what those steps are: all of them, whatever p is (the paper's rule), or the primary ones alone: "
        "then the run goes on until so many are made",
    )
    steps_as_p: float | None = Field(
        None,
        gt=0,
        le=1,
        description="for a setup without cdp or mlm: as many steps as a run with this p (and seed) makes primary ones",
    )
    batch_size: int = Field(16, ge=1, description="examples per step, over all processes")
    learning_rate: float = Field(5e-5, gt=0)
    match_learning_rate: float = Field(
        5e-3, gt=0, description="for the matching head's scale and biases, which start far from their end"
    )
    warmup: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of the steps with rising learning rate; then it falls linearly to 0",
    )
    weight_decay: float = Field(0.0, ge=0)
    gradient_clip: float = Field(1.0, gt=0, description="largest gradient norm")
    auxiliary_clip: float | None = Field(
        None,
        gt=0,
        description="the same for steps of cdp or mlm, whose gradients are far larger than the emotion task's: Adam divides both by one "
        "running size; 'none': gradient_clip",
    )
    dropout: float | None = Field(None, ge=0, lt=1, description="replaces the checkpoint's dropout rates")
    max_length: int = Field(50, ge=4, description="tokens of a text, special tokens included")
    max_pair_length: int = Field(
        100, ge=8, description="tokens of a (text, definition) pair, special tokens included"
    )
    mlm_rate: float = Field(0.15, gt=0, lt=1, description="share of words to be predicted (MLM)")
    match_text: str = Field("{name}: {definition}", description="what the matching head encodes for a label")
    match_scale: float = Field(
        20.0,
        gt=0,
        description="exp(s) at the start: the weight of the cosine; not to be set where the model to start from has a matching head, whose "
        "own is kept",
    )
    match_bias: float = Field(
        -4.0,
        description="every label's bias at the start; not to be set there either: the mean of that model's",
    )
    match_shared_bias: bool = Field(False, description="one bias for all labels, instead of one a label")
    match_labels: float = Field(
        1.0, gt=0, le=1, description="share of the labels that a step matches its texts with, drawn anew"
    )
    match_vary: float = Field(
        0.0,
        ge=0,
        le=1,
        description="probability that a step reads a label in other words: its name or its definition alone, or a paraphrase",
    )
    match_anchor: float = Field(
        0.0,
        ge=0,
        description="weight of the loss 1 - cos of the definitions' embeddings and those that the encoder has before the first step: "
        "the untuned one, or with start that model's",
    )
    teacher: tuple[str, ...] = Field(
        (),
        strict=False,
        description="runs or models to learn from: their probabilities of the training texts, averaged; RUN:mean names a head",
    )
    teacher_hashes: tuple[str, ...] = Field(
        (), strict=False, description="what the teachers are known by; noted when a run starts"
    )
    teacher_weight: float = Field(
        0.5, gt=0, le=1, description="share of the teachers in what is learnt; the rest is the gold labels"
    )
    teacher_temperature: float = Field(
        1.0, gt=0, description="the teachers' log-odds are divided by this: above 1 softer, below 1 sharper"
    )
    unlabelled: str | None = Field(
        None,
        description="file of further texts to learn from, which the teachers alone label; 'emodef data recombine' makes one",
    )
    unlabelled_hash: str | None = Field(
        None, description="what those texts are known by; noted when a run starts"
    )
    average: tuple[str, ...] = Field(
        (),
        strict=False,
        description="models whose mean this is, each with its share; noted by 'emodef average'",
    )
    held_out: tuple[str, ...] = Field(
        (), strict=False, description="labels left out of training, to be scored from their definitions alone"
    )
    held_out_draw: int | None = Field(
        None,
        ge=1,
        le=3,
        description="draw the labels to hold out: which of three draws, balanced over frequency",
    )
    held_out_count: int = Field(6, ge=1, description="how many labels a draw holds out")
    placeholders: tuple[str, ...] = Field(
        ("[NAME]", "[RELIGION]"), strict=False, description="kept as single tokens"
    )
    emoji: Literal["keep", "words"] = Field(
        "keep",
        description="keep: as they are, unknown to most vocabularies; words: by their Unicode names, 'face with tears of joy'",
    )
    threshold: float = Field(
        0.3, gt=0, lt=1, description="a label is predicted where its probability exceeds this"
    )
    seed: int = Field(42, ge=0, lt=2**63)
    precision: Literal["auto", "fp32", "tf32", "bf16"] = Field(
        "auto", description="auto: tf32 on a GPU and bf16 on a CPU that multiply it natively, else fp32"
    )
    keep: Literal["last", "best"] = Field(
        "best", description="which epoch's weights are kept; best: by dev macro-F1"
    )
    patience: int | None = Field(
        None, ge=1, description="stop after so many epochs without a better dev macro-F1"
    )
    save_every: int = Field(500, ge=1, description="steps between resume states (besides every epoch's end)")

    @field_validator(
        "label_set",
        "start",
        "unlabelled",
        "steps_as_p",
        "auxiliary_clip",
        "dropout",
        "patience",
        "held_out_draw",
        mode="before",
    )
    @classmethod
    def _unset(cls, value: object) -> object:
        # TOML has no null: "none" lets a recipe or --set undo what it builds on.
        return None if value == "none" else value

    @field_validator("match_text")
    @classmethod
    def _has_places(cls, value: str) -> str:
        places = {place for _, place, _, _ in Formatter().parse(value) if place is not None}
        if not places or not places <= {"name", "definition"}:
            raise ValueError("it must have {name} or {definition}, or both, and no other {place}")
        return value

    @model_validator(mode="after")
    def _check(self) -> TrainSettings:
        parts = [] if self.setup == "none" else self.setup.split("+")
        unknown = sorted(set(parts) - set(TASKS))
        if unknown or len(set(parts)) != len(parts):
            raise ValueError(
                f"setup = {self.setup!r}: use 'none', or {', '.join(TASKS)} joined by '+', each once"
            )
        if self.steps_as_p is not None and (self.auxiliary or self.budget == "primary"):
            raise ValueError(
                f"steps_as_p = {self.steps_as_p} is for a setup that has neither cdp nor mlm, with budget = 'total'; set "
                "steps_as_p = 'none', or another setup"
            )
        if self.held_out and self.held_out_draw is not None:
            raise ValueError("held_out names the labels, held_out_draw draws them: give one of the two")
        if self.teacher_hashes and len(self.teacher_hashes) != len(self.teacher):
            raise ValueError("teacher_hashes has one for each teacher; leave it out, and it will be noted")
        if self.unlabelled is not None and (self.auxiliary or not self.teacher):
            raise ValueError(
                f"unlabelled = {self.unlabelled!r}: texts without labels need teachers (teacher), and a setup that has neither cdp nor "
                "mlm, which read gold labels"
            )
        return self

    @property
    def tasks(self) -> frozenset[str]:
        """The tasks beside emotion prediction."""
        return frozenset() if self.setup == "none" else frozenset(self.setup.split("+"))

    @property
    def auxiliary(self) -> bool:
        """Whether there is an auxiliary stream of (text, definition) pairs."""
        return bool(self.tasks & {"cdp", "mlm"})

    @property
    def scores(self) -> str:
        """Whose probabilities the model answers with: the matching head's where it was trained, else the emotion head's."""
        return "match" if "match" in self.tasks else "emotion"

    def clip(self, *, primary: bool) -> float:
        """The largest gradient norm of a step of the primary task, or of the auxiliary one."""
        return self.gradient_clip if primary or self.auxiliary_clip is None else self.auxiliary_clip

    def canonical(self) -> dict[str, Any]:
        """What a run's result depends on: what is not at its default, less what this setup makes no use of.

        Two runs on the same data with equal `canonical()` are the same run; settings that are added later do not change it.
        """
        unused = {"description", "save_every", *NOTED, *NOTED.values()} - {"backbone"}
        if not self.auxiliary:
            unused |= {"p", "budget", "auxiliary_clip", "max_pair_length"}
        if "mlm" not in self.tasks:
            unused |= {"mlm_rate"}
        if "match" not in self.tasks:
            unused |= {name for name in TrainSettings.model_fields if name.startswith("match_")}
        if not self.teacher:
            unused |= {"teacher_weight", "teacher_temperature"}
        if self.held_out_draw is None:
            unused |= {"held_out_count"}
        if self.corpus in CORPORA:  # it brings its own
            unused |= {"label_set"}
        chosen = self.model_dump(mode="json", exclude_defaults=True, exclude=unused)
        if self.start is not None:  # known by what it is, not by where
            chosen["start_hash"] = self.start_hash or known_start(self.start)
        elif encoder := self.backbone_hash or self.known_backbone():
            chosen.pop("backbone", None)
            chosen["backbone_hash"] = encoder
        if self.teacher:
            chosen["teacher_hashes"] = sorted(self.teacher_hashes or map(known_by, self.teacher))
        if self.unlabelled is not None:
            chosen["unlabelled_hash"] = self.unlabelled_hash or known_texts(self.unlabelled)
        if self.held_out:
            chosen["held_out"] = sorted(self.held_out)
        return chosen | ({"setup": "+".join(sorted(self.tasks))} if self.tasks else {})

    def known_backbone(self) -> str | None:
        """A hash of the folder that the backbone is; None for 'minilm' and other names, and where a run starts from a model instead
        (which may take a masked-word head from that folder: not covered). Raises DataError for one that cannot be read."""
        named = self.backbone == PACKAGED or named_folder(self.backbone) is not None
        return None if named or self.start is not None else known_checkpoint(self.backbone)

    def backbone_path(self) -> str:
        """The backbone as transformers takes it (`emodef.train.backbones`)."""
        return checkpoint_of(self.backbone)


@dataclass(frozen=True)
class Experiment:
    """What a recipe stands for: training runs, no two alike, in the order to make them; or, of kind "transfer", one study.

    transfer: the study's own settings (`TransferSettings`), None for training runs.
    """

    name: str
    description: str
    runs: tuple[TrainSettings, ...] = ()
    transfer: TransferSettings | None = None


def load_recipe(name: str, overrides: Mapping[str, Any] | None = None) -> TrainSettings:
    """Settings of a shipped recipe or of a TOML file, with `overrides` on top; it must stand for one run.

    Raises SettingsError for an unknown recipe, key or value, and for a recipe that stands for several runs.
    """
    experiment = load_experiment(name, overrides)
    if experiment.transfer is not None:
        raise SettingsError(
            f"{name} is a study of transfer, not a training run; run it with: emodef experiment run {name}"
        )
    if len(experiment.runs) > 1:
        varied = ", ".join(_varied(experiment.runs))
        raise SettingsError(
            f"{name} stands for {len(experiment.runs)} runs, which differ in {varied}; run them with 'emodef experiment run "
            f"{name}', or choose one by giving each of these a value"
        )
    return experiment.runs[0]


def load_experiment(name: str, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """All runs of a recipe; `overrides` replace its values and lists, in `[[runs]]` too, and may be lists themselves.

    The lists outside `[[runs]]` vary slowest, the first one written first. Raises SettingsError as `load_recipe` does.
    """
    values = read_values(name, ())
    kind = values.pop("kind", "training")
    if kind == TRANSFER:
        return _transfer(name, values | dict(overrides or {}))
    if kind != "training":
        raise SettingsError(f"{name}: kind = {kind!r}: use 'training' or '{TRANSFER}'")
    blocks = values.pop("runs", [{}])
    if not isinstance(blocks, list) or not blocks or not all(isinstance(block, dict) for block in blocks):
        raise SettingsError(f"{name}: runs: write each block of runs under a line [[runs]]")
    found: dict[str, tuple[tuple[int, ...], TrainSettings]] = {}
    outside = [key for key in values if is_list(key, values[key])]
    for block in blocks:
        merged = {**values, **block, **(overrides or {})}
        for place, choice in combinations(merged, name):
            several = "" if not place else f" ({', '.join(f'{key} = {choice[key]}' for key in place)})"
            settings = _validated(choice, name + several)
            rank = tuple(place.get(key, 0) if key not in block else 0 for key in outside)
            found.setdefault(json.dumps(settings.canonical(), sort_keys=True), (rank, settings))
    runs = tuple(settings for _, settings in sorted(found.values(), key=lambda each: each[0]))
    return Experiment(name, runs[0].description, runs)


def _varied(runs: tuple[TrainSettings, ...]) -> list[str]:
    dumps = [run.model_dump() for run in runs]
    return [key for key in dumps[0] if any(dump[key] != dumps[0][key] for dump in dumps)]


def _transfer(name: str, values: Mapping[str, Any]) -> Experiment:
    """A study of transfer: its values as the class for them takes them."""
    from emodef.train.transfer_settings import TransferSettings

    try:
        study = TransferSettings(**values)
    except ValidationError as error:
        raise _explained(error, name, TransferSettings) from None
    return Experiment(name, study.description, transfer=study)


def _validated(values: Mapping[str, Any], source: str) -> TrainSettings:
    try:
        return TrainSettings(**values)
    except ValidationError as error:
        raise _explained(error, source, TrainSettings) from None


def _explained(error: ValidationError, source: str, of: Any) -> SettingsError:
    lines = []
    for problem in error.errors():
        key = ".".join(map(str, problem["loc"])) or "recipe"
        known = ", ".join(of.model_fields) if problem["type"] == "extra_forbidden" else ""
        told = problem["msg"]
        if problem["type"] == "tuple_type":  # pydantic's name for what TOML writes as a list
            told = f"give a list, {key} = [{json.dumps(problem['input'], default=str)}]"
        lines.append(f"{key}: {told}" + (f"; known keys: {known}" if known else ""))
    return SettingsError(f"{source}: " + "; ".join(lines))

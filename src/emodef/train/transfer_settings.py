"""Settings of a transfer study (the paper's Figure 3): documented, strict, as recipes of kind "transfer" have them. Imports pydantic."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

UNTUNED = "untuned"
# what is run, as against how: a study's folder may come to hold more of these
PLAN = ("description", "corpora", "label_set", "starts", "sizes", "splits", "policies")
_NAME = re.compile(r"[\w+@.-]+")


class TransferSettings(BaseModel):
    """What a transfer study runs, and how.

    The paper (section IV) gives corpora, sizes, the number of splits and the starts, and no settings of the fine-tuning: epochs, batch
    size, learning rate and warm-up are those of its GoEmotions training, loss, policy and metric our assumption.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    kind: Literal["transfer"] = "transfer"
    description: str = Field("", description="what this recipe is for")
    corpora: tuple[str, ...] = Field(
        ("isear", "emoint", "emotion_stimulus"),
        strict=False,
        min_length=1,
        description="corpora with one label a text, known ones or files of your own; all splits of a corpus are put together",
    )
    label_set: str | None = Field(None, description="label set of corpora of your own")
    backbone: str = Field(
        "bert-base-cased", description="the untuned encoder; the tuned starts must come from it"
    )
    pooling: Literal["own", "mean"] = Field("own", description="of the untuned encoder, as in training")
    dropout: float | None = Field(
        None, ge=0, lt=1, description="replaces the untuned encoder's dropout rates, as in training"
    )
    starts: tuple[str, ...] = Field(
        (UNTUNED, "none", "cdp", "mlm", "cdp+mlm", "match"),
        strict=False,
        min_length=1,
        description="'untuned', setups whose best run (on dev) is looked for in the results, or names given with --start NAME=MODEL",
    )
    sizes: tuple[int | float, ...] = Field(
        (100, 200, 500, 1000, 0.8),
        strict=False,
        min_length=1,
        description="training texts: a number, or a share of the corpus",
    )
    splits: int = Field(10, ge=1, description="random splits of each corpus")
    policies: tuple[Literal["softmax", "sigmoid"], ...] = Field(
        ("softmax",),
        strict=False,
        min_length=1,
        description="softmax: cross-entropy, the likeliest label; sigmoid: binary cross-entropy, labels above threshold",
    )
    epochs: int = Field(10, ge=1)
    batch_size: int = Field(16, ge=1)
    learning_rate: float = Field(5e-5, gt=0)
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps with rising learning rate")
    weight_decay: float = Field(0.0, ge=0)
    gradient_clip: float = Field(1.0, gt=0)
    max_length: int = Field(50, ge=4, description="tokens of a training text, special tokens included")
    threshold: float = Field(0.3, gt=0, lt=1, description="of the policy sigmoid")
    max_eval: int | None = Field(2000, ge=1, description="test texts at most; 'none' for all the rest")
    smallest: int = Field(
        100,
        ge=1,
        description="the smallest size there may be; the first so many training texts hold every label",
    )
    seed: int = Field(42, ge=0, description="of the splits; split n is trained with seed + n - 1")
    precision: Literal["auto", "fp32", "tf32", "bf16"] = Field(
        "auto", description="auto: tf32 on a GPU and bf16 on a CPU that multiply it natively, else fp32"
    )

    @field_validator("label_set", "dropout", "max_eval", mode="before")
    @classmethod
    def _unset(cls, value: object) -> object:
        return None if value == "none" else value  # TOML has no null

    @field_validator("corpora", "starts", "policies")
    @classmethod
    def _once(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(values)) != len(values):
            raise ValueError(f"{', '.join(values)}: name each once")
        return values

    @field_validator("starts")
    @classmethod
    def _names(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            check_name(value)
        return values

    @model_validator(mode="after")
    def _check(self) -> TransferSettings:
        for size in self.sizes:
            if isinstance(size, int):
                if size < self.smallest:
                    raise ValueError(
                        f"sizes: {size} is below smallest = {self.smallest}; raise it, or lower smallest"
                    )
            elif not 0 < size < 1:
                raise ValueError(
                    f"sizes: {size} is no share of a corpus; give a whole number, or a share below 1"
                )
        if len(set(self.sizes)) != len(self.sizes):
            raise ValueError("sizes: name each once")
        return self

    def protocol(self, precision: str) -> dict[str, Any]:
        """What a single run's figures depend on beside its own start, corpus, size, split and policy; `precision`: the resolved one."""
        return self.model_dump(mode="json", exclude=set(PLAN)) | {"precision": precision}

    def digest(self, precision: str) -> str:
        """A hash of `protocol`: studies that differ only in what they run share a folder."""
        content = json.dumps(self.protocol(precision), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def check_name(name: str) -> None:
    """Raise ValueError for a start's name that no file could bear."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a start: use letters, digits, +, -, ., @ and _")

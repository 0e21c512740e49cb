"""What people use today: `transformers.pipeline`, with our own checkpoint or with models of known size and random weights.

How fast a model is does not depend on what its weights are. Imports torch and transformers only in the functions.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import light
from emodef.errors import SettingsError
from emodef.predictor.model_file import TOKENIZER, ModelInfo

MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
ROBERTA_WORDS = 50265


@dataclass(frozen=True)
class Pipeline:
    """A text classifier to time.

    family: "bert" or "roberta". tokenizer: a tokenizer.json; all models read its tokens, so that all have as many.
    checkpoint: a saved model instead of random weights. tiny: a model of next to no size, to try a measurement.
    """

    family: str
    tokenizer: Path
    labels: int
    checkpoint: Path | None = None
    tiny: bool = False

    def build(self) -> tuple[Any, Any]:
        """(model, tokenizer) as transformers has them."""
        from tokenizers import Tokenizer
        from transformers import (
            AutoModelForSequenceClassification,
            AutoTokenizer,
            BertConfig,
            BertForSequenceClassification,
            PreTrainedTokenizerFast,
            RobertaConfig,
            RobertaForSequenceClassification,
            logging,
        )

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        if (
            self.checkpoint is not None
        ):  # its network; the classifier on top is new, which costs as much as a trained one
            model = AutoModelForSequenceClassification.from_pretrained(
                self.checkpoint, num_labels=self.labels, dtype="float32"
            )
            return model.eval(), AutoTokenizer.from_pretrained(self.checkpoint)
        words = Tokenizer.from_file(str(self.tokenizer))
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=words,
            pad_token=next((t for t in ("[PAD]", "<pad>") if words.token_to_id(t) is not None), "[PAD]"),
            model_input_names=["input_ids", "attention_mask"],
            model_max_length=512,
        )
        shape = TINY if self.tiny else {}
        common = {"num_labels": self.labels, "pad_token_id": tokenizer.pad_token_id}
        if self.family == "roberta":
            config = RobertaConfig(
                vocab_size=max(ROBERTA_WORDS, len(tokenizer)),
                max_position_embeddings=514,
                type_vocab_size=1,
                **common,
                **shape,
            )
            return RobertaForSequenceClassification(config).eval(), tokenizer
        config = BertConfig(vocab_size=len(tokenizer), **common, **(shape or MINILM))
        return BertForSequenceClassification(config).eval(), tokenizer

    def save(self, folder: Path) -> None:
        """Write it as a folder that `transformers.pipeline` takes."""
        model, tokenizer = self.build()
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    @property
    def described(self) -> str:
        """For a table's caption."""
        if self.checkpoint is not None:
            return "the checkpoint"
        return (
            "roberta-base's size, random weights"
            if self.family == "roberta"
            else "MiniLM's size, random weights"
        )


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """The option of measurements that compare with the same model in a pipeline."""
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="the same model as transformers has it (default: the one in models/, else random weights)",
    )


def same_model(folder: Path, options: argparse.Namespace) -> Pipeline:
    """The light model in `folder` as a pipeline has it; a tiny one for a quick try. Raises SettingsError where its size is not known."""
    info, checkpoint = ModelInfo.read(folder), None if options.quick else light.checkpoint(options)
    labels = len(info.label_set)
    if (
        checkpoint is None
        and not options.quick
        and info.about.get("settings", {}).get("backbone") != "minilm"
    ):
        raise SettingsError(
            f"{folder} is no MiniLM, and the pipeline would be of that size; name the same model: --checkpoint DIR"
        )
    return Pipeline("bert", folder / TOKENIZER, labels, checkpoint, tiny=options.quick)


class Pipelined:
    """A pipeline in this process."""

    def __init__(self, made: Pipeline, threads: int) -> None:
        import torch
        from transformers import pipeline

        torch.set_num_threads(threads)
        model, tokenizer = made.build()
        self._classify = pipeline(
            "text-classification", model=model, tokenizer=tokenizer, top_k=None, device="cpu"
        )

    def answer(self, texts: list[str] | str, batch: int = 1) -> Any:
        """Every label's score for each text."""
        return self._classify(texts, batch_size=batch, function_to_apply="sigmoid")

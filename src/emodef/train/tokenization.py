"""A checkpoint's tokenizer as training uses it: placeholders as single tokens, its own pairs and padding. Imports transformers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken
from transformers import AutoConfig, AutoTokenizer

from emodef.encoding import Encoder
from emodef.errors import SettingsError

# of these, places up to the padding's are no text's
_COUNTED_FROM_PADDING = ("roberta", "xlm-roberta", "camembert", "longformer", "mpnet")


@dataclass
class TextTokenizer:
    """The transformers tokenizer, and what batches need to know of it."""

    tokenizer: Any
    encoder: Encoder
    segments: bool  # whether it gives lone texts segment ids; pairs get them wherever the encoder takes them
    new_tokens: dict[int, list[int]]  # id of an added placeholder -> ids of the word it stands for
    positions: int | None = None  # tokens that the encoder has places for; None where it counts none

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], placeholders: tuple[str, ...] = (), *, emoji: str = "keep"
    ) -> TextTokenizer:
        """Load the tokenizer of a checkpoint; `placeholders` not in its vocabulary are added to it as single tokens.

        emoji: "words" reads them as words, "keep" leaves them to the vocabulary. Raises SettingsError for a tokenizer that texts cannot be
        batched with, and for a placeholder of brackets alone, which stands for no word.
        """
        tokenizer = AutoTokenizer.from_pretrained(os.fspath(path))
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise SettingsError(
                f"{path}: the tokenizer has no fast version (tokenizer.json); convert it with transformers first"
            )
        if tokenizer.pad_token_id is None:
            raise SettingsError(
                f"{path}: the tokenizer has no padding token; texts cannot be batched with it"
            )
        added = [token for token in placeholders if token not in tokenizer.get_vocab()]
        words = {
            token: tokenizer.encode(token.strip("[]<>").lower(), add_special_tokens=False) for token in added
        }
        if wordless := [token for token in added if not words[token]]:
            raise SettingsError(
                f"placeholders: {wordless[0]!r} has no word whose vector it would begin with; write one in its brackets, as in [NAME], "
                "or leave it out"
            )
        # lstrip: the space before it is its own, or byte-level vocabularies would give that space a token
        tokenizer.add_tokens([AddedToken(token, normalized=False, lstrip=True) for token in added])
        vocabulary = tokenizer.get_vocab()
        encoder = Encoder(
            tokenizer.backend_tokenizer,
            pad_id=tokenizer.pad_token_id,
            left=tokenizer.padding_side == "left",
            pad_segment=tokenizer.pad_token_type_id,
            emoji=emoji == "words",
        )
        segments = "token_type_ids" in tokenizer.model_input_names
        new = {vocabulary[token]: words[token] for token in added}
        return cls(tokenizer, encoder, segments, new, _positions(path))

    @property
    def size(self) -> int:
        """Entries of the vocabulary, added ones included."""
        return len(self.tokenizer)

    @property
    def mask_id(self) -> int:
        """Id of the mask token; SettingsError where the tokenizer has none (MLM needs one)."""
        if self.tokenizer.mask_token_id is None:
            raise SettingsError("setup 'mlm' needs a tokenizer with a mask token; this checkpoint's has none")
        return int(self.tokenizer.mask_token_id)

    @property
    def longest(self) -> int:
        """Most tokens the checkpoint takes; at most 512 where its tokenizer does not say."""
        longest = int(self.tokenizer.model_max_length)
        longest = longest if longest < 100_000 else 512
        return longest if self.positions is None else min(longest, self.positions)


def _positions(path: str | os.PathLike[str]) -> int | None:
    """How many tokens an encoder has places for; None where its configuration is not there, or it counts relative places."""
    try:
        config = AutoConfig.from_pretrained(os.fspath(path))
    except (OSError, ValueError):
        return None
    if getattr(config, "relative_attention", False) and not getattr(config, "position_biased_input", True):
        return None
    places = getattr(config, "max_position_embeddings", None) or 0
    if config.model_type in _COUNTED_FROM_PADDING:
        places -= (config.pad_token_id or 0) + 1
    return places if places > 0 else None

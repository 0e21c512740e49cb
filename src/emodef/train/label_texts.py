"""What the matching head reads for each label in a step: all labels or some, in the words of `match_text` or in others. Imports torch.

Which labels and which words are functions of the seed and the step, so a resumed run reads what an uninterrupted one does.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np
import torch
from numpy.typing import NDArray

from emodef.encoding import Indices
from emodef.labels import LabelSet, shipped
from emodef.runs import digest_of
from emodef.train.model import Definitions, Inputs
from emodef.train.settings import TrainSettings
from emodef.train.tokenization import TextTokenizer

GROUPS = 3  # on a CPU definitions are encoded in so many groups of similar length: little padding, few passes
LEAST = 2  # labels of a step: with one there is nothing to tell apart
STREAM = 5  # of the random numbers drawn here


@dataclass(frozen=True)
class Encoded:
    """Some labels' texts ready for the encoder, and what encoding them costs in tokens."""

    definitions: Definitions
    real: int
    computed: int


class LabelTexts:
    """The texts of a label set's labels, tokenised once; the first of each label is the one that predicting reads."""

    def __init__(
        self,
        label_set: LabelSet,
        tokenizer: TextTokenizer,
        settings: TrainSettings,
        device: torch.device,
        multiple: int = 1,
    ) -> None:
        self.multiple = multiple  # of tokens that texts are padded to
        self.tokenizer, self.settings, self.device = tokenizer, settings, device
        self.groups = GROUPS if device.type == "cpu" else 1  # padding costs a GPU less than a second pass
        self.variants = label_variants(label_set, settings.match_text, others=settings.match_vary > 0)
        self.first = np.cumsum([0, *map(len, self.variants)])
        self.tokens = tokenizer.encoder.tokenize([text for texts in self.variants for text in texts])
        self.anchors: torch.Tensor | None = None  # (texts, hidden): unit vectors, where there are any
        self._whole: Encoded | None = None

    def __len__(self) -> int:
        return len(self.variants)

    def known_by(self) -> str | None:
        """A digest of all texts where steps read more than the first of each label, which the corpus's fingerprint does not cover."""
        texts = [text for texts in self.variants for text in texts]
        return digest_of(texts) if self.settings.match_vary > 0 else None

    def whole(self) -> Encoded:
        """Every label, in the words that predicting reads."""
        if self._whole is None:
            self._whole = self._encode(np.arange(len(self)), self.first[:-1])
        return self._whole

    def of_step(self, step: int) -> Encoded:
        """The labels that a step matches its texts with, in the words that it reads."""
        settings = self.settings
        if settings.match_labels == 1 and settings.match_vary == 0:
            return self.whole()
        rng = np.random.default_rng([settings.seed, step, STREAM])
        size = max(min(LEAST, len(self)), round(settings.match_labels * len(self)))
        labels = np.sort(rng.permutation(len(self))[:size])
        others = np.diff(self.first)[labels] - 1
        vary = (rng.random(size) < settings.match_vary) & (others > 0)
        drawn = 1 + (rng.random(size) * others).astype(np.int64)
        return self._encode(labels, self.first[labels] + np.where(vary, drawn, 0))

    @torch.no_grad()
    def keep_anchors(self, model: torch.nn.Module) -> None:
        """Note where `model`, not trained yet, puts every text: what the anchor loss holds them to."""
        training = model.training
        model.eval()
        try:
            everything = np.arange(len(self.tokens))
            parts = [
                model.label_embeddings(self._encode(None, rows).definitions)  # type: ignore[operator]
                for rows in np.array_split(everything, -(-len(everything) // 64))
            ]
        finally:
            model.train(training)
        self.anchors = torch.nn.functional.normalize(torch.cat(parts).float(), dim=-1)
        self._whole = None  # which had none

    def _encode(self, labels: NDArray[np.int64] | None, texts: Indices) -> Encoded:
        encoder, longest = self.tokenizer.encoder, self.tokenizer.longest
        lengths = self.tokens.lengths[texts]
        groups = length_groups(lengths, self.groups)
        padded = [
            encoder.texts(self.tokens, texts[group], longest, multiple=self.multiple) for group in groups
        ]
        order = np.argsort(np.concatenate(groups))
        columns = None if labels is None or len(labels) == len(self) else self._move(labels)
        anchors = None if self.anchors is None else self.anchors[self._move(texts)]
        inputs = [Inputs.of(each, segments=self.tokenizer.segments, device=self.device) for each in padded]
        return Encoded(
            Definitions(inputs, self._move(order), columns, anchors),
            sum(int(each.attention_mask.sum()) for each in padded),
            sum(each.attention_mask.size for each in padded),
        )

    def _move(self, indices: Indices) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(indices)).to(self.device)


def label_variants(label_set: LabelSet, template: str, *, others: bool) -> list[list[str]]:
    """The texts each label can be read as: `template` filled in, and, with `others`, its definition, its name, and paraphrases."""
    known = paraphrases(label_set) if others else {}
    found = []
    for name, definition in zip(label_set.names, label_set.definitions, strict=True):
        texts = [template.format(name=name, definition=definition)]
        if others:
            written = known.get(name, ())
            texts += [
                definition,
                name,
                *(template.format(name=name, definition=p) for p in written),
                *written,
            ]
        found.append(list(dict.fromkeys(texts)))
    return found


def paraphrases(label_set: LabelSet) -> dict[str, tuple[str, ...]]:
    """Other wordings of the definitions of a shipped label set: label -> texts.

    None for labels that are defined in other words there than here: a set of one's own may go by a shipped one's name.
    """
    import tomllib

    path = resources.files("emodef") / "paraphrases" / f"{label_set.name}.toml"
    if label_set.name not in shipped() or not path.is_file():
        return {}
    theirs = LabelSet.load(label_set.name)
    known = set(zip(theirs.names, theirs.definitions, strict=True))
    written = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        name: tuple(written[name])
        for name, definition in zip(label_set.names, label_set.definitions, strict=True)
        if (name, definition) in known and name in written
    }


def length_groups(lengths: Indices, most: int) -> list[Indices]:
    """Positions in at most so many groups, which padded to their longest have the fewest tokens; longer ones later."""
    order = np.argsort(lengths, kind="stable")
    ascending = lengths[order]
    n = len(order)
    # cost[g][i]: tokens of the first i texts in g groups; a group's tokens are its size times its last text's length
    cost = np.full((most + 1, n + 1), np.inf)
    cost[:, 0] = 0
    begin = np.zeros((most + 1, n + 1), dtype=np.int64)
    for g in range(1, most + 1):
        for i in range(1, n + 1):
            sums = cost[g - 1, :i] + (i - np.arange(i)) * ascending[i - 1]
            begin[g, i] = int(sums.argmin())
            cost[g, i] = sums[begin[g, i]]
    groups, end = [], n
    for g in range(most, 0, -1):
        start = int(begin[g, end])
        if end > start:
            groups.append(order[start:end])
        end = start
    return groups[::-1]


def definition_inputs(
    label_set: LabelSet, tokenizer: TextTokenizer, settings: TrainSettings, device: torch.device
) -> Definitions:
    """Every label of a set, as predicting reads it."""
    plain = settings.model_copy(update={"match_vary": 0.0})
    return LabelTexts(label_set, tokenizer, plain, device).whole().definitions

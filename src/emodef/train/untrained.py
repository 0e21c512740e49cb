"""Models and inputs as training starts with them, for `emodef paper figure2` to draw. Imports torch through emodef.train."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emodef.corpora import Corpus
from emodef.paper.figures.architecture import Architecture, Input, architecture_of
from emodef.paper.known import KNOWN
from emodef.train.checkpoint import TrainedModel
from emodef.train.sampling import mask_words
from emodef.train.settings import TrainSettings, load_recipe
from emodef.train.tokenization import TextTokenizer


def untrained(
    recipe: str, setups: Sequence[str], example: Corpus, backbone: str | None = None
) -> list[Architecture]:
    """A model of each setup, as a run with this recipe starts with it; example: one text, for the inputs.

    Raises SettingsError for a setup that does not exist and a backbone that cannot be loaded.
    """
    found = []
    for setup in setups:
        chosen = {"setup": setup, **({} if backbone is None else {"backbone": backbone})}
        settings = load_recipe(recipe, chosen)
        made = TrainedModel.untrained(settings, example.label_set)
        found.append(
            architecture_of(
                made.model,
                backbone=KNOWN.backbone(settings.backbone).title,
                setup=setup,
                p=settings.p,
                inputs=_inputs(settings, made.tokenizer, example),
            )
        )
    return found


def _inputs(settings: TrainSettings, tokenizer: TextTokenizer, example: Corpus) -> list[Input]:
    """What goes in: the text alone, and beside it the pair with its first label's definition, or each definition."""
    text, labels = example.texts[0], example.label_set
    label = int(np.flatnonzero(example.labels[0])[0])
    definition = labels.definitions[label]
    told = "primary step: a text alone" if settings.auxiliary else "every step: a text alone"
    found = [_input(tokenizer, told, text)]
    if settings.auxiliary:
        masked = "mlm" in settings.tasks
        told = f"auxiliary step: a text and a definition{', words masked' if masked else ''}"
        found.append(_input(tokenizer, told, text, definition, settings=settings if masked else None))
    if "match" in settings.tasks:
        told = f"and each of the {len(labels)} labels: its name and definition"
        given = settings.match_text.format(name=labels.names[label], definition=definition)
        found.append(_input(tokenizer, told, given, definition_alone=True))
    return found


def _input(
    tokenizer: TextTokenizer,
    title: str,
    *texts: str,
    settings: TrainSettings | None = None,
    definition_alone: bool = False,
) -> Input:
    given: Any = tokenizer.tokenizer(*texts)
    ids, sources = np.array([given["input_ids"]]), given.sequence_ids()
    if settings is not None:  # as a step masks them
        special = np.array([[source is None for source in sources]])
        ids, _ = mask_words(
            ids,
            special,
            tokenizer.mask_id,
            tokenizer.size,
            np.random.default_rng(settings.seed),
            settings.mlm_rate,
        )
    if definition_alone:
        sources = [None if source is None else 1 for source in sources]
    tokens = tokenizer.tokenizer.convert_ids_to_tokens(ids[0].tolist())
    return Input(title, tuple(tokens), tuple(sources), auxiliary=len(texts) > 1)

"""`fit`: a head for labels of one's own, from a light model and labelled texts; and its folder. Imports definitions, predictor."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import emodef
from emodef.atomic import open_atomic, write_text
from emodef.definitions import Definitions, read_labels
from emodef.errors import DataError, SettingsError
from emodef.fitting.card import fitted_card
from emodef.fitting.folds import text_groups
from emodef.fitting.given import Labels, checked
from emodef.fitting.regression import Linear
from emodef.fitting.selection import (
    BIAS_STRENGTH,
    LOOSE_BIAS,
    STRENGTHS,
    Chosen,
    Dev,
    macro_f1,
    select,
    with_own,
)
from emodef.labels import LabelSet
from emodef.metrics import coarsen_probabilities, decide
from emodef.predictor.core import SHIPPED, Predictor
from emodef.predictor.head import SHIPPED_BASE, WEIGHTS, HeadInfo, LabelHead, hash_of, unit
from emodef.predictor.merging import merged_set
from emodef.predictor.model_file import CARD, HEAD, INFO, MODEL, TOKENIZER
from emodef.predictor.own import OWN
from emodef.predictor.session import EMBEDDING


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A head fitted to labelled texts, on the predictor whose embeddings it reads.

    base: that predictor. head, info: what `save` writes. start: the head it began with, made of the definitions alone. chosen: how
    strongly it was held to that, and its probabilities on texts that were held out.
    """

    base: Predictor
    head: LabelHead
    info: HeadInfo
    start: LabelHead
    chosen: Chosen

    @property
    def label_set(self) -> LabelSet:
        """The labels it predicts."""
        return self.info.label_set

    @property
    def about(self) -> Mapping[str, Any]:
        """What it was fitted on and what was measured, as head.json has it."""
        return self.info.about

    @property
    def notes(self) -> list[str]:
        """What its user should know: labels without a text, too few texts to choose by, long texts."""
        return list(self.about["notes"])

    def predictor(self) -> Predictor:
        """A Predictor that answers with this head."""
        return self.base.with_head(self.head, self.info)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write head.npz, head.json and a card; and the light model it stands on, where that is not the one emodef brings.

        Each file is written atomically, and the graph, whose hash head.json names, is the last of the model's: a folder that was not
        written to its end is no model to load, rather than another one. Raises SettingsError for a folder that holds something else.
        """
        out = Path(folder)
        check_free(out)
        out.mkdir(parents=True, exist_ok=True)
        self.head.write(out, self.info)
        if self.info.base != SHIPPED_BASE:
            source = self.base.graph.path.parent
            for name in (TOKENIZER, INFO, MODEL):
                if (source / name).resolve() != (out / name).resolve():
                    if (out / name).is_symlink():  # to a model that others share
                        (out / name).unlink()
                    with (source / name).open("rb") as file, open_atomic(out / name, "wb") as copy:
                        shutil.copyfileobj(file, copy)
        write_text(out / CARD, fitted_card(self.info))
        return out


def fit(
    predictor: Predictor,
    texts: Iterable[str],
    labels: Labels,
    definitions: Definitions | LabelSet | Mapping[str, Any] | str | os.PathLike[str],
    *,
    dev: tuple[Iterable[str], Labels] | None = None,
    known: Sequence[str] = (),
    strength: float | None = None,
    seed: int = 0,
    source: str = "",
    progress: Callable[[str, int, int], None] | None = None,
) -> FittedHead:
    """A head on `predictor`'s text embeddings that begins with the labels' definitions and learns from labelled texts. Without torch.

    labels: 0/1 (n, K), an array or lists, or for each text its label or a list of its labels. definitions: as
    `emodef.definitions.read_labels` takes them. dev: further texts and labels to choose by; else cross-validation. known: those among
    the labels that begin as the model learned them. strength: of the pull back to the definitions, `inf` to keep their weights and
    fit biases alone; by default chosen. source: the data's name, for the card. progress: told what is done, how many, of how many.

    Raises DataError for texts and labels that do not fit, an empty text, fewer texts than labels, and a label without a text where the
    model was not trained to match; LabelSetError for a label that has no definition; SettingsError for a strength that is not above 0,
    and for known labels that are none of these or that the model cannot know.
    """
    meant = read_labels(definitions)
    label_set = merged_set(meant, predictor.root.info.label_set, (OWN,) * len(meant))  # with all its levels
    given, truth = checked(texts, labels, label_set, "text")
    if len(given) < len(label_set):
        raise DataError(
            f"{len(given)} labelled texts are fewer than the {len(label_set)} labels; give at least one a label, take labels out, or "
            "score these labels by their definitions alone, which needs no texts: emodef predict --labels FILE"
        )
    if strength is not None and not strength > 0:
        raise SettingsError(f"strength = {strength:g}: give a number above 0, or inf")
    tell = progress or (lambda what, done, total: None)
    base = predictor.root
    start, unlabelled = starting_head(base, meant, known=known)
    without = [name for name, there in zip(label_set.names, truth.sum(axis=0), strict=True) if not there]
    if base.info.match is None and without:
        raise DataError(
            f"no text has {', '.join(without)}, and this model cannot score a label by its definition, not having been trained to match; "
            "label texts that have it, or take it out"
        )
    (vectors, long), groups = _embed(base, given, tell, "texts"), text_groups(given)
    held = None
    if dev is not None:
        dev_texts, dev_truth = checked(dev[0], dev[1], label_set, "dev text")
        dev_vectors, more = _embed(base, dev_texts, tell, "dev texts")
        held, long = Dev(dev_vectors, dev_truth), long + more
    chosen = select(
        vectors,
        truth,
        groups,
        Linear(start.weight.astype(np.float64), start.bias.astype(np.float64)),
        exclusive=label_set.exclusive,
        dev=held,
        strengths=STRENGTHS if strength is None else (strength,),
        keep_unseen=base.info.match is not None,
        seed=seed,
        progress=lambda done, total: tell("fits", done, total),
    )
    head = LabelHead(
        chosen.head.weight.astype(np.float32), chosen.head.bias.astype(np.float32), label_set.exclusive
    )
    x, y = (vectors, truth) if held is None else (held.vectors, held.truth)
    if chosen.judged:
        x, y = x[chosen.rows], y[chosen.rows]  # those that the fitted head is judged on
    without_texts = _own(unlabelled, label_set)
    alone = decide(
        start.probabilities(x), with_own(without_texts, meant.thresholds), exclusive=label_set.exclusive
    )
    decided = "given" if strength is not None else chosen.judged or "default"
    told = {
        "name": f"{label_set.name}, fitted on {base.info.about.get('name', 'a light model')}",
        "corpus": source or "labelled texts",
        "fitted_on": {"source": source, "texts": len(given), "distinct": int(groups.max()) + 1},
        "support": {name: int(n) for name, n in zip(label_set.names, truth.sum(axis=0), strict=True)},
        "strength": None if np.isinf(chosen.strength) else chosen.strength,
        "strength_by": decided,
        "bias_strength": LOOSE_BIAS if base.info.match is None else BIAS_STRENGTH,
        "judged": chosen.judged,
        "judged_texts": len(chosen.rows),
        "macro_f1": {
            "definitions": None if base.info.match is None else macro_f1(y.astype(bool), alone),
            "fitted": chosen.macro_f1(without_texts, meant.thresholds),
        },
        "base": base.info.about.get("name"),
        "emodef": emodef.__version__,
        "notes": [*_notes(label_set, truth.sum(axis=0), chosen, decided), *_note_on_long(long)],
    }
    path, shipped = base.graph.path, SHIPPED / MODEL
    same = shipped.exists() and (path.resolve() == shipped.resolve() or hash_of(path) == hash_of(shipped))
    thresholds = _thresholds(chosen, unlabelled, label_set, meant.thresholds)
    info = HeadInfo(label_set, hash_of(path), SHIPPED_BASE if same else MODEL, thresholds, told)
    return FittedHead(base, head, info, start, chosen)


def starting_head(
    base: Predictor, meant: Definitions, *, known: Sequence[str] = ()
) -> tuple[LabelHead, Mapping[str, Any]]:
    """What a fit begins with: the definitions' embeddings times the trained scale, biases and thresholds as without labelled texts.

    known: labels that begin as the model learned them. A model that was not trained to match begins with nothing. Raises SettingsError.
    """
    label_set = meant.label_set
    if strange := [name for name in known if name not in label_set.names]:
        raise SettingsError(
            f"known: {strange[0]!r} is none of the labels to fit; add it to them, or leave it out of known"
        )
    if base.info.match is None:
        if known:
            raise SettingsError("known: this model was not trained to match; leave known out")
        width = base.graph.outputs[EMBEDDING]
        nothing = np.zeros((len(label_set), width), dtype=np.float32)
        head = LabelHead(nothing, np.zeros(len(label_set), dtype=np.float32), label_set.exclusive)
        return head, {"fixed": base.info.thresholds["fixed"]}
    begun = base.with_labels(
        meant.not_exclusive(), known=list(known)
    )  # of it only weights and thresholds are taken
    whole = begun.head
    assert whole is not None  # the model matches
    order = [begun.label_set.index(name) for name in label_set.names]
    head = LabelHead(whole.weight[order], whole.bias[order], label_set.exclusive)
    tuned = begun.info.thresholds.get("tuned", {}).get(begun.label_set.name)
    thresholds: dict[str, Any] = {"fixed": begun.info.thresholds["fixed"]}
    if tuned is not None:
        thresholds["tuned"] = {label_set.name: [tuned[k] for k in order]}
    return head, thresholds


def check_free(out: Path) -> None:
    """Raise SettingsError where `out` holds anything but a fitted head, which may be replaced."""
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is a file; give a folder (--out)")
    if out.is_dir() and not (out / HEAD).exists() and not all(map(_begun, out.iterdir())):
        raise SettingsError(f"{out} holds something else than a fitted head; give another folder (--out)")


def _begun(path: Path) -> bool:
    """What a first save leaves that was killed before head.json was there."""
    temporary = path.name.startswith((f".{WEIGHTS}.", f".{HEAD}.")) and path.suffix == ".part"
    return path.name == WEIGHTS or temporary


def _embed(
    predictor: Predictor, texts: Sequence[str], tell: Callable[[str, int, int], None], what: str
) -> tuple[NDArray[np.float32], int]:
    """Unit vectors of checked texts, (n, H), and how many of these are read in several windows."""
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        tell(what, done, len(texts))

    read = predictor.raw(texts, output=EMBEDDING, progress=advance)
    return unit(read.values), int((read.windows > 1).sum())


def _own(thresholds: Mapping[str, Any], label_set: LabelSet) -> NDArray[np.float64]:
    """One a label, (K,)."""
    given = thresholds.get("tuned", {}).get(label_set.name, thresholds["fixed"])
    return np.broadcast_to(np.asarray(given, dtype=np.float64), (len(label_set),))


def _thresholds(
    chosen: Chosen, unlabelled: Mapping[str, Any], label_set: LabelSet, own: Sequence[float | None]
) -> dict[str, Any]:
    """As head.json has them: of the labels, a user's own kept as given, and of every coarser level."""
    found: dict[str, Any] = {"fixed": unlabelled["fixed"]}
    if label_set.exclusive:
        return found
    tuned = with_own(chosen.thresholds(_own(unlabelled, label_set)), own)
    found["tuned"] = {label_set.name: tuned.tolist()}
    for level in label_set.mappings:
        coarse, groups = label_set.groups(level)

        def coarsen(values: NDArray, groups: NDArray = groups, width: int = len(coarse)) -> NDArray:
            return np.asarray(coarsen_probabilities(values, groups, width), dtype=np.float64)

        found["tuned"][level] = chosen.thresholds(np.full(len(coarse), unlabelled["fixed"]), coarsen).tolist()
    return found


def _notes(label_set: LabelSet, support: NDArray, chosen: Chosen, strength_by: str) -> list[str]:
    notes = []
    without = [name for name, n in zip(label_set.names, support, strict=True) if not n]
    if without:
        notes.append(
            f"no text has {', '.join(without)}: scored by {'its definition' if len(without) == 1 else 'their definitions'} alone; label "
            "texts that have it to fit it too"
        )
    if not chosen.judged:
        notes.append(
            "all texts are the same but for case and punctuation, so nothing could be held out: the strength is "
            f"{'the one given' if strength_by == 'given' else 'the default'}"
            f"{'' if label_set.exclusive else ', thresholds are those used without labelled texts'}; add other texts"
        )
    few = [name for name, n in zip(label_set.names, support, strict=True) if 0 < n < 5]
    if few:
        notes.append(
            f"fewer than 5 texts: {', '.join(few)}; what is measured there is mostly chance"
            f"{'' if label_set.exclusive else ', and their thresholds are mostly the common one'}"
        )
    return notes


def _note_on_long(texts: int) -> list[str]:
    if not texts:
        return []
    return [
        f"{texts:,} {'texts are' if texts > 1 else 'text is'} longer than the model's window: fitted and judged by the mean of the "
        "windows' embeddings, while such a text is answered with the mean of the windows' probabilities, which may differ a little"
    ]

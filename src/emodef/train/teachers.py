"""Teachers: finished models whose probabilities of the training texts a run learns beside the gold labels. Imports runs, corpora.

Knowledge distillation (Hinton et al., 2015), for independent labels. Several teachers are averaged. A teacher's probabilities are computed
once and kept, RUN/train_probabilities.npz: float16 (n, K) a head, with the hash of its weights and of the texts, so that they serve
without the weights too. Texts without labels may be learnt from as well: of those the teachers alone say what they express, and what
they say stands in RUN/unlabelled_probabilities.npz. Torch is imported only where probabilities are computed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from emodef import locks
from emodef.atomic import write_bytes
from emodef.corpora import Corpus
from emodef.corpora.describe import normalise
from emodef.corpora.files import read_texts
from emodef.errors import DataError, EmodefError, SettingsError
from emodef.labels import LabelSet
from emodef.runs import digest_of, load_label_set, model_folder, read_json
from emodef.train.identities import known_texts, weights_hash

if TYPE_CHECKING:
    from emodef.train.settings import TrainSettings

STORED = "train_probabilities.npz"
STORED_UNLABELLED = "unlabelled_probabilities.npz"
HEADS = ("emotion", "match", "mean")
_FAR = 1e-4  # probabilities nearer to 0 or 1 are taken for this: float16 has no finer ones near 1

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Teacher:
    """A teacher as a setting names it: a run's folder or a model's, and which head is meant (None: the one it answers with)."""

    given: str

    @property
    def path(self) -> Path:
        """The folder."""
        folder, sign, head = self.given.rpartition(":")
        return Path(folder if sign and head in HEADS else self.given)

    @property
    def scores(self) -> str:
        """The head whose probabilities are learnt."""
        head = self.given.rpartition(":")[2]
        if head in HEADS:
            return head
        settings = read_json(model_folder(self.path) / "emodef.json")["settings"]
        return "match" if "match" in settings["setup"].split("+") else "emotion"

    @property
    def store(self) -> Path:
        """Where its probabilities are kept."""
        return self.path / STORED

    def weights(self) -> str:
        """A hash of its weights, read from what is stored where they are not there any more. Raises DataError."""
        try:
            if digest := weights_hash(self.path):
                return digest
        except DataError:
            if not self.store.is_file():
                raise
        if not self.store.is_file():
            raise DataError(
                f"has neither weights nor {STORED}; give another teacher, or train it again", self.path
            )
        return str(_read(self.store)["weights"])

    def names(self) -> tuple[str, ...]:
        """The labels that it knows. Raises DataError."""
        if self.store.is_file():
            return tuple(_read(self.store)["names"].tolist())
        return load_label_set(model_folder(self.path)).names

    def known_by(self) -> str:
        """What a student's identity says of it: its weights and the head."""
        return f"{self.weights()}:{self.scores}"


def known_by(given: str) -> str:
    """What a teacher is known by; the setting itself where it cannot be found (a recipe that names what is trained later)."""
    try:
        return Teacher(given).known_by()
    except (EmodefError, KeyError):
        return given


def with_hashes(settings: TrainSettings) -> TrainSettings:
    """The same settings with what a backbone's folder, teachers, unlabelled texts, and the model to start from are known by.

    Raises DataError where one is missing, SettingsError where it is another than noted.
    """
    encoder = settings.known_backbone()
    if settings.start is None and settings.backbone_hash not in (None, encoder):
        now = "is no folder from here" if encoder is None else f"is another now ({encoder})"
        raise SettingsError(
            f"the backbone {settings.backbone} {now}, and this run was planned with {settings.backbone_hash}; say where that lies "
            "(--set backbone=FOLDER), or start a new run"
        )
    settings = settings.model_copy(update={"backbone_hash": encoder})
    if settings.start is not None:
        begins = weights_hash(settings.start)
        if settings.start_hash not in (None, begins):
            raise SettingsError(
                f"the model to start from, {settings.start}, is another now ({begins or 'without weights'}) than this run was planned "
                f"with ({settings.start_hash}); put that one back, or start a new run"
            )
        settings = settings.model_copy(update={"start_hash": begins or None})
    if not settings.teacher:
        return settings
    found = tuple(Teacher(given).known_by() for given in settings.teacher)
    for given, noted, now in zip(settings.teacher, settings.teacher_hashes or found, found, strict=True):
        if noted != now:
            raise SettingsError(
                f"teacher {given} is another model now ({now}) than this run was planned with ({noted}); put that one back, or "
                "start a new run"
            )
    noting: dict[str, object] = {"teacher_hashes": found, "unlabelled_hash": None}
    if settings.unlabelled is not None:
        if not Path(settings.unlabelled).is_file():
            raise DataError(
                "not found; it is the file of unlabelled texts (unlabelled)", Path(settings.unlabelled)
            )
        now = known_texts(settings.unlabelled)
        if settings.unlabelled_hash not in (None, now):
            raise SettingsError(
                f"unlabelled texts {settings.unlabelled} are others now than this run was planned with; put those back, or start a new run"
            )
        noting["unlabelled_hash"] = now
    return settings.model_copy(update=noting)


@dataclass(frozen=True)
class Lessons:
    """What a run learns beside its texts' labels. texts: m without labels. targets: of its n texts and these, float32 (n + m, K)."""

    texts: list[str]
    targets: NDArray[np.float32] | None

    def without(self, rows: NDArray[np.bool_], others: Sequence[str]) -> Lessons:
        """The same for those of the n texts that are marked in `rows`, less all texts that are among `others`."""
        if self.targets is None:
            return self
        kept = _others_than(self.texts, others)
        return Lessons(
            [text for text, stays in zip(self.texts, kept, strict=True) if stays],
            self.targets[np.concatenate([rows, kept])],
        )


def lessons(
    settings: TrainSettings,
    splits: Mapping[str, Corpus],
    *,
    cpu: bool = False,
    tell: Tell = lambda message: None,
) -> Lessons:
    """What teachers say of the training texts, and of those without labels; nothing without teachers.

    Teachers whose probabilities are not stored compute them first, which `tell` is told. Raises DataError, and SettingsError for a
    teacher that lacks a label.
    """
    train = splits["train"]
    asked = asked_texts(settings, train)
    found = Lessons(asked, targets(settings, train, asked, cpu=cpu, tell=tell))
    return found.without(np.ones(len(train), dtype=bool), _texts_elsewhere(splits))


def unlabelled_texts(settings: TrainSettings, splits: Mapping[str, Corpus]) -> list[str]:
    """The texts of the file that the setting `unlabelled` names, less those of the corpus and repeated ones; none by default.

    A text of dev or test is left out whatever its case, blanks and punctuation. Raises DataError for a file that cannot be read, or has no
    text that the training texts lack.
    """
    asked = asked_texts(settings, splits["train"])
    kept = _others_than(asked, _texts_elsewhere(splits))
    return [text for text, stays in zip(asked, kept, strict=True) if stays]


def _texts_elsewhere(splits: Mapping[str, Corpus]) -> list[str]:
    return [text for split, part in splits.items() if split != "train" for text in part.texts]


def asked_texts(settings: TrainSettings, train: Corpus) -> list[str]:
    """The texts of that file that the training texts lack: what teachers are asked about, whatever the other splits."""
    if settings.unlabelled is None:
        return []
    texts = read_texts(settings.unlabelled)
    known = set(train.texts)
    new = list(dict.fromkeys(text for text in texts if text not in known))
    if not new:
        raise DataError("has no text that the training texts lack; give others", Path(settings.unlabelled))
    return new


def _others_than(texts: Sequence[str], others: Sequence[str]) -> NDArray[np.bool_]:
    """Which texts are none of the others, case and the like aside."""
    known = {normalise(text) for text in others}
    return np.array([normalise(text) not in known for text in texts], dtype=bool)


def with_texts(corpus: Corpus, texts: Sequence[str]) -> Corpus:
    """The corpus with further texts after its own, without labels."""
    if not texts:
        return corpus
    return Corpus(
        name=corpus.name,
        split=corpus.split,
        texts=[*corpus.texts, *texts],
        labels=np.concatenate([corpus.labels, np.zeros((len(texts), len(corpus.label_set)), dtype=np.uint8)]),
        label_set=corpus.label_set,
        ids=[*corpus.ids, *(f"unlabelled:{number}" for number in range(1, len(texts) + 1))],
    )


def targets(
    settings: TrainSettings,
    corpus: Corpus,
    unlabelled: Sequence[str] = (),
    *,
    cpu: bool = False,
    tell: Tell = lambda message: None,
) -> NDArray[np.float32] | None:
    """What the run learns of each training text, float32 (n + m, K): gold labels and teachers mixed; None without teachers.

    Of the m `unlabelled` texts, which come after the corpus's n, it is what the teachers say. Teachers whose probabilities are not
    stored compute them first, which `tell` is told. Raises DataError, and SettingsError for a teacher that lacks a label.
    """
    if not settings.teacher:
        return None
    for given in settings.teacher:  # before any is asked for its probabilities, which may take an hour
        names = Teacher(given).names()
        if missing := [name for name in corpus.label_set.names if name not in names]:
            raise SettingsError(
                f"teacher {given} does not know the label {missing[0]!r}; leave that teacher out"
            )
    weight = settings.teacher_weight
    soft = _mean(settings, corpus.label_set, corpus.texts, STORED, cpu=cpu, tell=tell)
    parts = [(1 - weight) * corpus.labels + weight * soft]
    if unlabelled:
        parts.append(_mean(settings, corpus.label_set, unlabelled, STORED_UNLABELLED, cpu=cpu, tell=tell))
    return np.concatenate(parts).astype(np.float32)


def _mean(
    settings: TrainSettings, labels: LabelSet, texts: Sequence[str], stored: str, *, cpu: bool, tell: Tell
) -> NDArray[np.float64]:
    """The teachers' mean probabilities of some texts, (n, K), softened as the settings say."""
    mean = np.zeros((len(texts), len(labels)), dtype=np.float64)
    for given in settings.teacher:
        teacher = Teacher(given)
        names, probabilities = probabilities_of(
            teacher, texts, stored, precision=settings.precision, cpu=cpu, tell=tell
        )
        mean += probabilities[:, [names.index(name) for name in labels.names]]
    return soften(mean / len(settings.teacher), settings.teacher_temperature)


def soften(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """The probabilities with their log-odds divided by `temperature`."""
    if temperature == 1:
        return probabilities
    held = probabilities.clip(_FAR, 1 - _FAR)
    return 1 / (1 + (1 / held - 1) ** (1 / temperature))


def probabilities_of(
    teacher: Teacher,
    texts: Sequence[str],
    stored_as: str = STORED,
    *,
    precision: str = "auto",
    cpu: bool = False,
    tell: Tell = lambda message: None,
) -> tuple[list[str], NDArray[np.float32]]:
    """A teacher's label names and its probabilities of some texts, (n, K): those stored in its folder, or computed now and stored.

    They are computed in the `precision` that whoever asks first asks for, as this machine has it, noted beside them; stored ones serve runs
    of any precision. bf16 is several times as fast where there is any, and its error is far below what teachers differ by. Of several
    processes that ask at once one computes, and the others wait for it. Where they cannot be stored, which `tell` is told, they serve once.

    Raises DataError for a teacher with neither weights nor the probabilities of these texts.
    """
    digest, scores, weights = digest_of(texts), teacher.scores, teacher.weights()
    store = teacher.path / stored_as
    stored = _stored(store, digest, weights)
    if scores not in stored:
        with _alone(store):
            stored = _stored(store, digest, weights)  # another process may have computed them meanwhile
            if scores not in stored:
                tell(f"{teacher.given}: its probabilities of {len(texts):,} texts are computed once")
                stored |= {"texts": np.str_(digest), "weights": np.str_(weights)}
                stored |= _computed(teacher, scores, texts, precision, cpu)
                buffer = BytesIO()
                np.savez_compressed(buffer, **stored)
                try:
                    write_bytes(store, buffer.getvalue())
                except OSError as error:
                    tell(f"{store} could not be written ({error.strerror}): the next run computes them again")
    return stored["names"].tolist(), stored[scores].astype(np.float32)


def is_stored(teacher: Teacher, texts: Sequence[str]) -> bool:
    """Whether its probabilities of these texts stand in its folder."""
    return teacher.scores in _stored(teacher.store, digest_of(texts), teacher.weights())


def _stored(store: Path, texts: str, weights: str) -> dict[str, Any]:
    """What is stored of these texts and these weights; nothing where it is of others, or not there."""
    found = _read(store) if store.is_file() else {}
    return found if found and (str(found["texts"]), str(found["weights"])) == (texts, weights) else {}


def _computed(
    teacher: Teacher, scores: str, texts: Sequence[str], precision: str, cpu: bool
) -> dict[str, Any]:
    import torch

    from emodef.train.inference import load_model
    from emodef.train.performance import multiply_in, resolve_precision

    model = load_model(model_folder(teacher.path), cpu=cpu)
    resolved, before = resolve_precision(precision, model.device), torch.get_float32_matmul_precision()
    try:
        multiply_in(resolved)
        with torch.autocast(model.device.type, torch.bfloat16, enabled=resolved == "bf16"):
            found = model.predict_proba(texts, scores=scores).astype(np.float16)
    finally:  # who asks may train in another precision
        torch.set_float32_matmul_precision(before)
    return {
        "names": np.array(model.label_set.names),
        scores: found,
        f"{scores}_precision": np.str_(resolved),
    }


@contextmanager
def _alone(store: Path) -> Iterator[None]:
    """Hold a file beside the store for as long as its content is computed; where none can be made there, go on without."""
    path = store.with_name(f".{store.name}.lock")
    with ExitStack() as stack:
        with suppress(OSError):
            while True:
                handle = stack.enter_context(path.open("a"))
                locks.hold(handle, wait=True)
                if locks.is_still(handle, path):  # its last holder removes it
                    break
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = {key: stored[key] for key in stored.files}
            return {**found, "weights": found["weights"], "texts": found["texts"], "names": found["names"]}
    except (OSError, ValueError, EOFError, KeyError, BadZipFile, zlib.error) as error:
        raise DataError(f"cannot be read ({error}); remove it, and it is computed anew", path) from None

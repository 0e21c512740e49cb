"""Shared fixtures: tiny real encoders and a tiny corpus, made here, offline and from fixed seeds."""

from __future__ import annotations

import os

# before numpy, torch or tokenizers are imported
for _variable, _value in {
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "MPLBACKEND": "agg",
    "NO_COLOR": "1",
}.items():
    os.environ.setdefault(_variable, _value)
os.environ.update(
    OMP_NUM_THREADS="1",  # tiny models are quickest, and repeatable, on one thread each
    OPENBLAS_NUM_THREADS="1",
    NO_PROXY="127.0.0.1,localhost",
    no_proxy="127.0.0.1,localhost",
)
# a user's choices, and those by which rich and typer colour what is no terminal
for _variable in ("EMODEF_API_KEYS", "EMODEF_DEBUG", "FORCE_COLOR", "GITHUB_ACTIONS"):
    os.environ.pop(_variable, None)

import random
import signal
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from browsing import opening, running_browser
from tiny_backbones import ARCHITECTURES, build_backbone

if TYPE_CHECKING:
    from emodef.corpora import Corpus
    from emodef.predictor import Predictor
    from page_server import PageServer

# A shell's background jobs ignore Ctrl-C, and so would the processes that tests start to interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# as measured, longest first
_LONGEST = (
    "test_cluster", "test_experiments_train", "test_server_jobs", "test_resume", "test_loop", "test_export", "test_card",
    "test_transfer", "test_transfer_bench",
)  # fmt: skip


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: tests of servers and of killed processes wait a good part of their time."""
    is_linux = hasattr(os, "sched_getaffinity")
    return 1 + (len(os.sched_getaffinity(0)) if is_linux else os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long are begun first, the longest before all: no process is to be at one when the others have nothing left."""
    place = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(
        key=lambda item: (place.get(item.path.stem, len(place)), item.get_closest_marker("long") is None)
    )


@pytest.fixture(autouse=True)
def _no_user_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test sees the data it makes, not a folder that the person running it happens to have."""
    monkeypatch.delenv("EMODEF_DATA", raising=False)


@pytest.fixture
def put(tmp_path: Path) -> Callable[[Mapping[str, str | bytes]], Path]:
    """Write files, path in the data folder -> content, and return the data folder."""

    def write(files: Mapping[str, str | bytes]) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser; skips the test where there is none (see `browsing`)."""
    with running_browser() as started:
        yield started


@pytest.fixture
def open_file(browser: Any) -> Iterator[Callable[..., Any]]:
    """`open_file(path, width=1280, **options)` -> the page; nothing may go wrong in it or be asked for."""
    with opening(browser) as open_it:
        yield open_it


@pytest.fixture(scope="module")
def page_server(tiny_light: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """A running server with the tiny light model."""
    from page_server import PageServer

    running = PageServer(tiny_light, tmp_path_factory.mktemp("jobs")).start()
    yield running
    running.stop()


@pytest.fixture
def open_tab(browser: Any, page_server: PageServer) -> Iterator[Callable[..., Any]]:
    """`open_tab(tab="text", width=1280, ...)` -> the server's page, ready; nothing may go wrong in it, or come from elsewhere."""
    with opening(browser, page_server.address) as open_it:

        def open_ready(tab: str = "text", **options: Any) -> Any:
            page = open_it(f"{page_server.address}/#{tab}", **{"reduced_motion": "reduce"} | options)
            page.wait_for_selector("body.ready")
            return page

        yield open_ready


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`tiny_backbone(architecture, **options)` -> folder of a tiny encoder and its tokenizer (see `tiny_backbones`).

    Built once for each architecture and options; treat the folder as read-only.
    """
    built: dict[tuple[Any, ...], Path] = {}

    def get(architecture: str, **options: Any) -> Path:
        key = (architecture, *sorted(options.items()))
        if key not in built:
            built[key] = build_backbone(architecture, tmp_path_factory.mktemp(architecture), **options)
        return built[key]

    return get


@pytest.fixture(params=ARCHITECTURES)
def each_backbone(request: pytest.FixtureRequest, tiny_backbone: Callable[..., Path]) -> tuple[str, Path]:
    """(architecture, folder), for each of the six architectures in turn."""
    return request.param, tiny_backbone(request.param)


@pytest.fixture(scope="session")
def tiny_light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a light model of five labels, made without torch (see `tiny_light.py`); read-only, copy it to change it."""
    from tiny_light import build_tiny_light

    return build_tiny_light(tmp_path_factory.mktemp("light"))


@pytest.fixture(scope="session")
def server(tiny_light: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A running `emodef serve` with the tiny light model (see `tiny_server`); tests share it, and leave no job behind."""
    from tiny_server import running

    with running(tiny_light, jobs=tmp_path_factory.mktemp("server") / "jobs") as started:
        yield started


@pytest.fixture(scope="session")
def tiny_bert_dir(tiny_backbone: Callable[..., Path]) -> Path:
    """Folder of a tiny uncased BERT with its own pooler and masked-word head; read-only."""
    return tiny_backbone("bert")


_LABELS = {
    "joy": ("A feeling of pleasure and happiness", "positive"),
    "anger": ("A strong feeling of displeasure or antagonism", "negative"),
    "fear": ("Being afraid or worried", "negative"),
    "curiosity": ("A strong desire to know or learn something", "ambiguous"),
    "neutral": ("No emotions", "neutral"),
}
_OPENINGS = (
    "Well,",
    "So",
    "Honestly,",
    "This morning",
    "After the match",
    "On the bus",
    "Again:",
    "As of today",
    "Oh,",
    "Now",
)
_CLAUSES = {
    "joy": (
        "I am so happy with the new garden",
        "we danced and laughed all evening",
        "what a lovely day it was",
    ),
    "anger": (
        "I am furious with the landlord",
        "they lied to us and it makes my blood boil",
        "how dare he shout at her",
    ),
    "fear": (
        "I am scared to open the letter",
        "that noise in the cellar terrifies me",
        "I worry that the bridge will not hold",
    ),
    "curiosity": (
        "how does the old clock work",
        "I wonder who lived here before",
        "tell me more about the map",
    ),
    "neutral": (
        "the shop opens at nine",
        "there are two chairs in the hall",
        "the train stops at platform four",
    ),
}


@pytest.fixture(scope="session")
def tiny_corpus() -> dict[str, Corpus]:
    """train (120), dev (40) and test (40) of five labels, one text in five with two; the same at every call."""
    import numpy as np

    from emodef.corpora import Corpus
    from emodef.labels import LabelSet

    label_set = LabelSet.from_dict(
        {
            "name": "tiny",
            "labels": [{"name": name, "definition": definition} for name, (definition, _) in _LABELS.items()],
            "mappings": {"sentiment": {name: coarse for name, (_, coarse) in _LABELS.items()}},
        }
    )
    draw = random.Random(0)
    splits = {}
    for split, size in {"train": 120, "dev": 40, "test": 40}.items():
        texts: list[str] = []
        labels = np.zeros((size, len(_LABELS)), dtype=np.uint8)
        for row in range(size):
            # every label in turn; neutral stands alone
            chosen = [row % 5, (row + 1) % 4] if row % 5 < 4 and row % 4 == 3 else [row % 5]
            labels[row, chosen] = 1
            clauses = [draw.choice(_CLAUSES[label_set.names[k]]) for k in sorted(set(chosen))]
            texts.append(
                f"{draw.choice(_OPENINGS)} {' and '.join(clauses)}{draw.choice(('.', '!', '', '...'))}"
            )
        ids = [f"{split}-{row}" for row in range(size)]
        splits[split] = Corpus(
            name="tiny", split=split, texts=texts, labels=labels, label_set=label_set, ids=ids
        )
    return splits


@pytest.fixture(scope="module")
def predictor(tiny_light: Path) -> Predictor:
    """The tiny light model, in one thread."""
    from emodef.predictor import Predictor

    return Predictor.load(tiny_light, threads=1)


@pytest.fixture
def predict(predictor: Predictor, tmp_path: Path) -> Callable[..., Any]:
    """`predict(input name, content, output name, ...)` -> (path of the output, summary)."""
    from tiny_files import predict_in

    return partial(predict_in, tmp_path, predictor)


@pytest.fixture(scope="session")
def moods(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Paths of a small corpus with one label a text, and of its label set, for studies of transfer (see `tiny_transfer.py`)."""
    from tiny_transfer import write_corpus

    return write_corpus(tmp_path_factory.mktemp("moods"))


@pytest.fixture(scope="session")
def moods_backbone(tiny_backbone: Callable[..., Path]) -> Path:
    """The encoder of studies on `moods`; read-only."""
    return tiny_backbone("roberta", initializer_range=0.3)


@pytest.fixture
def study(moods: tuple[str, str], moods_backbone: Path) -> Callable[..., Any]:
    """`study(**changed)` -> settings of a small study on `moods`."""
    from tiny_transfer import settings

    return lambda **changed: settings(moods, moods_backbone, **changed)

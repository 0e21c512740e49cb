"""Small fine-tuning runs per minute: a study of transfer in one process against a process a run. Imports torch.

    python -m bench.transfer [--data-dir DIR] [--corpus NAME] [--backbone NAME] [--size 100] [--quick]

Writes bench/results/transfer.json and .md. Run it on an idle machine. Where there is a GPU all of them use it (--out keeps those
figures apart).

- ours: texts tokenised once, the encoder kept loaded, weights put back in place, a process with one thread for each core; as
  `emodef experiment run figure3 --jobs CORES` does.
- ours, one process: the same with all threads in one process, one run after another.
- a process a run: the same code, started anew for each run.
- plain script: a process a run that fine-tunes the same encoder on the same texts as most scripts do: transformers' classifier, texts
  tokenised by the call and padded to the full length, in random order, in fp32, with all threads.
- plain script, side by side: as many of these at once as there are cores, one thread each.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from bench.children import Child
from bench.light import Run, parser, seconds
from bench.report import table
from bench.rounds import interleaved, median, ratio, shown
from emodef.runs import DataChoice
from emodef.train.performance import tuned_process
from emodef.train.transfer_plan import Study, plan_transfer
from emodef.train.transfer_runs import Outcome, Workbench
from emodef.train.transfer_settings import UNTUNED, TransferSettings
from emodef.transfers import Rows

OURS, ALONE = "ours", "ours, one process"
ANEW, PLAIN, PLAIN_BESIDE = "a process a run", "plain script", "plain script, side by side"
WANTED = 5.0  # times the runs of one process a run: the plain script, one run after another
ROUNDS, RUNS = 3, 3  # rounds; runs of ours in each

ONE_RUN = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(int(sys.argv[3]))
from emodef.runs import DataChoice
from emodef.train.transfer import run_transfer
from emodef.train.transfer_settings import TransferSettings
order = json.loads(Path(sys.argv[1]).read_text())
cpu = order["device"] == "cpu"
run_transfer(TransferSettings(**order["settings"]), sys.argv[2], data=DataChoice(order["data_dir"]), cpu=cpu)
"""

SCRIPT = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(int(sys.argv[3]))
from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup
order = json.loads(Path(sys.argv[1]).read_text())
settings, labels, device = order["settings"], order["labels"], order["device"]
torch.manual_seed(settings["seed"])
tokenizer = AutoTokenizer.from_pretrained(order["backbone"])
model = AutoModelForSequenceClassification.from_pretrained(order["backbone"], num_labels=labels).to(device)
def batches(part, size, shuffle):
    inputs = tokenizer(part["texts"], padding="max_length", truncation=True, max_length=settings["max_length"], return_tensors="pt")
    columns = inputs["input_ids"], inputs["attention_mask"], torch.tensor(part["answers"])
    data = torch.utils.data.TensorDataset(*(column.to(device) for column in columns))
    return torch.utils.data.DataLoader(data, batch_size=size, shuffle=shuffle)
train, test = batches(order["train"], settings["batch_size"], True), batches(order["test"], 32, False)
optimizer = torch.optim.AdamW(model.parameters(), lr=settings["learning_rate"], weight_decay=settings["weight_decay"])
steps = settings["epochs"] * len(train)
schedule = get_linear_schedule_with_warmup(optimizer, int(settings["warmup"] * steps), steps)
model.train()
for epoch in range(settings["epochs"]):
    for ids, mask, answers in train:
        loss = model(input_ids=ids, attention_mask=mask, labels=answers).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings["gradient_clip"])
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
model.eval()
right = 0
with torch.no_grad():
    for ids, mask, answers in test:
        right += int((model(input_ids=ids, attention_mask=mask).logits.argmax(1) == answers).sum())
Path(sys.argv[2]).write_text(str(right / len(order["test"]["texts"])))
"""


class Bench:
    """A workbench of a study's one start and corpus, made when first used, and the runs it makes, counted from 0: one a split."""

    def __init__(self, study: Study) -> None:
        self.study = study
        ((self.name, self.texts),) = study.corpora.items()
        self._made: Workbench | None = None

    def rows(self, number: int) -> tuple[Rows, Rows]:
        """The texts that a run trains on, and those it predicts."""
        settings, drawn = self.study.settings, self.study.splits[self.name]
        split, size = 1 + number % settings.splits, settings.sizes[0]
        return drawn.train(split, size), drawn.test(split, size, settings.max_eval)

    def run(self, number: int) -> Outcome:
        """Make a run."""
        study = self.study
        if self._made is None:
            self._made = Workbench(
                study.units[0].start,
                self.texts,
                study.settings,
                device=study.device,
                precision=study.precision,
            )
        return self._made.run(*self.rows(number), "softmax", study.settings.seed + number)


def _serve(pipe: Connection, study: Study) -> None:
    """In a process of one thread: make the runs that are asked for."""
    torch.set_num_threads(1)
    with tuned_process():
        bench = Bench(study)
        while (numbers := pipe.recv()) is not None:
            pipe.send([bench.run(number).steps for number in numbers])


class Contenders:
    """The ways, each making the same run: split 1 of the study, and for ours the splits after it too."""

    def __init__(self, study: Study, threads: int, data_dir: str | None, place: Path, runs: int) -> None:
        self.threads, self.place, self.runs = threads, place, runs
        self.bench, settings = Bench(study), study.settings
        texts = self.bench.texts
        trained = study.units[0].start.load(settings, texts.corpus)
        order: dict[str, Any] = {
            "settings": settings.model_copy(update={"splits": 1}).model_dump(mode="json"),
            "data_dir": data_dir,
            "backbone": trained.settings.backbone_path(),
            "labels": len(texts.corpus.label_set),
            "device": study.device.type,
        }
        for part, rows in zip(("train", "test"), self.bench.rows(0), strict=True):
            order[part] = {
                "texts": [texts.corpus.texts[i] for i in rows],
                "answers": texts.answers[rows].tolist(),
            }
        self.order = place / "order.json"
        self.order.write_text(json.dumps(order), encoding="utf-8")
        self.workers = [Child(OURS, _serve, study) for _ in range(threads)]

    def ours(self, number: int) -> float:
        """Seconds a run, in processes that are there; all have loaded the encoder before the first round that counts."""
        start = time.perf_counter()
        for place, worker in enumerate(self.workers):
            first = (number * len(self.workers) + place) * self.runs
            worker.ask(range(first, first + self.runs))
        for worker in self.workers:
            worker.answer()
        return (time.perf_counter() - start) / (self.runs * len(self.workers))

    def alone(self, number: int) -> float:
        """Seconds a run, in this process."""
        start = time.perf_counter()
        with tuned_process():
            for run in range(self.runs):
                self.bench.run(number * self.runs + run)
        return (time.perf_counter() - start) / self.runs

    def anew(self, number: int) -> float:
        """Seconds of a process that makes one run with our code."""
        return self._process(ONE_RUN, self.place / f"results-{number}", self.threads)

    def plain(self, number: int) -> float:
        """Seconds of a process that makes one run as most scripts do."""
        return self._process(SCRIPT, self.place / "accuracy.txt", self.threads)

    def plain_beside(self, number: int) -> float:
        """Seconds a run of as many such processes at once as there are cores."""
        start = time.perf_counter()
        with ThreadPoolExecutor(self.threads) as pool:
            outs = [self.place / f"accuracy-{place}.txt" for place in range(self.threads)]
            list(pool.map(lambda out: self._process(SCRIPT, out, 1), outs))
        return (time.perf_counter() - start) / self.threads

    def close(self) -> None:
        """End the processes."""
        for worker in self.workers:
            worker.close()

    def _process(self, code: str, out: Path, threads: int) -> float:
        return seconds([sys.executable, "-c", code, str(self.order), str(out), str(threads)])


def page(found: Mapping[str, Any]) -> list[str]:
    """The result in Markdown."""
    rows = [
        [name, f"{found['seconds'][name]:.2f}", f"{60 / found['seconds'][name]:.1f}", shown(found["ratios"][name]) if name != OURS else ""]
        for name in found["seconds"]
    ]  # fmt: skip
    about = found["study"]
    reached = "reached" if found["ratios"][PLAIN]["median"] >= WANTED else "not reached"
    return [
        "# Transfer: small runs per minute",
        "",
        f"{about['corpus']}, {about['train_texts']} training texts, {about['steps']} steps of {about['batch_size']}, "
        f"{about['test_texts']:,} test texts; {about['backbone']}, {about['threads']} threads"
        f"{'' if about['device'] == 'cpu' else ' and a GPU'}, ours in {about['precision']}. "
        f"Medians over {about['rounds']} rounds in which the ways take turns; ours makes {about['runs']} runs a round in each process, of "
        f"which there are {about['threads']} with one thread each.",
        "",
        *table(["", "seconds a run", "runs a minute", "ours makes so many times the runs"], rows),
        "",
        f"Wanted: {WANTED:g} times the runs of a script that is started for each run; {reached}.",
        f"Accuracy of the plain script's run: {found['plain_accuracy']:.3f}; ours: {found['our_accuracy']:.3f}.",
    ]


def settings_of(options: argparse.Namespace) -> TransferSettings:
    """The study: the untuned encoder on one corpus with one size."""
    chosen: dict[str, Any] = {
        "corpora": (options.corpus,),
        "label_set": options.label_set,
        "backbone": options.backbone,
        "pooling": "mean",
        "starts": (UNTUNED,),
        "sizes": (options.size,),
        "splits": 2 if options.quick else ROUNDS * RUNS,
        "smallest": min(options.size, 100),
        "epochs": 1 if options.quick else 10,
        "max_eval": 50 if options.quick else 2000,
    }
    return TransferSettings(**chosen)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    made = parser("transfer", __doc__, model=False)
    made.set_defaults(corpus="emotion_stimulus")
    made.add_argument("--label-set", help="of a corpus of your own")
    made.add_argument("--backbone", default="minilm")
    made.add_argument("--size", type=int, default=100, help="training texts")
    options = made.parse_args(given)
    run = Run("transfer", given, options)
    threads, rounds, runs = (
        torch.get_num_threads(),
        1 if options.quick else ROUNDS,
        1 if options.quick else RUNS,
    )
    with tempfile.TemporaryDirectory() as place:
        study = plan_transfer(settings_of(options), place, data=DataChoice(options.data_dir))
        ways = Contenders(study, threads, options.data_dir, Path(place), runs)
        work = {
            OURS: ways.ours, ALONE: ways.alone, ANEW: ways.anew, PLAIN: ways.plain, PLAIN_BESIDE: ways.plain_beside,
        }  # fmt: skip
        try:
            ways.plain(0)  # bring files into memory
            ways.ours(0)
            ways.alone(0)
            taken = interleaved(work, rounds)
        finally:
            ways.close()
        plain_accuracy = float((Path(place) / "accuracy.txt").read_text(encoding="utf-8"))
    outcome = ways.bench.run(0)
    train, test = ways.bench.rows(0)
    right = outcome.predicted.argmax(1) == ways.bench.texts.answers[test]
    found = {
        "study": {
            "corpus": next(iter(study.corpora)), "backbone": Path(options.backbone).name, "train_texts": len(train),
            "test_texts": len(test), "steps": outcome.steps, "batch_size": study.settings.batch_size, "threads": threads,
            "device": study.device.type, "precision": study.precision, "rounds": rounds, "runs": runs,
        },
        "seconds": {name: round(median(values), 3) for name, values in taken.items()},
        "rounds": {name: [round(value, 3) for value in values] for name, values in taken.items()},
        "ratios": {name: ratio(taken[name], taken[OURS]) for name in (ALONE, ANEW, PLAIN, PLAIN_BESIDE)},
        "wanted": WANTED,
        "plain_accuracy": plain_accuracy,
        "our_accuracy": float(right.mean()),
    }  # fmt: skip
    run.save(found, page(found))


if __name__ == "__main__":
    main()

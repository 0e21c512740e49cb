"""The mean of several models' weights, and of the untuned encoder's beside them: one model, as fast as each of them. Imports torch.

Models that began with the same encoder often lie in one valley of the loss, and the middle of it does better than its sides (model soups,
Wortsman et al. 2022a). A share of the untuned encoder takes back some of what fine-tuning forgot (WiSE-FT, Wortsman et al. 2022b): what
labels that were never trained need. Which share does best is chosen on dev; it costs a pass over dev for each, and no training.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emodef.atomic import write_text
from emodef.corpora import Corpus
from emodef.errors import SettingsError
from emodef.metrics import averages, count, decide
from emodef.runs import DataChoice, RunFolder, check_labels, check_texts, fingerprint, model_folder, read_json
from emodef.thresholds import cross_validate
from emodef.train.checkpoint import TrainedModel
from emodef.train.held_out import training_corpus
from emodef.train.inference import load_model
from emodef.train.loop import Trained
from emodef.train.run import Run, finish_run
from emodef.train.settings import TrainSettings
from emodef.train.teachers import Teacher
from emodef.train.versions import as_json, note_versions

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4)  # of the untuned encoder, to choose from
ALIKE = ("pooling", "placeholders", "emoji", "match_text", "match_shared_bias")
REPEATS = 5  # of the cross-validation that choosing goes by

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Tried:
    """What a share of the untuned encoder scored on dev: macro-F1 with thresholds tuned on other dev texts."""

    untuned: float
    dev_macro_f1: float


def mean_of(members: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each parameter over the members that have it. Raises SettingsError where its shapes differ."""
    found = {}
    for name in dict.fromkeys(name for member in members for name in member):
        tensors = [member[name] for member in members if name in member]
        if len({tensor.shape for tensor in tensors}) > 1:
            raise SettingsError(f"{name} is not as large in all of these models; average models of one kind")
        found[name] = torch.stack([tensor.float() for tensor in tensors]).mean(0)
    return found


def set_weights(
    model: torch.nn.Module, mean: Mapping[str, Tensor], untuned: Mapping[str, Tensor], share: float
) -> None:
    """Put the mean into `model`, with a share of the untuned encoder in what both have."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in untuned and share:
                parameter.copy_((1 - share) * mean[name] + share * untuned[name])
            else:
                parameter.copy_(mean[name])


def average(
    paths: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    shares: Sequence[float] = (0.0,),
    data_dir: str | None = None,
    cpu: bool = False,
    tell: Tell = lambda message: None,
) -> tuple[Run, list[Tried]]:
    """Average runs and write the result as a run's folder, measured as one. Settings, tokenizer and heads are the first run's.

    shares: of the untuned encoder; of several the one best on dev is taken. Raises SettingsError for runs that do not go together, a
    folder that is not free, and several shares without a dev split; DataError where the corpus has other labels
    now, or a run other texts for dev or test.
    """
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(f"{folder} is not an empty folder; give another one (--out)")
    runs = [RunFolder.open(path) for path in paths]
    trained = _members(paths, cpu)
    choice = DataChoice.saved(runs[0].path)
    if data_dir is not None:
        choice = DataChoice(**{**vars(choice), "data_dir": data_dir})
    first = trained[0]
    whole = choice.load(first.settings.corpus, first.settings.label_set)
    corpus = training_corpus(first.settings, whole)
    check_labels(corpus, first.label_set, paths[0])
    for run in runs:
        check_texts(
            run,
            corpus,
            run.measured(),
            f"make the models to be averaged on one corpus, that of {paths[0]} as it is now",
        )
    mean = mean_of([dict(each.model.named_parameters()) for each in trained])
    untuned = _untuned(first) if any(shares) else {}
    del trained[1:]
    tried = _tried(first, mean, untuned, shares, corpus, tell) if len(shares) > 1 else []
    share = max(tried, key=lambda each: each.dev_macro_f1).untuned if tried else shares[0]
    set_weights(first.model, mean, untuned, share)
    if "dev" not in corpus and "tuned" in first.thresholds:
        tell(
            f"no dev split: thresholds by cross-validation are not those of a mean, which answers above {first.settings.threshold:g}"
        )
    each = (1 - share) / len(runs)
    made = [f"{each:.4f} {Teacher(os.fspath(path)).weights()}" for path in paths]
    made += [f"{share:.4f} untuned"] if share else []
    settings = first.settings.model_copy(update={"average": tuple(sorted(made))})
    first.settings = settings
    folder.mkdir(parents=True, exist_ok=True)
    choice.save(folder)
    write_text(folder / "settings.json", as_json(settings.model_dump(mode="json")))
    about = note_versions(folder, first.device, "fp32") | {"data": fingerprint(whole)}
    facts = [run_facts(run) for run in runs]
    steps = {task: sum(fact["steps"][task] for fact in facts) for task in ("primary", "auxiliary")}
    result = Trained(
        first,
        epochs=[vars(each) for each in tried],
        kept_epoch=facts[0]["kept_epoch"],
        steps=steps,
        seconds=sum(fact["seconds"] for fact in facts),
        real_tokens=facts[0]["real_tokens"],
        truncated=facts[0]["truncated_texts"],
        precision=facts[0]["precision"],
    )
    return finish_run(result, settings, corpus, folder, about, True), tried


def run_facts(run: RunFolder) -> dict[str, Any]:
    """What metrics.json says of a run's training."""
    facts: dict[str, Any] = read_json(run.path / "metrics.json")["training"]
    return facts


def _members(paths: Sequence[str | os.PathLike[str]], cpu: bool) -> list[TrainedModel]:
    found: list[TrainedModel] = []
    for path in paths:
        model = load_model(model_folder(path), cpu=cpu)
        for name in (_encoder(found[0].settings, model.settings), *ALIKE) if found else ():
            ours, theirs = getattr(found[0].settings, name), getattr(model.settings, name)
            if ours != theirs:
                raise SettingsError(
                    f"{path} has {name} = {theirs!r}, {paths[0]} has {ours!r}: their weights mean different things; leave one out"
                )
        if found and model.label_set != found[0].label_set:
            raise SettingsError(f"{path} has other labels than {paths[0]}; average models of one label set")
        if found and model.settings.start_hash != found[0].settings.start_hash:
            one, other = (each.start_hash or "none" for each in (model.settings, found[0].settings))
            raise SettingsError(
                f"{path} began with another trained model ({one}) than {paths[0]} ({other}): their weights have no valley in common; leave "
                "one out"
            )
        found.append(model)
    if not found:
        raise SettingsError("no run to average; name at least one")
    return found


def _encoder(*settings: TrainSettings) -> str:
    """The setting that tells encoders apart: what their folders are known by, where that was noted of all."""
    return "backbone_hash" if all(each.backbone_hash for each in settings) else "backbone"


def _untuned(trained: TrainedModel) -> dict[str, Tensor]:
    """The encoder's parameters as training begins with them, by the name they have in the model.

    Raises SettingsError where the encoder's folder holds another now.
    """
    noted = trained.settings.backbone_hash
    if noted is not None and noted != trained.settings.known_backbone():
        raise SettingsError(
            f"the untuned encoder, {trained.settings.backbone}, is not what this model was trained from ({noted}); put that one back, or "
            "average without it (--untuned 0)"
        )
    chosen = trained.settings.model_dump() | {"setup": "none"}
    with torch.random.fork_rng(devices=[]):
        begun = TrainedModel.untrained(TrainSettings(**chosen), trained.label_set)
    inside = {id(parameter) for parameter in begun.model.encoder.parameters()}
    return {
        name: parameter.detach().to(trained.device)
        for name, parameter in begun.model.named_parameters()
        if id(parameter) in inside
    }


def _tried(
    trained: TrainedModel,
    mean: Mapping[str, Tensor],
    untuned: Mapping[str, Tensor],
    shares: Sequence[float],
    corpus: Mapping[str, Corpus],
    tell: Tell,
) -> list[Tried]:
    if "dev" not in corpus:
        raise SettingsError(
            "there is no dev split to choose a share on; give one share of the untuned encoder"
        )
    dev = corpus["dev"]
    found = []
    for share in shares:
        set_weights(trained.model, mean, untuned, share)
        probabilities = trained.predict_proba(dev.texts)
        if dev.label_set.exclusive:
            predicted = decide(probabilities, 0.5, exclusive=True)
            score = float(averages(count(dev.labels, predicted))["macro_f1"])
        else:
            method = "shrunk"
            scores = cross_validate(dev.labels, probabilities, methods=[method], repeats=REPEATS)
            score = float(scores[method].mean())
        found.append(Tried(share, round(score, 6)))
        tell(f"untuned {share:g}: dev macro-F1 {100 * score:.2f}")
    return found

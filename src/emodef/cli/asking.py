"""What `emodef train` is asked to run: settings from a recipe, options and a model to start from, or those of a run. Imports errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emodef.errors import SettingsError, option_names

if TYPE_CHECKING:
    from emodef.labels import LabelSet
    from emodef.runs import DataChoice
    from emodef.train.settings import TrainSettings


class Asked:
    """The options that make settings, and what they override."""

    def __init__(
        self,
        recipe: str | None,
        setup: str | None,
        seed: int | None,
        assign: list[str],
        data: str | None,
        labels: str | None,
        start: Path | None = None,
    ) -> None:
        self.recipe, self.assign, self.start = recipe, assign, start
        named = {"setup": setup, "seed": seed, "corpus": data, "label_set": labels}
        self.named = {key: value for key, value in named.items() if value is not None}

    @property
    def few(self) -> bool:
        """Whether the number of epochs is left to the number of texts."""
        from emodef.train.settings import parse_overrides

        return self.start is not None and self.recipe is None and "epochs" not in parse_overrides(self.assign)

    def overrides(self, *, resume: bool = False) -> dict[str, Any]:
        """Settings that go on top of the recipe's; resume: of those a run has, which took from its start what it needed."""
        from emodef.corpora import CORPORA
        from emodef.train.settings import parse_overrides

        overrides = parse_overrides(self.assign)
        named = {*self.named, *(["start"] if self.start is not None else [])}  # by --from
        if twice := sorted(set(overrides) & named):
            raise SettingsError(f"{twice[0]} is given twice, by its own option and by --set; give it once")
        overrides |= self.named
        if self.start is not None:
            from emodef.train.starting import from_checkpoint

            needed = {"start": str(self.start)} if resume else from_checkpoint(self.start)
            overrides = needed | overrides
        if (
            overrides.get("corpus") in CORPORA
        ):  # it brings its own; a recipe's label set is for the recipe's corpus
            overrides.setdefault("label_set", None)
        return overrides


def chosen_settings(asked: Asked) -> TrainSettings:
    """The recipe's settings with what was asked for on top; with --from what that model's encoder needs."""
    from emodef.train.settings import load_recipe

    return load_recipe(asked.recipe or ("paper" if asked.start is None else "few_shot"), asked.overrides())


def check_settings(settings: TrainSettings) -> None:
    """Refuse settings that do not go together, before a corpus is read. Raises SettingsError, and DataError for a start without a model."""
    from emodef.corpora import CORPORA
    from emodef.train.starting import check_start

    if settings.corpus in CORPORA and settings.label_set not in (None, settings.corpus):
        raise SettingsError(
            f"the label set {settings.label_set} is for a file of your own, and the corpus {settings.corpus!r} brings its own labels; name "
            "that file (--data, of experiments --set corpus=FILE), or leave the label set out (--set label_set=none)"
        )
    check_start(settings)


def resumed(
    out: Path, asked: Asked, told: list[str], data_dir: str | None
) -> tuple[TrainSettings, DataChoice]:
    """Settings and data of the run in `out`. Options may repeat its settings; `run_training` refuses others."""
    from dataclasses import replace

    from pydantic import ValidationError

    from emodef.runs import DataChoice, read_json
    from emodef.train.settings import TrainSettings

    path = out / "settings.json"
    if not path.exists():
        raise SettingsError(f"{out} holds no run to resume; leave --resume out to start one")
    if told:
        raise SettingsError(f"--resume reads the data as the run did before; leave out {option_names(told)}")
    if asked.recipe is not None:
        settings = chosen_settings(asked)
    else:
        try:
            settings = TrainSettings(**{**read_json(path), **asked.overrides(resume=True)})
        except ValidationError as error:
            problem = error.errors()[0]
            raise SettingsError(f"{path}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
    choice = DataChoice.saved(out)
    return settings, choice if data_dir is None else replace(choice, data_dir=data_dir)


def read_label_set(given: str | None, tell: Callable[[str], None]) -> LabelSet | None:
    """A label set by name or from a TOML file in any of its forms. `tell` is told of what stands there and training does not read."""
    from emodef.definitions import read_labels

    if given is None:
        return None
    meant = read_labels(given)
    there = {
        "thresholds": any(threshold is not None for threshold in meant.thresholds),
        "examples": any(map(len, meant.examples)),
        "further definitions": any(len(own) > 1 for own in meant.definitions),
    }
    if unread := [what for what, is_there in there.items() if is_there]:
        tell(f"{given}: training reads the first definition of each label, not its {' and '.join(unread)}")
    return meant.label_set

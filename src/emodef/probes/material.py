"""What the probes ask: the TOML files beside this module as objects. Imports the standard library."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

FILES = ("templates", "terms", "negations", "languages", "domains", "corpora")


@dataclass(frozen=True)
class Person:
    """Who fills a template: as subject, object and possessive."""

    subject: str
    object: str
    possessive: str

    @classmethod
    def called(cls, words: str) -> Person:
        """A name or a phrase, the same in every place."""
        return cls(words, words, f"{words}'s")


@dataclass(frozen=True)
class Template:
    """A sentence with a place for one person, and the emotion it expresses."""

    text: str
    label: str

    def fill(self, person: Person) -> str:
        """The sentence with the person in it."""
        forms = {"subj": person.subject, "obj": person.object, "poss": person.possessive}
        return self.text.format(**forms, Subj=_capital(person.subject), Poss=_capital(person.possessive))


@dataclass(frozen=True)
class Name:
    """A given name and what it is commonly associated with."""

    name: str
    gender: str
    origin: str


@dataclass(frozen=True)
class Corpus:
    """How a corpus's labels are read off other labels: its split, and label -> the labels that speak for it."""

    split: str
    labels: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Domain:
    """Texts of one kind; `expected` says in words in how many of them a reader would find an emotion."""

    texts: tuple[str, ...]
    expected: str


@dataclass(frozen=True)
class Material:
    """Everything the probes ask. identity: category -> term -> phrase. sentences: label -> language -> text, "en" among them."""

    templates: tuple[Template, ...]
    names: tuple[Name, ...]
    pronouns: Mapping[str, Person]
    pronouns_against: str
    identity: Mapping[str, Mapping[str, str]]
    neutral_phrases: tuple[str, ...]
    placeholders: Mapping[str, str]
    placeholder_frame: str
    plain: str
    negations: tuple[tuple[str, str, str], ...]
    languages: Mapping[str, str]
    sentences: tuple[tuple[str, Mapping[str, str]], ...]
    neutral_label: str
    domains: Mapping[str, Domain]
    corpora: Mapping[str, Corpus]
    sha256: str


@cache
def load_material() -> Material:
    """The shipped probes. `sha256` is over all they ask, comments aside: results of one material can be compared."""
    folder = resources.files("emodef.probes")
    content = {name: tomllib.loads(folder.joinpath(f"{name}.toml").read_text("utf-8")) for name in FILES}
    terms, identity = content["terms"], content["terms"]["identity"]
    frame = identity["frame"]
    return Material(
        templates=tuple(
            Template(text, each["label"])
            for each in content["templates"]["template"]
            for text in each["texts"]
        ),
        names=tuple(
            Name(name, gender, origin)
            for origin, by_gender in terms["names"].items()
            for gender, names in by_gender.items()
            for name in names
        ),
        pronouns={name: Person(*forms) for name, forms in terms["pronouns"].items()},
        pronouns_against=terms["pronoun_contrasts"]["against"],
        identity={
            category: {term: _phrase(frame, term) for term in found}
            for category, found in identity["terms"].items()
        },
        neutral_phrases=tuple(_phrase(frame, term) for term in identity["neutral"]),
        placeholders=terms["placeholders"],
        placeholder_frame=frame,
        plain=terms["plain"]["person"],
        negations=tuple((label, said, denied) for label, said, denied in content["negations"]["pairs"]),
        languages=content["languages"]["names"],
        sentences=tuple(_sentence(each) for each in content["languages"]["sentence"]),
        neutral_label=content["domains"]["neutral"],
        domains={
            name: Domain(tuple(each["texts"]), each["expected"])
            for name, each in content["domains"]["domain"].items()
        },
        corpora={
            name: Corpus(each["split"], {label: tuple(own) for label, own in each["labels"].items()})
            for name, each in content["corpora"].items()
        },
        sha256=hashlib.sha256(json.dumps(content).encode()).hexdigest(),
    )


def _sentence(each: Mapping[str, Any]) -> tuple[str, Mapping[str, str]]:
    return each["label"], {language: text for language, text in each.items() if language != "label"}


def _phrase(frame: str, term: str) -> str:
    """A term that brings a noun phrase of its own does not stand in the frame."""
    noun = frame.rpartition(" ")[2]
    return term if noun in term.split() else frame.format(term=term)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]

"""What goes in and what comes out, as types: checked on the way in, described in the OpenAPI document. Imports pydantic.

A field that is not here is refused, and so is a value of another type: "0.5" is no number.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]
Threshold = Literal["tuned", "fixed"] | Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Text = Annotated[str, Field(description="A text; characters as JSON has them")]
# the first fault alone: one each of half a million texts would take seconds to tell
Texts = Annotated[list[Text], Field(fail_fast=True)]
Strings = Annotated[list[str], Field(fail_fast=True)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Strict(BaseModel):
    """Of what a client sends."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Choices(Strict):
    """How labels are chosen, and what is told of them."""

    threshold: Threshold | None = Field(
        None,
        description="What a probability must exceed: tuned (each label's own, the default where there are), fixed, or a number "
        "from 0 to below 1",
    )
    top_k: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="Instead of those above the threshold: so many labels, the likeliest"
    )
    at_least_one: bool = Field(False, description="Where no label passes, give the likeliest")


class PredictRequest(Choices):
    """Texts to predict."""

    texts: Texts = Field(description="The texts; an empty one gets an answer with tokens = 0")
    level: str | None = Field(None, max_length=200, description="A coarser label set; /v1/labels names them")
    all_scores: bool = Field(False, description="Also every label's probability")
    calibrated: bool = Field(False, description="Probabilities that say how often a label is right")


class Line(BaseModel):
    """A line of a stream, where it is not a string; other fields are passed over."""

    model_config = ConfigDict(strict=True)

    text: Text


class Own(Strict):
    """A label of the client's own, told at length: definition or definitions, not both."""

    definition: str | None = Field(default=None, description="What it means")
    definitions: Strings | None = Field(default=None, description="What it means, in one or several ways")
    examples: Strings = Field(default_factory=list, description="Texts that show it")
    threshold: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | None = Field(
        default=None, description="What its probability must exceed"
    )


OwnLabel = str | Strings | Own  # a definition, several, or more
OwnLabels = dict[Name, OwnLabel]


class ScoreRequest(Choices):
    """Texts to score against labels of the client's own."""

    texts: Texts = Field(description="The texts")
    labels: OwnLabels = Field(min_length=1, description="Name -> definition, several, or more")
    known: bool | Strings = Field(
        False,
        description="Labels of the model beside these: true for all (a name of both is then refused), or a list of names (one that is also "
        "in labels is scored as the model learned it)",
    )
    all_scores: bool = Field(True, description="Also every label's probability")


class ExplainRequest(Strict):
    """A text whose words are asked about."""

    text: Text
    labels: Strings | None = Field(
        None, description="Those to explain; by default those predicted, or the likeliest"
    )
    level: str | None = Field(None, max_length=200)
    threshold: Threshold | None = None
    own: OwnLabels | None = Field(
        None, min_length=1, description="Labels of the client's own, as in /v1/score"
    )
    known: bool | Strings = Field(
        False, description="Labels of the model beside those in own, as in /v1/score; refused without these"
    )


class Model(BaseModel):
    """What answered."""

    name: str
    version: str


class Scored(BaseModel):
    """A label and its probability."""

    name: str
    probability: Probability


class Prediction(BaseModel):
    """What is found in a text. tokens = 0: the text holds nothing the model can read, and the answer means nothing."""

    labels: list[Scored] = Field(description="Those predicted, likeliest first; may be none")
    scores: dict[str, Probability] | None = Field(None, description="Every label's, likeliest first")
    tokens: int
    windows: int = Field(
        description="How many overlapping windows a long text was read in; its probabilities are their mean"
    )


class Predictions(BaseModel):
    """A prediction for each text, in order."""

    model: Model
    predictions: list[Prediction]


class StreamedPrediction(Prediction):
    """A line of a stream's answer; of a line that cannot be predicted, {"error": …} instead."""


class Label(BaseModel):
    """A label. threshold: what "tuned" means for it, or "fixed" where there is no such; null where a text has one label."""

    name: str
    definition: str
    threshold: float | None
    group: str | None = Field(
        None,
        description="The label of the coarsest set that it belongs to, such as positive; null where there is none",
    )


class Labels(BaseModel):
    """The labels that are predicted."""

    name: str
    exclusive: bool = Field(description="Whether a text has just one label, the likeliest")
    labels: list[Label]
    levels: list[str] = Field(description="Coarser sets")
    policies: list[str] = Field(description="Thresholds that go by a name")
    own_labels: bool = Field(description="Whether /v1/score is to be had with this model")


class Limits(BaseModel):
    """How much this server takes; more is refused with 413, but for a long text in a file or a stream, which alone has no prediction.

    Of a model that reads emoji as words, such as the shipped one, characters are also counted with these words, but for those of a file.
    """

    body_bytes: int = Field(description="Of a JSON body")
    texts: int = Field(description="In a request")
    text_characters: int = Field(description="Of a text, and of a line of a stream")
    explain_characters: int = Field(description="Of a text to explain")
    labels: int = Field(description="Of a client's own, in a request")
    definitions: int = Field(description="Definitions and examples of such a label")
    definition_characters: int = Field(description="Of each of these")
    upload_bytes: int = Field(description="Of a file")
    file_text_characters: int = Field(description="Of a text in a file")


class Explained(Scored):
    """A label that is explained."""

    definition: str


class Word(BaseModel):
    """text[start:end], counted in code points."""

    text: str
    start: int
    end: int


class Explanation(BaseModel):
    """shifts: label -> for each word, the label's probability with all words less that without this one.

    together: how many neighbouring words were left out at a time, above 1 in long texts.
    """

    labels: list[Explained]
    predicted: list[str]
    words: list[Word]
    shifts: dict[str, list[float]]
    together: int


class Error(BaseModel):
    """What is wrong, and what to do about it."""

    code: str
    message: str
    field: str | None = Field(None, description="Which field of the request, such as texts[3]")


class ErrorBody(BaseModel):
    """Every answer that is not one has this body."""

    error: Error


class Health(BaseModel):
    """status: "ok", or why not."""

    status: str


class JobRequest(BaseModel):
    """The fields of the form beside its file."""

    model_config = ConfigDict(extra="forbid")

    column: str | None = Field(
        None, max_length=1000, description="The texts; by default the first of text, sentence, …"
    )
    time_column: str | None = Field(None, max_length=1000, description="Their times, for the summary")
    format: Literal["csv", "tsv", "jsonl", "txt"] | None = Field(
        None, description="Of the file; by default as its name says"
    )
    output: Literal["csv", "tsv", "jsonl"] | None = Field(
        None, description="Of the result; by default that of the file, csv for txt"
    )
    threshold: Threshold | None = Field(None, description="tuned, fixed, or a number from 0 to below 1")
    level: str | None = Field(None, max_length=200)
    at_least_one: bool = False
    calibrated: bool = False
    form: Literal["labels", "probabilities", "long"] = Field(
        "labels", description="What is written of a prediction; probabilities: of every label"
    )
    on_error: Literal["keep", "skip", "fail"] = Field(
        "keep", description="What to do with a row without a usable text"
    )
    prefix: str = Field("", max_length=100, description="Goes before the names of the new columns")
    labels: str | None = Field(None, description="Labels of the client's own, as JSON, as in /v1/score")


class FileRequest(JobRequest):
    """A file and how to predict it."""

    file: bytes = Field(
        description="CSV, TSV, JSON lines, or a text a line; UTF-8",
        json_schema_extra={"format": "binary"},
    )


class Job(BaseModel):
    """A file that is predicted."""

    id: str
    state: Literal["queued", "running", "finished", "failed", "cancelled"]
    file: str = Field(description="The name it was uploaded with")
    rows_done: int
    rows: int | None = Field(description="Of the file; estimated until it is finished, null at first")
    bytes_done: int
    bytes: int
    problems: int = Field(description="Rows without a prediction; /v1/jobs/{id}/problems lists them")
    error: str | None = Field(None, description="Why it failed")
    created: str
    finished: str | None = None


class FileSummary(BaseModel):
    """What the charts of `emodef report` are drawn from; empty but for `error` where nothing can be drawn."""

    model_config = ConfigDict(extra="allow")

    texts: int | None = None
    groups: list[str] | None = Field(
        None, description="The labels of the coarsest level, by which labels are coloured"
    )
    levels: list[dict[str, Any]] | None = Field(
        None,
        description="levels[0] has the file's labels, the most frequent first, others coarser ones: labels with count and its 95% "
        "interval, pairs that come together, and how many texts have so many labels (sizes)",
    )
    time: dict[str, Any] | None = Field(None, description="Counts over time, where the file has times")
    examples: list[dict[str, Any]] | None = None
    strongest: list[list[int]] | None = Field(
        None, description="For each label of levels[0], the places of its examples"
    )
    notes: list[str] | None = Field(None, description="What is not in it")
    error: str | None = None

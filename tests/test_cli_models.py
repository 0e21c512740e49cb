"""A saved model in a command: what is said of texts longer than it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emodef.cli.models import predict_all
from tiny_models import tiny_model


def test_cut_texts_are_said(tiny_bert_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_model(tiny_bert_dir)
    limit = model.tokenizer.longest
    long = "so happy " * limit
    cut = f"cut to its first {limit} tokens: the first is text 2, {long[:40]!r}...\n"
    probabilities = predict_all(model, ["so happy", long, long], quiet=False)
    assert capsys.readouterr().err == f"note: 2 texts are longer than the model takes and were {cut}"
    predict_all(model, ["so happy", long], quiet=False)
    assert capsys.readouterr().err == f"note: 1 text is longer than the model takes and was {cut}"
    assert np.array_equal(predict_all(model, ["so happy", long, long], quiet=True), probabilities)
    predict_all(model, ["so happy"], quiet=False)
    assert capsys.readouterr().err == ""

"""The light model's directory: what model.json may say, and what is said of a file that is missing, damaged or of another model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from emodef.calibration import Calibration
from emodef.errors import DataError
from emodef.predictor import Predictor
from emodef.predictor.model_file import Encoding, MatchInfo, ModelInfo, find
from tiny_light import LABELS, build_tiny_light


@pytest.fixture
def light(tiny_light: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(tiny_light, tmp_path / "light"))


def test_what_is_written_is_read_back(tmp_path: Path, tiny_light: Path) -> None:
    read = ModelInfo.read(tiny_light)
    assert read.label_set == LABELS
    assert read.encoding == Encoding(pad_id=0, longest=64, window=32)
    assert isinstance(read.calibration, Calibration)
    least = ModelInfo(LABELS, Encoding(pad_id=3, left=True))
    for info in (read, least):
        info.write(tmp_path)
        assert ModelInfo.read(tmp_path) == info
        assert json.loads((tmp_path / "model.json").read_text("utf-8"))["format"] == 1
    assert set(read.to_dict()) == {
        "format",
        "label_set",
        "scores",
        "thresholds",
        "calibration",
        "encoding",
        "match",
        "definition_head",
        "about",
    }


def change(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(content: dict[str, Any]) -> None:
        *path, last = key.split(".")
        for part in path:
            content = content[part]
        if value is None:
            del content[last]
        else:
            content[last] = value

    return apply


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("format", 2, "format 2, this emodef reads 1; install a matching release"),
        ("format", None, "format None"),
        ("label_set", None, "label_set"),
        ("label_set.labels", [], "label_set"),
        ("label_set", "goemotions", "label_set"),
        ("encoding", None, "encoding"),
        ("encoding", [1], "encoding"),
        ("encoding.pad_id", "zero", "encoding.pad_id is 'zero'"),
        ("encoding.pad_id", None, "pad_id"),
        ("encoding.window", 65, "encoding.window is 65, more than the 64 tokens"),
        ("encoding.window", 2, "encoding.window is 2"),
        ("encoding.more", 2, "more"),
        ("thresholds", [0.3], "thresholds"),
        ("thresholds.fixed", None, "thresholds.fixed"),
        ("thresholds.fixed", 1.5, "thresholds.fixed is 1.5"),
        ("thresholds.tuned", [0.3], "thresholds.tuned"),
        ("thresholds.tuned.tiny", [0.3] * 4, "thresholds.tuned.tiny: expected 5 numbers"),
        ("thresholds.tuned.tiny", [0.3] * 4 + ["x"], "thresholds.tuned.tiny holds something"),
        ("thresholds.tuned.tiny", [0.3] * 4 + [2], "thresholds.tuned.tiny is 2"),
        ("thresholds.tuned.ekman", [0.3], "no such level"),
        ("calibration.slope", [1.0], "calibration.slope: expected 5"),
        ("calibration.texts", None, "texts"),
        ("match.bias", [1.0], "match.bias: expected 5"),
        ("scores", "best", "scores = 'best'; there are emotion, match, mean"),
        ("unknown", 1, "unknown"),
    ],
)
def test_a_model_json_that_is_wrong(key: str, value: Any, said: str, light: Path) -> None:
    path = light / "model.json"
    content = json.loads(path.read_text("utf-8"))
    change(key, value)(content)
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(DataError) as raised:
        Predictor.load(light)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert said in message
    assert "emodef export" in message or "install a matching" in message


def test_refused_when_made() -> None:
    with pytest.raises(DataError, match=r"match\.bias"):
        ModelInfo(LABELS, Encoding(0), match=MatchInfo("{name}", 1.0, (1.0,)))
    with pytest.raises(DataError, match=r"thresholds\.fixed"):
        ModelInfo(LABELS, Encoding(0), thresholds={})


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "model.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "other", "folder"])
def test_a_damaged_file_is_named_with_the_remedy(name: str, damage: str, light: Path) -> None:
    path = light / name
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes(
            {"cut": content[: len(content) // 2], "empty": b"", "other": b"\xff\x00 something"}[damage]
        )
    with pytest.raises(DataError) as raised:
        Predictor.load(light)
    assert str(path) in str(raised.value)
    assert "emodef export" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_files_of_different_models(light: Path, tmp_path: Path) -> None:
    fewer = replace(
        LABELS, names=LABELS.names[:4], definitions=LABELS.definitions[:4], mappings={}, coarse={}
    )
    other = build_tiny_light(tmp_path / "other", fewer, calibration=None, match=None)
    shutil.copy(other / "model.onnx", light / "model.onnx")
    with pytest.raises(DataError, match=r"gives 4 probabilities .* 5 labels"):
        Predictor.load(light)
    for name, said in (
        ("probabilities", "no output 'probabilities'"),
        ("definition", "no output 'definition'"),
    ):
        graph = onnx.load(build_tiny_light(light) / "model.onnx")
        outputs = [output for output in graph.graph.output if output.name != name]
        del graph.graph.output[:]
        graph.graph.output.extend(outputs)
        onnx.save(graph, light / "model.onnx")
        with pytest.raises(DataError, match=said):
            Predictor.load(light)
    graph = onnx.load(build_tiny_light(light) / "model.onnx")
    graph.graph.input[1].name = "shown"
    for node in graph.graph.node:
        node.input[:] = ["shown" if i == "attention_mask" else i for i in node.input]
    onnx.save(graph, light / "model.onnx")
    with pytest.raises(DataError, match="inputs"):
        Predictor.load(light)


def test_int32_inputs(light: Path) -> None:
    expected = Predictor.load(light).predict_proba(["I am happy"])
    graph = onnx.load(light / "model.onnx")
    for given in graph.graph.input:
        given.type.tensor_type.elem_type = onnx.TensorProto.INT32
    onnx.save(graph, light / "model.onnx")
    assert (Predictor.load(light).predict_proba(["I am happy"]) == expected).all()


def test_the_folder_is_found(tiny_light: Path, tmp_path: Path) -> None:
    assert find(tiny_light) == tiny_light
    run = tmp_path / "run"
    shutil.copytree(tiny_light, run / "light")
    (run / "settings.json").write_text("{}")
    assert find(run) == run / "light"
    assert Predictor.load(run).label_set == LABELS
    shutil.rmtree(run / "light")
    with pytest.raises(DataError, match=f"no light model yet; write it with: emodef export {run}"):
        find(run)
    with pytest.raises(DataError, match="no such folder"):
        find(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no light model"):
        find(tmp_path)

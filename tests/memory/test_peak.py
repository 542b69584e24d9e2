"""The peak of memory is that since it was last forgotten."""

import subprocess
import sys
from pathlib import Path

import pytest

CLEARS = Path("/proc/self/clear_refs").exists()

# In a process of its own: where other tests have freed as much, an allocation raises no peak.
ALLOCATES = """
import torch
from spikesight.memory import PeakMemory

peak = PeakMemory(torch.device("cpu"))
before = peak.bytes()
large = torch.ones(30_000_000)
assert peak.bytes() - before > 100e6
del large
peak.restart()
assert peak.bytes() - before < 100e6
"""


@pytest.mark.skipif(not CLEARS, reason="only Linux forgets a peak")
def test_the_peak_is_seen_and_forgotten() -> None:
    subprocess.run([sys.executable, "-c", ALLOCATES], check=True)

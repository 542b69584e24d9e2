"""The peak of memory is that since it was last forgotten."""

from pathlib import Path

import pytest
import torch

from spikesight.memory import PeakMemory

CLEARS = Path("/proc/self/clear_refs").exists()


@pytest.mark.skipif(not CLEARS, reason="only Linux forgets a peak")
def test_the_peak_is_seen_and_forgotten() -> None:
    peak = PeakMemory(torch.device("cpu"))
    before = peak.bytes()
    large = torch.ones(30_000_000)
    assert peak.bytes() - before > 100e6
    del large
    peak.restart()
    assert peak.bytes() - before < 100e6

"""The comparison with SpikingJelly's profilers and NeuroBench's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmark_scripts import load_script


def test_synaptic_operations_are_those_of_others(tmp_path: Path) -> None:
    pytest.importorskip("spikingjelly")
    pytest.importorskip("loguru")
    pytest.importorskip("neurobench")
    script = load_script("energy_checks")
    script.main(["--size=16", "--images=1", f"--write={tmp_path / 'checks.md'}"])
    text = (tmp_path / "checks.md").read_text()
    assert "the same in 27 of 27 layers" in text
    rows = [line.split(" | ") for line in text.splitlines() if " | 1, 1 | " in line]
    assert len(rows) == 8
    for row in rows:
        assert row[6] == row[7].rstrip(" |")

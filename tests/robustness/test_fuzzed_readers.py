"""Damaged inputs of every reader end in an error that names the file or field, or are read.

2,000 inputs in the ordinary tests, 20,000 others in the nightly ones; see `fuzzing`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.robustness.fuzzing import faults, fuzz, readers

READERS = readers()
_PARTS = 4

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux bounds the memory of a process"
)


@pytest.mark.parametrize("name", READERS)
def test_damaged_inputs(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    assert faults(fuzz(reader, 0, reader.cases(2000), tmp_path)) == []


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(_PARTS))
@pytest.mark.parametrize("name", READERS)
def test_more_damaged_inputs(name: str, part: int, tmp_path: Path) -> None:
    reader = READERS[name]
    count = reader.cases(20_000 // _PARTS)
    assert faults(fuzz(reader, 1_000_000 + part * count, count, tmp_path)) == []

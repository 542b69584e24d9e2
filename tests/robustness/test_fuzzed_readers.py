"""Damaged inputs of every reader end in an error that names the file or field, or are read.

2,000 inputs in the ordinary tests, 20,000 others in the nightly ones; see `fuzzing`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.robustness.fuzzing import readers

READERS = readers()
_PARTS = 4


@pytest.mark.parametrize("name", READERS)
def test_sound_input_is_read(name: str, tmp_path: Path) -> None:
    READERS[name].sound(tmp_path).read()

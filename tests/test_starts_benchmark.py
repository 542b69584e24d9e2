"""The study of slow starts: its rows, and what integer neurons round off."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from tests.benchmark_scripts import load_script

starts = load_script("starts")


@pytest.mark.parametrize("setting", list(starts.SETTINGS))
def test_every_row_is_a_run_that_can_be(setting: str) -> None:
    options = argparse.Namespace(cifar="cifar", fashion="fashion", updates=20)
    chosen = starts.SETTINGS[setting]
    for row in chosen.rows.values():
        config = starts.configuration(chosen, row, 3, options, Path("unused"))
        assert config.seed == 3
        assert (config.model.neuron == "relu") == row.twin


def test_less_is_rounded_off_at_a_gain_that_fills_the_levels() -> None:
    shares = [starts.rounded_off(4, gain) for gain in (1.0, 2.0, 4.0)]
    assert shares == pytest.approx([0.122, 0.046, 0.226], abs=1e-3)

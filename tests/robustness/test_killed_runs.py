"""A run that is killed at any moment goes on and computes the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.robustness.killing import TASKS, kill_task


@pytest.mark.parametrize("task", TASKS)
def test_a_killed_run_computes_the_same_bits(task: str, tmp_path: Path) -> None:
    assert kill_task(task, 1, tmp_path, seed=1) == 1


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(5))
@pytest.mark.parametrize("task", TASKS)
def test_often_killed_runs_compute_the_same_bits(task: str, part: int, tmp_path: Path) -> None:
    """200 deaths over the four tasks."""
    assert kill_task(task, 10, tmp_path, seed=100 + part) == 10

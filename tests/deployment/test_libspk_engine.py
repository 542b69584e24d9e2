"""The engine of libspk against its reference, which runs every node by itself in 64 bits."""

import subprocess
from pathlib import Path

import pytest

from spikesight.deployment.spk.file import write_spk
from tests.deployment.libspk_programs import program
from tests.deployment.random_networks import case, drawn


def _compare(folder: Path, seeds: tuple[int, ...]) -> str:
    files = []
    for seed in seeds:
        one = case(**drawn(seed))
        assert one is not None
        files.append(folder / f"{seed}.spk")
        write_spk(one.network.graph, files[-1])
    done = subprocess.run(
        [program("spk-test-engine"), *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# Of seed 4 without time, of 2 with three time steps; 5 and 10 are segmenters, 6 has gates.
@pytest.mark.parametrize("seed", [2, 4, 5, 6])
def test_counts_sums_and_states_are_those_of_the_reference(seed: int, tmp_path: Path) -> None:
    assert f"{seed}.spk: 0 differing" in _compare(tmp_path, (seed,))


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(20, 120, 10))
def test_counts_are_those_of_the_reference_over_many_draws(first: int, tmp_path: Path) -> None:
    seeds = range(first, first + 10)
    _compare(tmp_path, tuple(seed for seed in seeds if case(**drawn(seed)) is not None))

"""Every kernel of libspk against sums in 64 bits, by a program in C++."""

import subprocess

import pytest

from tests.deployment.libspk_programs import program

CASES, SEED = 150, 7


def tallies(kernels: str) -> dict[str, tuple[int, int]]:
    """How often each form ran, and how many integers differed."""
    done = subprocess.run(
        [program("spk-test-kernels"), kernels, str(CASES), str(SEED)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 2:
        pytest.skip(done.stderr)
    found = {}
    for line in done.stdout.splitlines():
        form, _, numbers = line.rpartition(": ")
        words = numbers.split()
        if words[1:2] == ["ran,"]:
            found[form] = (int(words[0]), int(words[4]))
    assert done.returncode == 0, done.stdout
    return found


@pytest.mark.parametrize(
    ("kernels", "forms"),
    [
        ("generic", {"generic"}),
        ("avx2", {"dense", "sparse", "winograd", "depthwise", "generic"}),
    ],
)
def test_every_form_sums_fires_and_writes_what_it_must(kernels: str, forms: set[str]) -> None:
    found = tallies(kernels)
    assert set(found) == forms | {"attention", "finish"}
    for form, (runs, differing) in found.items():
        assert runs > 0, form
        assert differing == 0, form

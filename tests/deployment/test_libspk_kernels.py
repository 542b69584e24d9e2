"""Every kernel of libspk against sums in 64 bits, by a program in C++."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES, SEED = 150, 7


@pytest.fixture(scope="module")
def program() -> Path:
    """The test program, built where libspk is built by hand too, so that it is built once."""
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.skip("needs cmake and a C++ compiler")
    build = ROOT / "build" / "libspk"
    configure = ["cmake", "-S", str(ROOT / "native" / "libspk"), "-B", str(build)]
    subprocess.run(configure, check=True, capture_output=True)
    make = ["cmake", "--build", str(build), "--target", "kernels_test"]
    subprocess.run(make, check=True, capture_output=True)
    return build / "kernels_test"


def tallies(program: Path, kernels: str) -> dict[str, tuple[int, int]]:
    """How often each form ran, and how many integers differed."""
    done = subprocess.run(
        [program, kernels, str(CASES), str(SEED)], capture_output=True, text=True, check=False
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
def test_every_form_sums_fires_and_writes_what_it_must(
    program: Path, kernels: str, forms: set[str]
) -> None:
    found = tallies(program, kernels)
    assert set(found) == forms | {"attention", "finish"}
    for form, (runs, differing) in found.items():
        assert runs > 0, form
        assert differing == 0, form

"""Every kernel of libspk against sums in 64 bits, by a program in C++."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deployment.libspk_programs import program

CASES, SEED = 150, 7
LIBSPK = Path(__file__).parents[2] / "native" / "libspk"
FILES = {"sum_products": "avx512_products.cpp", "finish": "avx512_finish.cpp"}
OF_AVX2 = {"dense", "sparse", "winograd", "depthwise", "generic"}


def tallies(*command: str) -> dict[str, tuple[int, int]]:
    """How often each form ran, and how many integers differed."""
    done = subprocess.run(
        [*command, str(CASES), str(SEED)], capture_output=True, text=True, check=False
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


def assert_exact(found: dict[str, tuple[int, int]], forms: set[str]) -> None:
    assert set(found) == forms | {"attention", "finish"}
    for form, (runs, differing) in found.items():
        assert runs > 0, form
        assert differing == 0, form


@pytest.mark.parametrize(
    ("target", "kernels", "forms"),
    [
        ("spk-test-kernels", "generic", {"generic"}),
        ("spk-test-kernels", "avx2", OF_AVX2),
        ("spk-test-kernels", "avx512", OF_AVX2),
        ("spk-test-kernels", "amx", OF_AVX2 | {"tiles"}),
        ("spk-test-emulated-kernels", "avx512", OF_AVX2),
        ("spk-test-emulated-kernels", "amx", OF_AVX2 | {"tiles"}),
    ],
)
def test_every_form_sums_fires_and_writes_what_it_must(
    target: str, kernels: str, forms: set[str]
) -> None:
    assert_exact(tallies(str(program(target)), kernels), forms)


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("name", ["sum_products", "finish"])
def test_what_is_compiled_for_avx512_is_shared_with_no_other_file(
    name: str, compiler: str, tmp_path: Path
) -> None:
    if not all(map(shutil.which, (compiler, "nm"))):
        pytest.skip(f"reads what {compiler} made")
    flags = re.findall(r"-mavx512\w+", (LIBSPK / "CMakeLists.txt").read_text())
    source, made = LIBSPK / "kernels" / FILES[name], tmp_path / "made.o"
    command = [compiler, "-std=c++17", "-O3", *flags, f"-I{LIBSPK}", "-c", source, "-o", made]
    strict = ["-Wall", "-Wextra", "-Werror", "-Wno-psabi"]
    done = subprocess.run([*command, *strict], capture_output=True, text=True, check=False)
    if "unrecognized command" in done.stderr or "unsupported option" in done.stderr:
        pytest.skip("another processor")
    assert done.returncode == 0, done.stderr
    said = subprocess.run(["nm", "-C", made], check=True, capture_output=True, text=True).stdout
    (public,) = [symbol for symbol in said.splitlines() if re.search(" [A-Zuvw] ", symbol)]
    assert f"spk::avx512::{name}" in public


@pytest.mark.nightly
def test_kernels_of_arm_do_so_on_an_emulated_processor() -> None:
    emulator = shutil.which("qemu-aarch64-static")
    if emulator is None:
        pytest.skip("emulates ARM; install qemu-user-static")
    built = program(
        "spk-test-kernels",
        CMAKE_CXX_COMPILER="aarch64-linux-gnu-g++",
        CMAKE_SYSTEM_NAME="Linux",
        CMAKE_SYSTEM_PROCESSOR="aarch64",
    )
    found = tallies(emulator, "-L", "/usr/aarch64-linux-gnu", str(built), "neon")
    assert_exact(found, {"dense", "generic"})


@pytest.mark.nightly
def test_kernels_touch_no_memory_of_others() -> None:
    flags = "-O1 -fsanitize=address,undefined -fno-sanitize-recover=all"
    built = program("spk-test-kernels", CMAKE_BUILD_TYPE="Sanitized", CMAKE_CXX_FLAGS=flags)
    tallies(str(built), "generic")
    tallies(str(built), "avx2")

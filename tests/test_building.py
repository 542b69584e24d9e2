"""What is built of C++, and what is installed with and without it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from spikesight.commands.recipes import read_model_card
from tests.deployment.libspk_programs import program

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("scikit_build_core") is None or shutil.which("cmake") is None,
    reason="needs CMake and scikit-build-core",
)
LIBRARIES = {f"spikesight/native/lib{name}.so.1" for name in ("spikesight", "spk")}


def build(kind: str, folder: Path, **environment: str) -> tuple[Path, str]:
    """The built file, and what was said meanwhile."""
    program = f"from scikit_build_core.build import *; build_{kind}({str(folder)!r})"
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=os.environ | environment, check=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ).stdout  # fmt: skip
    (file,) = folder.iterdir()
    return file, said


def sources() -> set[str]:
    files = (f for f in (ROOT / "src").rglob("*") if f.is_file() and f.parent.name != "__pycache__")
    return {str(file.relative_to(ROOT / "src")) for file in files} - LIBRARIES


def shipped() -> dict[str, Path]:
    """What comes along, by its place in a wheel: of the weights those that may travel."""
    files = [file for file in (ROOT / "configs").rglob("*") if file.is_file()]
    for folder in (ROOT / "weights").iterdir():
        if read_model_card(folder)[0]["license"] != "other":
            files += folder.iterdir()
    return {f"spikesight/shipped/{file.relative_to(ROOT)}": file for file in files}


def installed(wheel: Path) -> set[str]:
    """Without what pip wants to know; commands by their names."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    return {name.partition(".data/scripts/")[2] or name for name in names}


def test_without_a_compiler_a_wheel_has_all_of_python_and_says_so(tmp_path: Path) -> None:
    wheel, said = build("wheel", tmp_path, CXX="no-such-compiler")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert installed(wheel) == sources() | shipped().keys()
    with zipfile.ZipFile(wheel) as archive:
        assert all(archive.read(name) == file.read_bytes() for name, file in shipped().items())
        assert sum(archive.getinfo(name).compress_size for name in shipped()) < 5e6
        assert "spikesight/py.typed" in archive.namelist()
    assert "goes without native kernels: they could not be compiled" in said


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform != "linux", reason="names of Linux")
def test_a_wheel_adds_the_libraries_and_spk_run_alone(tmp_path: Path) -> None:
    wheel, _ = build("wheel", tmp_path, SKBUILD_CMAKE_BUILD_TYPE="Debug")
    assert "-py3-none-linux_" in wheel.name
    assert installed(wheel) == sources() | shipped().keys() | LIBRARIES | {"spk-run"}


def test_a_source_distribution_has_what_it_is_built_from(tmp_path: Path) -> None:
    file, _ = build("sdist", tmp_path)
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    native = (f for f in (ROOT / "native").rglob("*") if f.is_file())
    wanted = {f"src/{name}" for name in sources()} | {str(f.relative_to(ROOT)) for f in native}
    wanted |= {str(file.relative_to(ROOT)) for file in shipped().values()}
    assert wanted <= names
    weights = {name.split("/")[1] for name in names if name.startswith("weights/")}
    assert weights == {file.parent.name for file in shipped().values() if file.suffix == ".json"}
    assert not names & {f"src/{name}" for name in LIBRARIES}


@pytest.mark.nightly
@pytest.mark.skipif(not shutil.which("pkg-config") or not shutil.which("gcc"), reason="for C")
@pytest.mark.parametrize("linked", ["shared", "static"])
def test_libspk_alone_serves_a_program_in_c(linked: str, tmp_path: Path) -> None:
    for target in ("spk", "spk_static", "spk-run"):
        folder = program(target).parent
    subprocess.run(["cmake", "--install", folder, "--prefix", tmp_path], check=True)
    if linked == "static":
        for library in tmp_path.glob("lib*/**/libspk.so*"):
            library.unlink()
    (described,) = tmp_path.glob("lib*/**/spk.pc")
    environment = os.environ | {"PKG_CONFIG_PATH": str(described.parent)}
    asked = ["pkg-config", "--cflags", "--libs", *["--static"][linked == "shared" :], "spk"]
    flags = subprocess.run(
        asked, env=environment, check=True, capture_output=True, text=True
    ).stdout
    source = tmp_path / "main.c"
    source.write_text(
        "#include <spk.h>\n#include <stdio.h>\n"
        "int main(void) { puts(spk_kernels()); return spk_interface() != SPK_INTERFACE; }\n"
    )
    strict = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    path = f"-Wl,-rpath,{described.parents[1]}"
    subprocess.run(
        ["gcc", *strict, source, "-o", tmp_path / "main", *flags.split(), path], check=True
    )
    said = subprocess.run([tmp_path / "main"], check=True, capture_output=True, text=True).stdout
    assert said.split()[-1] == "reference"

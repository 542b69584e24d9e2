"""libspk on another processor: compiled for 64-bit ARM and run by an emulator."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import spikesight as ss
from tests.conftest import wake
from tests.deployment.libspk_programs import program

EMULATOR = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
# No set of x86 is compiled, and NEON belongs to every processor of this kind.
ARM = {
    "CMAKE_SYSTEM_NAME": "Linux",
    "CMAKE_SYSTEM_PROCESSOR": "aarch64",
    "CMAKE_CXX_COMPILER": "aarch64-linux-gnu-g++",
}


@pytest.mark.nightly
@pytest.mark.skipif(EMULATOR is None, reason="emulates ARM; install qemu-user-static")
def test_golden_vectors_hold_on_arm(tmp_path: Path) -> None:
    command = program("spk-run", **ARM)
    torch.manual_seed(0)
    model = ss.create_model("metaspikformer_nano", num_classes=5, steps=2, levels=2)
    x = torch.rand(4, 3, 32, 32) * 4 - 1
    network = ss.deploy(wake(model, x), x)
    network.save(tmp_path / "net.spk")
    network.export(tmp_path / "net.c")
    for kernels in told(command, "--version").rpartition(": ")[2].split():
        told(
            command, tmp_path / "net.spk", "--golden", tmp_path / "net.golden",
            "--kernels", kernels, "--threads", "2",
        )  # fmt: skip


def told(*words: str | Path) -> str:
    assert EMULATOR is not None
    done = subprocess.run([EMULATOR, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

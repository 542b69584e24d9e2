"""What a release says of itself is said alike everywhere, and its workflows may do little."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import spikesight as ss
from tests.release_check import steps

ROOT = Path(__file__).parents[1]
WORKFLOWS = {
    file.name: yaml.safe_load(file.read_text(encoding="utf-8"))
    for file in (ROOT / ".github" / "workflows").glob("*.yml")
}
JOBS = {(name, job): of for name, flow in WORKFLOWS.items() for job, of in flow["jobs"].items()}

USER_CODE = """
from pathlib import Path

import torch

import spikesight as ss


def build(folder: Path) -> tuple[torch.Tensor, int]:
    model = ss.create_model("metaspikformer_nano", num_classes=10, in_channels=1)
    images = torch.rand(2, 1, 28, 28)
    comparison = ss.verify(model, images)
    net = ss.deploy(model, images)
    net.save(folder / "net.spk")
    model.save_pretrained(folder)
    loaded: ss.SpikingModel = ss.load(folder)
    print(ss.energy(loaded, images).table(), ss.list_models("*_nano"))
    return net(images), comparison.mismatches


class Net(ss.SpikingModel):
    def __init__(self) -> None:
        super().__init__()
        self.conv = ss.ConvNorm(3, 8, 3)
        self.neuron = ss.create_neuron("i_lif", levels=4)


@ss.register_model
def my_net(num_classes: int = 10) -> Net:
    return Net()


reveal_type(ss.load("x"))
"""


def test_the_version_is_said_alike() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (heading, *_) = re.findall(r"^## (\S+)", changes, re.M)
    assert ss.__version__ == citation["version"] == heading


def test_workflows_may_read_and_one_job_may_show_who_it_is() -> None:
    assert {str(flow["permissions"]) for flow in WORKFLOWS.values()} == {"{'contents': 'read'}"}
    more = {place: job["permissions"] for place, job in JOBS.items() if "permissions" in job}
    assert more == {
        ("release.yml", "publish"): {"id-token": "write"},
        ("docs.yml", "publish"): {"id-token": "write", "pages": "write"},
    }
    for flow in WORKFLOWS.values():
        starts = flow[True]  # YAML 1.1 reads "on" so
        assert "pull_request_target" not in starts
        assert "secrets" not in str(flow)


@pytest.mark.parametrize("place", JOBS, ids="/".join)
def test_what_a_job_uses_is_pinned(place: tuple[str, str]) -> None:
    job: dict[str, Any] = JOBS[place]
    assert "uses" in job or "timeout-minutes" in job
    for step in [job, *job.get("steps", [])]:
        used = step.get("uses", "./")
        assert used.startswith("./") or re.fullmatch(r"[\w.-]+/[\w.-]+@v\d[\d.]*", used)
        if used.startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        # What strangers choose, such as the name of a branch, must not become a shell's words.
        assert "${{" not in step.get("run", "")


def test_paths_of_the_security_policy_exist() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for name in re.findall(r"`((?:src|native|docs)/[^`]*)`", text):
        assert (ROOT / name).exists()
    assert "@" not in text


def test_the_check_of_a_release_meets_every_extra_that_a_command_needs() -> None:
    said = " ".join(step.says for step in steps(ss.__version__, ()))
    assert set(re.findall(r"spikesight\\\[(\w+)", said)) == {"app", "deploy", "video"}


@pytest.mark.nightly
def test_code_of_users_is_typed(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER_CODE)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent",
         "--cache-dir", tmp_path / "cache", "user.py"],
        cwd=tmp_path, env=os.environ | {"MYPYPATH": str(ROOT / "src")}, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert 'Revealed type is "spikesight.models.base.SpikingModel"' in done.stdout

"""Models go to a hub and come back; what a hub has wrong is said in a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import spikesight as ss
from spikesight.files.hub import is_hub_id
from tests.files.fake_hub import FakeHub, fake_hub

ROOT = Path(__file__).parents[2]
SAVED = ("config.json", "model.safetensors", "run.json")
CALIBRATION = "calibration.safetensors"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    with fake_hub() as served:
        weights = ROOT / "weights" / "cifar10_tiny_4bit"
        files = {name: (weights / name).read_bytes() for name in (*SAVED, CALIBRATION)}
        for name in ("me/photos", "me/cut", "me/changed", "me/gated"):
            served.models[name] = dict(files)
        served.models["me/photos"]["huge.bin"] = b"of no use here"
        served.models["me/other"] = {"pytorch_model.bin": b"of another library"}
        served.spoilt = {"me/cut": "cut", "me/changed": "changed"}
        served.gated = {"me/gated"}
        yield served


def run(hub: FakeHub, folder: Path, code: str, **environment: str) -> dict[str, str]:
    """What a fresh Python, which knows this hub alone, prints as JSON."""
    known = {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(folder / "hf"),
        "HF_TOKEN": "hf_test",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "*",
        "PYTHONPATH": str(ROOT / "src"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=os.environ | known | environment,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return said


ROUND = """
import json, torch, numpy, PIL.Image
import spikesight as ss
from spikesight.commands.parser import main
from spikesight.deployment.digest import full_digest_of
from spikesight.deployment.network import Deployed

noise = numpy.random.default_rng(0).integers(0, 256, (60, 80, 3), numpy.uint8)
PIL.Image.fromarray(noise).save("noise.png")
x = torch.rand(1, 3, 32, 32)
before = ss.load("me/photos")
address = before.push_to_hub("me/again", packed=True)
after = ss.load("me/again")
outputs = [model(x).tolist() for model in (before, after)]
codes = [main(["predict", f"me/{name}", "noise.png", f"--output={name}.csv"])
         for name in ("photos", "again")]
codes += [main(["deploy", f"me/{name}", f"{name}.spk"]) for name in ("photos", "again")]
integers = [full_digest_of(Deployed.load(f"{name}.spk").graph) for name in ("photos", "again")]
tables = [open(f"{name}.csv").read() for name in ("photos", "again")]
print(json.dumps({"address": address, "same": outputs[0] == outputs[1] and tables[0] == tables[1],
                  "codes": codes, "integers": len(set(integers))}))
"""


def test_a_model_goes_there_and_comes_back(hub: FakeHub, tmp_path: Path) -> None:
    said = run(hub, tmp_path, ROUND)
    address = f"{hub.address}/me/again"
    assert said == {"address": address, "same": True, "codes": [0] * 4, "integers": 1}
    sent = hub.models["me/again"]
    assert sent.keys() == {*SAVED, CALIBRATION, "README.md"}
    assert sent["model.safetensors"] == hub.models["me/photos"]["model.safetensors"]
    assert sent[CALIBRATION] == hub.models["me/photos"][CALIBRATION]
    assert b'ss.load("me/again")' in sent["README.md"]
    card = json.loads(sent["run.json"])
    assert card["data"] is card["metrics"] is None  # paths and figures stay here
    assert card["preprocessing"]["image_size"] == 32
    wanted = [
        f"me/{model}/{name}" for model in ("photos", "again") for name in (*SAVED, CALIBRATION)
    ]
    assert sorted(hub.asked) == sorted(wanted)


ERRORS = """
import json
import spikesight as ss
said = {}
for name in ("cut", "changed", "gated", "none", "other", "photos"):
    try:
        ss.load(f"me/{name}")
    except Exception as error:
        said[name] = f"{type(error).__name__}: {error}"
try:
    ss.create_model("metaspikformer_nano").push_to_hub("me/refused")
except ss.errors.UserError as error:
    said["push"] = str(error)
print(json.dumps(said))
"""


def test_what_is_wrong_there_is_said(hub: FakeHub, tmp_path: Path) -> None:
    said = run(hub, tmp_path, ERRORS, HF_TOKEN="hf_wrong")
    assert said.keys() == {"cut", "changed", "gated", "none", "other", "push"}
    assert all("\n" not in sentence for sentence in said.values())
    assert said["cut"].startswith("FileError: me/cut: a file came from the hub shorter")
    assert "me/changed: model.safetensors is not what the hub has" in said["changed"]
    assert "its owner wants to be asked" in said["gated"]
    assert "me/none is no folder here" in said["none"]
    assert "there is no such model" in said["none"]
    assert "me/other on the hub has no config.json" in said["other"]
    assert "me/refused could not be put on the hub" in said["push"]
    assert not any(path.startswith("me/other") for path in hub.asked)


def test_without_a_network_the_cache_answers(hub: FakeHub, tmp_path: Path) -> None:
    code = """
import json, spikesight as ss
said = {}
for name in ("photos", "never"):
    try:
        said[name] = ss.load(f"me/{name}").recipe["name"]
    except FileNotFoundError as error:
        said[name] = str(error)
print(json.dumps(said))
"""
    assert run(hub, tmp_path, code)["photos"] == "metaspikformer_tiny"
    said = run(hub, tmp_path, code, HF_HUB_OFFLINE="1")
    assert said["photos"] == "metaspikformer_tiny"
    assert "the hub cannot be reached" in said["never"]


def test_paths_are_never_asked_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    assert is_hub_id("me/photos")
    for path in ("runs/x", "weights/x", "mine/photos", "./photos", "a/b/c", "/photos", "me/"):
        assert not is_hub_id(path), path
    with pytest.raises(FileNotFoundError, match=r"mine/photos has no config\.json"):
        ss.load("mine/photos")

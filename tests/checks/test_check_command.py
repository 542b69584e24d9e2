"""`spikesight check`: files, folders, names, mistakes and exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from PIL import Image

import spikesight as ss
from spikesight.commands.parser import main

PAGE = Path(__file__).parents[2] / "docs" / "check.md"
FILE = """
import torch
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))

def pair():
    return build(), torch.rand(2, 3, 8, 8)

def needs(width):
    return build()

def fails():
    raise KeyError("nothing")

def number():
    return 3

net = build()
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"net_{tmp_path.name.replace('-', '_')}.py"
    path.write_text(FILE)
    return path


def test_the_page_prints_what_its_network_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    (code,) = [text for language, text in blocks if language == "python"]
    (table,) = [text for language, text in blocks if language == "text"]
    monkeypatch.chdir(tmp_path)
    Path("net_of_the_page.py").write_text(code)
    assert main(["check", "net_of_the_page.py:build"]) == 1

    def without_numbers(text: str) -> str:
        return " ".join(re.sub(r"[\d.]+", "#", text).replace("-", "").split())

    captured = capsys.readouterr()
    assert without_numbers(captured.out) == without_numbers(table)
    assert captured.err.startswith("error: 4 findings")


@pytest.mark.parametrize(
    "words",
    [
        [":build", "--input-shape=2,3,8,8"],
        [":build", "--input_shape", "[2, 3, 8, 8]"],
        [":net", "--input-shape=2x3x8x8"],
        [":pair"],
        [":pair", "--axes=B"],
        [":pair", "--photos=photos", "--images=2"],
    ],
)
def test_what_is_sound_leaves_with_0(
    file: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("photos").mkdir()
    for number in range(3):
        Image.new("RGB", (9, 12), (number, 9, 200)).save(f"photos/{number}.png")
    assert main(["check", f"{file}{words[0]}", *words[1:]]) == 0
    assert "no synapse of 2 reads spikes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([":nothing"], "it has build, pair, needs, fails, number"),
        ([":needs"], "takes arguments"),
        ([":fails"], "fails with KeyError"),
        ([":number"], "have it return a torch.nn.Module"),
        ([":build"], "pass --input-shape=4,3,32,32"),
        ([":build", "--input-shape=a,b"], "pass whole numbers"),
        ([":build", "--input-shape=2,0,8,8"], "pass whole numbers"),
        ([":build", "--input-shape=2,4,8,8"], "pass an example that it takes"),
        ([":build", "--input-shape=8,8", "--photos=."], "photos are [B, 1 or 3, H, H]"),
        (["x:build"], "there is no file"),
        (["x"], "a name that spikesight models lists"),
    ],
)
def test_mistakes_leave_with_2_and_one_line(
    file: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", f"{file}{words[0]}", *words[1:]]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line


def test_a_registered_model_and_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    assert main(["check", "spikformer_nano", "--input_shape=2,3,16,16"]) in (0, 1)
    assert "no sample changes another" in capsys.readouterr().out
    model = ss.create_model("spikformer_nano", num_classes=3)
    model.save_pretrained(tmp_path / "saved")
    assert main(["check", str(tmp_path / "saved"), "--input-shape=2,3,16,16"]) in (0, 1)
    assert "no sample changes another" in capsys.readouterr().out

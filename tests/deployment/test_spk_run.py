"""spk-run answers as Python does, without it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import spikesight as ss
from spikesight.data import Preprocessing
from tests.conftest import wake

_BUILT = [
    *(Path(__file__).parents[2] / "build").glob("libspk/spk-run"),
    *(Path(__file__).parents[2] / "build").glob("native/libspk/spk-run"),
]
_COMMAND = str(_BUILT[0]) if _BUILT else shutil.which("spk-run")

pytestmark = pytest.mark.skipif(_COMMAND is None, reason="spk-run was not built")

_STEPS = Preprocessing(
    16, 3, (0.49, 0.48, 0.45), (0.25, 0.24, 0.26), 0.875, ("cat", "dog", 'a "b"', "d", "e")
)


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    assert _COMMAND is not None
    return subprocess.run([_COMMAND, *map(str, words)], capture_output=True, text=True, check=False)


def answers(*words: str | Path) -> dict[str, Any]:
    done = run(*words, "--json")
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> tuple[ss.Deployed, Path]:
    torch.manual_seed(0)
    model = ss.create_model("metaspikformer_nano", num_classes=5, steps=2, neuron="lif")
    x = torch.randn(4, 3, 16, 24)
    net = ss.deploy(wake(model, x), x)
    net.card = json.dumps({"preprocessing": _STEPS.to_dict()})
    file = tmp_path_factory.mktemp("network") / "net.spk"
    net.save(file)
    return net, file


Net = tuple[ss.Deployed, Path]


def _logits(said: dict[str, Any]) -> Tensor:
    (output,) = said["outputs"]
    return torch.tensor(output["logits"]).view(output["shape"])


@pytest.mark.parametrize("kernels", ["reference", None])
@pytest.mark.parametrize(("size", "mode"), [((16, 16), "RGB"), ((37, 50), "RGB"), ((9, 70), "L")])
def test_a_photo(
    deployed: Net, size: tuple[int, int], mode: str, kernels: str | None, tmp_path: Path
) -> None:
    net, file = deployed
    shape = (*size, 3) if mode == "RGB" else size
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    smooth = Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    photo = tmp_path / ("a.ppm" if mode == "RGB" else "a.pgm")
    smooth.save(photo)
    x = _STEPS.batch_transform(_STEPS.read_file(photo)[None])
    said = answers(file, photo, *(["--kernels", kernels] if kernels else []))
    assert torch.equal(_logits(said), net(x))
    assert said["classes"] == list(_STEPS.classes)
    best = net(x)[0].argmax()
    assert _STEPS.classes[best] in run(file, photo).stdout.splitlines()[0]


def test_numbers(deployed: Net, tmp_path: Path) -> None:
    net, file = deployed
    x = torch.randn(3, 3, 16, 24)
    frames = torch.randn(2, 2, 3, 16, 8)
    np.save(tmp_path / "x.npy", x.numpy())
    np.save(tmp_path / "frames.npy", frames.numpy())
    x.numpy().tofile(tmp_path / "x.f32")
    assert torch.equal(_logits(answers(file, tmp_path / "x.npy")), net(x))
    assert torch.equal(_logits(answers(file, tmp_path / "x.f32")), net(x))
    assert torch.equal(_logits(answers(file, tmp_path / "frames.npy", "--frames")), net(frames))


def test_what_layers_do_and_how_long_it_takes(deployed: Net, tmp_path: Path) -> None:
    net, file = deployed
    x = torch.randn(1, 3, 16, 16)
    np.save(tmp_path / "x.npy", x.numpy())
    words = (file, tmp_path / "x.npy", "--observe", "--bench", "--rounds=2", "--threads=1")
    said = answers(*words)
    assert [layer["name"] for layer in said["neurons"]] == [n.name for n in net.graph.neurons]
    rates = [layer.firing_rate for layer in net.verify(x, against=()).layers]
    assert [layer["firing_rate"] for layer in said["neurons"]] == pytest.approx(rates, abs=1e-4)
    assert all(layer["microseconds"] >= 0 for layer in said["layers"])
    assert said["milliseconds"] >= said["fastest"] > 0
    assert said["start_up"] > 0
    shown = run(*words).stdout
    assert "firing rate" in shown
    assert "from file to first answer" in shown


def test_golden_vectors(deployed: Net, tmp_path: Path) -> None:
    net, file = deployed
    if shutil.which("gcc") is None:
        pytest.skip("there is no C compiler")
    net.export(tmp_path / "net.c", (16, 16))
    folder = tmp_path / "net.golden"
    done = run(file, "--golden", folder)
    assert done.returncode == 0, done.stderr
    assert "0 of" in done.stdout.splitlines()[-1]
    name = net.graph.neurons[3].name
    (changed,) = (f for f in folder.iterdir() if f.name.endswith(f"_{name}.hex"))
    head, first, *others = changed.read_text().splitlines()
    digit = "0" if first[1] == "1" else "1"
    changed.write_text("\n".join((head, first[0] + digit + first[2:], *others)) + "\n")
    done = run(file, "--golden", folder, "--json")
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["differing"] == said["layers"][name] == 1
    changed.write_text("\n".join((head, first)))
    done = run(file, "--golden", folder)
    assert done.returncode == 2
    assert "cut off" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "pass a network"),
        (("none.spk",), "none.spk"),
        (("NET", "none.ppm"), "none.ppm cannot be read"),
        (("NET", "--size", "15"), "not divisible by the stride"),
        (("NET", "--size", "0"), "--size"),
        (("NET", "--kernels", "none"), "are not here; pass one of"),
        (("NET", "--bench", "--nothing"), "no option --nothing"),
        (("NET", "--golden", "nowhere"), "no folder of golden vectors"),
        (("NET", "a", "b"), "a third file"),
    ],
)
def test_mistakes(deployed: Net, words: tuple[str, ...], message: str) -> None:
    done = run(*(str(deployed[1]) if word == "NET" else word for word in words))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.ppm", b""),
        ("short.ppm", b"P6 16 16 255\n" + bytes(100)),
        ("wide.ppm", b"P6 999999999999999999999 1 255\n"),
        ("deep.ppm", b"P6 16 16 65535\n" + bytes(2000)),
        ("text.ppm", b"P3 1 1 255\n1 2 3\n"),
        ("comment.pgm", b"P5 # a comment without an end"),
        ("short.npy", b"\x93NUMPY\x01\x00\xff\xff{"),
        ("shape.npy", b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, "),
        ("odd.f32", bytes(7)),
    ],
)
def test_damaged_inputs(deployed: Net, name: str, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    done = run(deployed[1], file)
    assert done.returncode == 2
    assert name in done.stderr

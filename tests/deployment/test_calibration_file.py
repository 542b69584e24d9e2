"""What a run recorded deploys it as its data would; what is damaged or of others is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import spikesight as ss
from spikesight.commands.parser import main
from spikesight.deployment.calibration_file import (
    measure_calibration,
    read_calibration,
    write_calibration,
)
from spikesight.deployment.digest import full_digest_of
from spikesight.errors import FileError, UserError
from spikesight.files.calibration import CALIBRATION
from spikesight.files.limits import CALIBRATION_BYTES
from spikesight.passes.calibration import Calibration
from tests.conftest import wake

SIZES = {"widths": [4, 4, 8, 8, 8], "depths": [0, 1, 0, 1, 0], "heads": 2, "mlp_ratio": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved model, and what was measured of it."""
    model = ss.create_model("metaspikformer_nano", num_classes=2, **SIZES)
    model = wake(model, inputs())
    model.save_pretrained(tmp_path / "model")
    measured = measure_calibration(ss.load(tmp_path / "model"), inputs().split(4))
    write_calibration(tmp_path / "model", measured)
    return tmp_path / "model"


def inputs() -> Tensor:
    return torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 4 - 1


def test_what_was_recorded_deploys_as_the_inputs_would(folder: Path) -> None:
    model = ss.load(folder)
    recorded = read_calibration(folder)
    assert recorded is not None
    noise = torch.randn(2, 3, 32, 32)
    fresh = ss.deploy(model, noise, calibration=inputs().split(4))
    again = ss.deploy(model, noise, calibration=recorded)
    assert full_digest_of(again.graph) == full_digest_of(fresh.graph)
    plain = ss.deploy(model, noise, calibration=[noise])
    assert full_digest_of(plain.graph) != full_digest_of(fresh.graph)


def deployed(folder: Path) -> str:
    """Digest of the integers that deployment makes of a folder, without inputs at hand."""
    noise = torch.zeros(1, 3, 32, 32)
    net = ss.deploy(ss.load(folder), noise, calibration=read_calibration(folder))
    return full_digest_of(net.graph)


def test_it_is_saved_with_the_model_again(folder: Path, tmp_path: Path) -> None:
    ss.load(folder).save_pretrained(tmp_path / "again")
    ss.load(tmp_path / "again").double().save_pretrained(tmp_path / "thrice")
    assert deployed(tmp_path / "again") == deployed(folder) == deployed(tmp_path / "thrice")
    ss.load(folder).save_pretrained(folder)
    assert deployed(folder) == deployed(tmp_path / "again")


def test_it_is_saved_with_the_same_weights_in_another_form(folder: Path, tmp_path: Path) -> None:
    model = ss.load(folder)
    model.save_pretrained(tmp_path / "half", half=True)
    wanted, kept = read_calibration(folder), read_calibration(tmp_path / "half")
    assert wanted is not None
    assert kept is not None
    assert wanted.peak == kept.peak
    assert all(
        torch.equal(wanted.mean_inputs[name], mean) for name, mean in kept.mean_inputs.items()
    )
    quantized = ss.quantize(model, 4)
    quantized.save_pretrained(tmp_path / "quantized")
    assert read_calibration(tmp_path / "quantized") is None
    measured = measure_calibration(ss.load(tmp_path / "quantized"), inputs().split(4))
    write_calibration(tmp_path / "quantized", measured)
    ss.load(tmp_path / "quantized").save_pretrained(tmp_path / "packed", packed=True)
    ss.load(tmp_path / "packed").save_pretrained(tmp_path / "packed_again")
    assert deployed(tmp_path / "packed_again") == deployed(tmp_path / "quantized")


def test_other_weights_leave_it_behind(folder: Path, tmp_path: Path) -> None:
    model = ss.load(folder)
    next(model.parameters()).data.mul_(1.01)
    model.save_pretrained(tmp_path / "changed")
    assert read_calibration(tmp_path / "changed") is None
    model.save_pretrained(folder)
    assert not (folder / CALIBRATION).exists()


def test_a_damaged_one_does_not_keep_a_model_from_loading(folder: Path, tmp_path: Path) -> None:
    (folder / CALIBRATION).write_bytes(b"damage")
    model = ss.load(folder)
    assert model.measured is None
    assert main(["convert", str(folder), str(tmp_path / "other"), "--half"]) == 2
    model.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved" / CALIBRATION).exists()


def test_other_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    ss.create_model("metaspikformer_nano", num_classes=2, **SIZES).save_pretrained(other)
    shutil.copy(folder / CALIBRATION, other)
    with pytest.raises(FileError, match="weights: it was measured with other weights; remove it"):
        read_calibration(other)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("peak", None, "peak: is no magnitude of inputs"),
        ("peak", torch.tensor([0.0]), "peak: is no magnitude of inputs"),
        ("peak", torch.ones(3), "peak: is no magnitude of inputs"),
        ("peak", torch.tensor([float("inf")]), "peak holds NaN, infinity"),
        ("mean_inputs.x", torch.ones(2, 2), "mean_inputs.x: is no mean of channels"),
        ("mean_inputs.x", torch.ones(2, dtype=torch.int64), "mean_inputs.x: is no mean"),
        ("y", torch.ones(2), "y: is no mean of channels"),
    ],
)
def test_damage_is_named(key: str, value: Any, message: str, folder: Path) -> None:
    from safetensors import safe_open

    path = folder / CALIBRATION
    with safe_open(path, "pt") as file:
        said = file.metadata()
    tensors = {**load_file(path), key: value}
    save_file({k: v for k, v in tensors.items() if v is not None}, path, said)
    with pytest.raises(FileError, match=message):
        read_calibration(folder)


def test_files_that_are_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CALIBRATION_BYTES.variable, "10")
    with pytest.raises(FileError, match="bytes of means of channels are more than the 10"):
        read_calibration(folder)
    monkeypatch.undo()
    (folder / CALIBRATION).write_bytes(b"damage")
    with pytest.raises(FileError, match="is damaged"):
        read_calibration(folder)
    (folder / CALIBRATION).unlink()
    assert read_calibration(folder) is None


def test_means_of_another_network_are_refused(folder: Path) -> None:
    for means in ({"gone": torch.ones(4)}, {"image": torch.ones(7)}):
        with pytest.raises(UserError, match="calibration: the network has no value"):
            ss.deploy(ss.load(folder), inputs(), calibration=Calibration(1.0, means))

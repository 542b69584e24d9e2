"""Frames of events go into every form of a model as `event_frames` gives them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import spikesight as ss
from spikesight.models import SpikingModel

SIZES = {"widths": [4, 4, 8, 8, 8], "depths": [0, 1, 0, 1, 0], "heads": 2, "mlp_ratio": 1}


@pytest.fixture
def model(tmp_path: Path) -> SpikingModel:
    built = ss.create_model("metaspikformer_nano", num_classes=3, in_channels=2, steps=4, **SIZES)
    built.save_pretrained(tmp_path / "model")
    return ss.load(tmp_path / "model")


@pytest.fixture
def frames() -> Tensor:
    generator = np.random.default_rng(0)
    n = 500
    x, y = generator.integers(0, 20, n), generator.integers(0, 18, n)
    polarity = generator.integers(0, 2, n).astype(bool)
    events = ss.Events(np.arange(n), x, y, polarity, 20, 18)
    return ss.event_frames(events, frames=4, size=32)


@torch.no_grad()
def test_every_form_takes_the_counts_of_one_recording(model: SpikingModel, frames: Tensor) -> None:
    floats = frames[None].float()
    assert (frames.ndim, frames.dtype) == (4, torch.int32)
    expected = model(floats)
    for given in (frames, frames[None], frames.byte(), frames.long()[None], frames.byte()[None]):
        assert torch.equal(model(given), expected)
    stream = ss.stream(model)
    stream(frames[:1])
    stream(frames[1:])
    assert torch.allclose(stream.average, expected, atol=1e-5)
    assert ss.verify(model, frames).equal
    report, same = ss.energy(model, frames), ss.energy(model, floats)
    assert report.samples == 1
    assert report.picojoules == same.picojoules
    net = ss.deploy(model, frames, calibration=[frames])
    assert torch.equal(net(frames), net(floats))
    assert torch.equal(net.spikes(frames), net(floats))
    assert net.verify(frames).equal
    assert ss.audit(net, frames).table()
    batch = torch.stack([frames, frames.flip(0)])
    assert torch.equal(model(batch)[0], model(batch.float())[0])
    assert net(batch).shape == (2, 3)


def test_other_lengths_and_bytes_of_photos_are_named(model: SpikingModel, frames: Tensor) -> None:
    with pytest.raises(ValueError, match="has 3 time steps but the model has 4"):
        model(frames[:3])
    photos = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    colour = ss.create_model("metaspikformer_nano", num_classes=3, **SIZES)
    for call in (colour, lambda x: ss.energy(colour, x), lambda x: ss.deploy(colour, x)):
        with pytest.raises(ValueError, match=r"normalise photos .* batch axis with x\[None\]"):
            call(photos)

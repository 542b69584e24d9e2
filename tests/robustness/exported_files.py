"""Damaged exports, as far as they are read here and by no runtime, and damaged calibrations."""

from __future__ import annotations

import json
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from xml.sax.saxutils import quoteattr

import torch

from spikesight.data import Preprocessing
from spikesight.deployment.calibration_file import (
    read_calibration,
    write_calibration,
)
from spikesight.deployment.exported_model import read_stride
from spikesight.files.calibration import CALIBRATION
from spikesight.passes.calibration import Calibration
from spikesight.training.runs.card import Card
from tests.robustness.damage import Damage
from tests.robustness.documents import check_finite
from tests.robustness.guard import Trial, UnsoundError
from tests.robustness.saved_models import damaged_safetensors


@cache
def _sound_card() -> str:
    steps = Preprocessing(16, 3, (0.5,) * 3, (0.5,) * 3, 1.0, ("a", "b"))
    card = json.loads(Card(None, steps, 1, "model", None, licence="MIT").text())
    return json.dumps({**card, "network": {"stride": 8}})


def _onnx_bytes(card: str) -> bytes:
    import onnx

    model = onnx.ModelProto()
    onnx.helper.set_model_props(model, {"card": card})
    content: bytes = model.SerializeToString()
    return content


def _export(damage: Damage, folder: Path) -> Trial:
    of_openvino = not damage.none and damage.hits(0.5)
    card = _sound_card()
    if damage.hits(0.7):
        card = damage.json(json.loads(card)).decode("utf-8", "replace")
    if of_openvino:
        path = folder / "net.xml"
        text = f"<net><rt_info><spikesight><card value={quoteattr(card)} /></spikesight></rt_info>"
        content = (text + "</net>").encode("utf-8", "replace")
        path.with_suffix(".bin").write_bytes(b"")
    else:
        path = folder / "net.onnx"
        content = _onnx_bytes(card)
    path.write_bytes(damage.bytes(content) if damage.hits(0.4) else content)

    def read() -> None:
        card = Card.read(path)
        check_finite(card.preprocessing)
        if not 1 <= read_stride(path) <= 4096:
            raise UnsoundError("a stride that is none")

    return Trial(read, (path.name,), "; ".join(damage.notes))


def _calibration(damage: Damage, folder: Path) -> Trial:
    (folder / "model.safetensors").write_bytes(b"weights")
    write_calibration(folder, Calibration(2.0, {"image": torch.ones(3), "x": torch.zeros(4)}))
    path = folder / CALIBRATION
    if not damage.none:
        content = path.read_bytes()
        change = damage.bytes
        if damage.random.random() < 0.7:
            change = partial(damaged_safetensors, damage=damage)
        path.write_bytes(change(content))

    def read() -> None:
        measured = read_calibration(folder)
        if measured is None:
            raise UnsoundError("it was overlooked")
        check_finite(measured.peak)
        if not all(mean.isfinite().all() for mean in measured.mean_inputs.values()):
            raise UnsoundError("means that are no numbers")

    return Trial(read, (path.name,), "; ".join(damage.notes))


READERS = [("calibration", _calibration, 15)]
if find_spec("onnx") is not None:
    READERS.append(("exports", _export, 30))

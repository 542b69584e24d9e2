"""Damaged model folders, checkpoints, deployed networks and state dicts of others."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import spikesight as ss
from spikesight.deployment.spk.file import read_spk
from spikesight.models import MaskedAutoencoder, MaskedImageSizes, SpikingModel
from spikesight.training.runs.starting_weights import start_from
from tests.deployment.spk_files import Parts, encode, least_file, seal, take_apart
from tests.robustness.damage import Damage
from tests.robustness.guard import Trial, UnsoundError
from tests.training.conftest import TINY

SIZES: dict[str, Any] = TINY["model"]["arguments"]


def _tiny() -> SpikingModel:
    torch.manual_seed(0)
    model: SpikingModel = ss.create_model(
        "metaspikformer_nano", num_classes=3, in_channels=3, **SIZES
    )
    return model.eval()


@cache
def sound_model(kind: str) -> dict[str, bytes]:
    """The files of a saved model."""
    model = _tiny()
    if kind == "masked":
        torch.manual_seed(0)
        trunk = ss.create_model("spikformer_v2_nano", width=16, heads=2, in_channels=3)
        model = MaskedAutoencoder(trunk, MaskedImageSizes(width=16, depth=1, heads=2)).eval()
    elif kind != "plain":
        ss.quantize(model, 4)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, packed=kind == "packed")
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def check_weights(model: torch.nn.Module) -> None:
    """Refuses weights that are no numbers."""
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UnsoundError(f"{name} holds no numbers")


def damaged_safetensors(content: bytes, damage: Damage) -> bytes:
    """A safetensors file whose header or numbers are wrong."""
    random = damage.random
    size = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + size]), bytearray(content[8 + size :])
    name = random.choice([key for key in header if key != "__metadata__"])
    entry = header[name]
    start, end = entry["data_offsets"]

    def number() -> None:
        value = random.choice([float("nan"), float("inf"), -1e38, 1e38, 0.0])
        if entry["dtype"] == "F32" and end - start >= 4:
            body[start : start + 4] = np.array(value, "<f4").tobytes()
        elif end > start:
            body[start:end] = bytes([random.choice([0, 127, 128, 255])]) * (end - start)

    def wider() -> None:
        extra = random.choice([[0], [2**40], [2**62], [-1], entry["shape"], [1]])
        entry["shape"] = [*entry["shape"], *extra]

    damage.note(name)
    damage.one_of(
        tree=lambda: header.update(damage.tree(header)),
        entry=lambda: header.update({name: damage.tree(entry)}),
        number=number,
        numbers=number,
        shape=wider,
        dtype=lambda: entry.update(
            dtype=random.choice(["F16", "F64", "I64", "BOOL", "F8_E4M3", "X"])
        ),
        lost=lambda: header.pop(name),
        name=lambda: header.update({f"{name}.more": header.pop(name)}),
        more=lambda: header.update(extra={**entry, "shape": [0], "data_offsets": [end, end]}),
        metadata=lambda: header.update(__metadata__=damage.tree({"format": "pt", "a": "b"})),
        swap=lambda: header.update({name: random.choice(list(header.values()))}),
    )
    text = damage.document(json.dumps(header))
    length = random.choice([2**63, 2**40, 0, len(text) + 7]) if damage.hits(0.05) else len(text)
    return length.to_bytes(8, "little") + text + bytes(body)


def _write_model(folder: Path, kind: str, damage: Damage) -> None:
    folder.mkdir(exist_ok=True)
    files = dict(sound_model(kind))
    if not damage.none:
        if damage.hits(0.55):
            damage.note("config.json")
            files["config.json"] = damage.json(json.loads(files["config.json"]))
        else:
            damage.note("model.safetensors")
            content = files["model.safetensors"]
            structured = damage.random.random() < 0.75
            files["model.safetensors"] = (
                damaged_safetensors(content, damage) if structured else damage.bytes(content, 400)
            )
        if damage.hits(0.04):
            del files[damage.random.choice(list(files))]
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _model_folder(damage: Damage, folder: Path) -> Trial:
    kind = (
        "plain" if damage.none else damage.random.choice(["plain", "quantised", "packed", "masked"])
    )
    _write_model(folder / "model", kind, damage)
    forward = damage.none or damage.random.random() < 0.2

    def read() -> None:
        model = ss.load(folder / "model")
        check_weights(model)
        if forward and kind != "masked" and model.recipe["arguments"].get("in_channels") == 3:
            with torch.no_grad():
                logits = model(torch.rand(1, 3, model.stride * 2, model.stride * 2))
            if not logits.isfinite().all():
                raise UnsoundError("logits that are no numbers")

    return Trial(read, (str(folder / "model"),), f"{kind}; " + "; ".join(damage.notes))


def _start(damage: Damage, folder: Path) -> Trial:
    kind = "plain" if damage.none else damage.random.choice(["plain", "plain", "packed", "masked"])
    _write_model(folder / "model", kind, damage)

    def read() -> None:
        model = _tiny()
        start_from(model, folder / "model")
        check_weights(model)

    return Trial(
        read, (str(folder / "model"), "model.weights"), f"{kind}; " + "; ".join(damage.notes)
    )


def _spk(damage: Damage, folder: Path) -> Trial:
    steps = 1 if damage.none else damage.random.choice([1, 4])
    content = least_file(steps)
    if not damage.none:
        if damage.hits(0.3):
            content = damage.bytes(content, 3000)
        else:
            parts = take_apart(content)
            header, payload = _damaged_parts(parts, damage)
            content = seal(header, payload)
    path = folder / "network.spk"
    path.write_bytes(content)
    return Trial(lambda: read_spk(path), (path.name,), "; ".join(damage.notes))


def _damaged_parts(parts: Parts, damage: Damage) -> tuple[dict[str, Any], bytes]:
    random = damage.random
    if damage.hits(0.6):
        parts.description = damage.tree(parts.description)
    else:
        name = random.choice(list(parts.tensors))
        array = parts.tensors[name]
        damage.note(name)
        if array.size:
            flat = array.reshape(-1)
            flat[random.randrange(len(flat))] = random.choice([0, 1, 127, 100])
        if damage.hits(0.3):
            parts.tensors[name] = np.resize(
                array, [random.choice([0, 1, 2, n]) for n in array.shape]
            )
    header, payload = encode(parts)
    if damage.hits(0.3):
        header = damage.tree(header, spare=("graph",))
    if damage.hits(0.1) and isinstance(header.get("__metadata__"), dict):
        graph = json.dumps(parts.description)
        header["__metadata__"]["graph"] = damage.document(graph).decode("utf-8", "replace")
    return header, payload


READERS = [
    ("model folders", _model_folder, 90),
    ("starting weights", _start, 25),
    (".spk", _spk, 60),
]

"""Files that read photos see in each byte what the runtimes see in it after normalisation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spikesight.data.photos.augmentation import normalize
from spikesight.deployment.export.exporting import export
from spikesight.deployment.export.preparation import Preparation, normalised
from spikesight.deployment.export.self_test import SelfTest
from spikesight.deployment.runtime.arithmetic import joined, quantise_image
from spikesight.deployment.runtime.integers import IntegerExecutor
from spikesight.errors import UserError
from spikesight.graph import integer_vocabulary as integer
from tests.deployment.small_networks import deployed

onnx = pytest.importorskip("onnx")
openvino = pytest.importorskip("openvino")
onnxruntime = pytest.importorskip("onnxruntime")

from spikesight.deployment.export.onnx import OnnxRuntime, to_onnx  # noqa: E402
from spikesight.deployment.export.openvino import OpenVinoRuntime, to_openvino  # noqa: E402

SAID = {"mean": [0.49142, 0.482448, 0.446886], "std": [0.24524, 0.242768, 0.260637]}
HALVES = {"mean": [0.5, 0.0, 1.0], "std": [0.5, 1.0, 0.251]}


def network() -> integer.Graph:
    return deployed(16, neuron="i_lif", levels=4)


def table_of(said: dict[str, list[float]]) -> Tensor:
    preparation = Preparation.read(json.dumps({"preprocessing": said}))
    assert preparation is not None
    table = preparation.integers_of_bytes(network().input)
    assert table is not None
    return table


def seen_by_onnx(table: Tensor, photos: Tensor) -> Tensor:
    """What comes out of the look-up in onnxruntime's optimised form."""
    model = to_onnx(network(), (16, 16), bytes_table=table)
    (name,) = (node.output[0] for node in model.graph.node if node.op_type == "Gather")
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 4)
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return torch.from_numpy(session.run([name], {"image": photos.numpy()})[0])


def seen_by_openvino(table: Tensor, photos: Tensor) -> Tensor:
    """What comes out of the look-up in OpenVINO, beside the logits."""
    model = to_openvino(network(), (16, 16), bytes_table=table)
    (gather,) = (op for op in model.get_ops() if op.get_type_name() == "Gather")
    model.add_outputs(gather.output(0))
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return torch.from_numpy(np.array(compiled(photos.numpy())[len(compiled.outputs) - 1]))


@pytest.mark.parametrize("said", [SAID, HALVES])
@pytest.mark.parametrize("see", [seen_by_onnx, seen_by_openvino])
def test_each_byte_of_each_channel_is_seen_as_the_runtimes_see_it(
    see: Any, said: dict[str, list[float]]
) -> None:
    photos = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(1, 16, 16, 3)
    x = normalize(photos.permute(0, 3, 1, 2), tuple(said["mean"]), tuple(said["std"]))
    seen = see(table_of(said), photos.contiguous())
    assert seen.shape == (1, 3, 16, 16)
    assert torch.equal(seen, quantise_image(network().input, x))
    assert len(seen.unique()) > 100


@pytest.mark.parametrize("runtime", [OnnxRuntime, OpenVinoRuntime])
def test_photos_give_the_logits_of_normalised_images(runtime: type[Any], tmp_path: Path) -> None:
    path = tmp_path / ("net.onnx" if runtime is OnnxRuntime else "net.xml")
    card = json.dumps({"preprocessing": SAID})
    export(network(), path, (16, 16), photo_input=True, card=card)
    running = runtime(path, threads=1)
    assert running.reads_photos
    photos = torch.randint(256, (3, 16, 16, 3), generator=torch.Generator().manual_seed(0))
    photos = photos.to(torch.uint8)
    x = normalize(photos.permute(0, 3, 1, 2), tuple(SAID["mean"]), tuple(SAID["std"]))
    assert torch.equal(running(photos), joined(IntegerExecutor(network()).run(x)))
    facts = json.loads(Path(f"{path}.json").read_text())["network"]["input"]
    assert facts["dtype"] == "uint8"
    assert facts["layout"] == "NHWC"
    assert facts["shape"] == [None, 16, 16, 3]
    assert facts["values"] == "bytes"


def test_a_self_test_of_photos_shows_every_byte() -> None:
    graph = network()
    test = SelfTest.of(graph, (16, 16), bytes_table=table_of(SAID))
    read = SelfTest.read(test.text(), (16, 16, 3), "net.onnx")
    assert read == test
    photos = read.inputs()
    assert photos.dtype == torch.uint8
    assert photos.shape[1:] == (16, 16, 3)
    for channel in range(3):
        assert len(photos[5, ..., channel].unique()) == 256
    assert {int(photos.min()), int(photos.max())} == {0, 255}
    x = normalised(photos, table_of(SAID), graph.input)
    assert quantise_image(graph.input, x).min() < 0
    with pytest.raises(UserError, match="that of another network"):
        SelfTest.read(test.text(), (3, 16, 16), "net.onnx")


@pytest.mark.parametrize(
    ("name", "card", "frames", "message"),
    [
        (
            "net.c",
            SAID,
            False,
            r"photo_input is for \.onnx and \.xml and not for \.c, which has a function",
        ),
        ("net.nir", SAID, False, r"photo_input is for \.onnx and \.xml and not for \.nir; leave"),
        ("net.onnx", SAID, True, "frames are counts and photos are bytes"),
        ("net.onnx", None, False, "does not say by which mean and std"),
        ("net.onnx", {"mean": [0.5], "std": [0.5]}, False, "does not say by which mean and std"),
        ("net.onnx", {"mean": [0.5] * 3, "std": [0.0] * 3}, False, "by which mean and std"),
    ],
)
def test_what_cannot_read_photos_says_so(
    name: str, card: Any, frames: bool, message: str, tmp_path: Path
) -> None:
    if name.endswith(".nir"):
        pytest.importorskip("nir")
    said = None if card is None else json.dumps({"preprocessing": card})
    with pytest.raises(UserError, match=message):
        export(network(), tmp_path / name, (16, 16), photo_input=True, frames=frames, card=said)
    assert not list(tmp_path.iterdir())

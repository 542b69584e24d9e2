"""Models from outside the package, built of public names alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight import parts, registry
from spikesight.errors import UserError
from spikesight.models import MaskedAutoencoder, MaskedImageSizes
from spikesight.training import ModelConfig, TrainConfig, from_mapping, parameter_groups, train

pytestmark = pytest.mark.filterwarnings("ignore:Overwriting")  # each test registers anew


class OwnNet(ss.SpikingModel):
    """Two residual convolutions; no more than a model must say."""

    def __init__(self, num_classes: int, in_channels: int, steps: int, levels: Any, neuron: Any):
        super().__init__()
        self.steps, self.stride = steps, 4
        neuron = neuron or "i_lif"
        self.presentation = ss.Presentation(steps, in_channels, self.stride)
        self.stem = ss.ConvNorm(in_channels, 8, 3, stride=2)
        self.neuron1 = ss.create_neuron(neuron, steps, levels)
        self.down = ss.ConvNorm(8, 16, 3, stride=2)
        self.neuron2 = ss.create_neuron(neuron, steps, levels)
        self.mix = ss.RepConv(16, 16)
        self.neuron3 = ss.create_neuron(neuron, steps, levels)
        self.pool, self.head = ss.GlobalPool(), ss.Linear(16, num_classes)
        self.readout = ss.Readout(steps)
        self.initialise()

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(self.neuron1(self.stem(self.presentation(x))))
        x = self.neuron3(x + self.mix(self.neuron2(x)))
        logits: Tensor = self.readout(self.head(self.pool(x)))
        return logits


class Attending(nn.Module):
    """A block of attention and a feed-forward branch, on a stream of currents."""

    def __init__(self, neuron: Any, drop: float, steps: int) -> None:
        super().__init__()
        self.attention = ss.SpikeDrivenSelfAttention(16, 2, 0.125, neuron, neuron)
        self.mlp = ss.SpikeDrivenFeedForward(16, 32, 1, neuron)
        self.drop = ss.DropPath(drop, steps)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop(self.attention(x))
        stream: Tensor = x + self.drop(self.mlp(x))
        return stream


class OwnClassifier(ss.Classifier):
    """A trunk that is handed to `Classifier`."""

    def __init__(self, num_classes: int, in_channels: int, steps: int, neuron: Any, drop: float):
        trunk = nn.Sequential(
            ss.ConvNorm(in_channels, 16, 3, stride=2), Attending(neuron, drop, steps)
        )
        super().__init__(
            trunk,
            in_channels=in_channels,
            stride=2,
            num_features=16,
            num_classes=num_classes,
            steps=steps,
            head_neuron=neuron(),
        )
        self.initialise()

    def feature_stages(self) -> list[tuple[int, int, int]]:
        return [(1, 16, 2)]


def own_net(
    num_classes: int,
    in_channels: int,
    steps: int,
    levels: int | None,
    neuron: Any,
    drop_path_rate: float,
    features_only: bool = False,
) -> nn.Module:
    return OwnNet(num_classes, in_channels, steps, levels, neuron)


def own_classifier(
    num_classes: int,
    in_channels: int,
    steps: int,
    levels: int | None,
    neuron: Any,
    drop_path_rate: float,
    features_only: bool = False,
) -> nn.Module:
    def build() -> nn.Module:
        return ss.create_neuron(neuron or "i_lif", steps, levels)

    model = OwnClassifier(num_classes, in_channels, steps, build, drop_path_rate)
    return ss.models.StageFeatures(model) if features_only else model


def plain_net(**_: Any) -> nn.Module:
    return nn.Linear(2, 2)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(registry, "_builders", dict(registry._builders))
    monkeypatch.setattr(parts, "_parts", dict(parts._parts))
    monkeypatch.chdir(tmp_path)
    for builder in (own_net, own_classifier, plain_net):
        ss.register_model(builder)


def config(name: str, output: str, **changes: Any) -> TrainConfig:
    values = {
        "model": {"name": name, "steps": 2, "levels": 4},
        "data": {"format": "digits", "channels": 1, "image_size": 8},
        "epochs": 1,
        "batch_size": 32,
        "limit_batches": 2,
        "precision": "no",
        "device": "cpu",
        "output": output,
        **changes,
    }
    return from_mapping(TrainConfig, values)


@pytest.mark.parametrize("name", ["own_net", "own_classifier"])
def test_an_own_model_lives_its_whole_life(name: str, tmp_path: Path) -> None:
    train(config(name, "run", optimizer={"layer_decay": 0.7}))
    x = torch.rand(2, 1, 8, 8)
    model = ss.load("run/best")
    model.save_pretrained("folder")
    assert torch.equal(ss.load("folder")(x), model(x))
    assert ss.verify(model, x).equal
    assert ss.energy(model, x).table()
    ss.quantize(ss.load("run/best"), 4).save_pretrained("quantized")
    start = {"name": name, "steps": 2, "levels": 4, "weights": "quantized", "bits": 4}
    train(config(name, "tuned", model=start))
    tuned = ss.load("tuned/best")
    net = ss.deploy(tuned, x)
    assert net.verify(x, against=("spikes", "onnx", "openvino", "training")).equal
    assert ss.audit(net, x).table()
    for file in ("net.onnx", "net.xml"):
        assert net.export(file)
    net.save("net.spk")
    assert torch.equal(ss.Deployed.load("net.spk")(x), net(x))
    answer = ss.pipeline("tuned", device="cpu")((x[0, 0] * 255).byte().numpy())
    assert len(answer) == 5
    twin = ss.create_model(name, num_classes=10, in_channels=1, neuron="relu")
    assert twin(x).shape == timm.create_model(name, num_classes=10, in_chans=1)(x).shape == (2, 10)
    events = ss.create_model(name, num_classes=3, in_channels=2, steps=4).eval()
    frames = torch.rand(1, 4, 2, 8, 8)
    stream = ss.stream(events)
    stream(frames[:, :1])
    stream(frames[:, 1:])
    torch.testing.assert_close(stream.average, events(frames))


def test_stages_are_the_parts_with_parameters_unless_said() -> None:
    model = ss.create_model("own_net", num_classes=3)
    names = {id(child): name for name, child in model.named_children()}
    stages = [names[id(stage)] for stage in model.stages()]
    assert stages == ["stem", "down", "mix", "head"]
    rates = {group["lr_scale"] for group in parameter_groups(model, 0.05, layer_decay=0.5)}
    assert rates == {1.0, 0.5, 0.25, 0.125}


def test_maps_are_given_or_refused() -> None:
    trunk = ss.create_model("own_classifier", features_only=True, in_channels=1)
    assert [tuple(m.shape) for m in trunk(torch.rand(2, 1, 8, 8))] == [(2, 16, 4, 4)]
    assert trunk.feature_info.channels() == [16]
    with pytest.raises(UserError, match=r"own_net has no features_only form; .*ss\.Classifier"):
        ss.create_model("own_net", features_only=True)
    sizes = MaskedImageSizes(patch=4, width=16, depth=1)
    images = torch.rand(2, 1, 8, 8)
    masked = MaskedAutoencoder(ss.create_model("own_classifier", in_channels=1), sizes)
    with pytest.raises(UserError, match="no classifier with a trunk"):
        MaskedAutoencoder(ss.create_model("own_net", in_channels=1), sizes)
    assert masked.grid(images) == (2, 2)


def test_a_model_that_is_not_whole_is_refused() -> None:
    with pytest.raises(UserError, match=r"plain_net builds a Linear without .*ss\.SpikingModel"):
        ss.create_model("plain_net")
    with pytest.raises(UserError, match="num_classes"):
        ModelConfig(name="own_net", num_classes=0)


@pytest.mark.parametrize(
    ("part", "operation", "named"),
    [
        (nn.Conv2d(16, 16, 1), None, r"extra is a Conv2d.*ss\.ConvNorm"),
        (nn.BatchNorm2d(16), None, r"extra is a BatchNorm2d.*ss\.ConvNorm"),
        (nn.AdaptiveAvgPool2d(1), None, r"extra is a AdaptiveAvgPool2d.*ss\.GlobalPool"),
        (nn.GELU(), None, r"extra is a GELU.*ss\.create_neuron"),
        (nn.Dropout(), None, r"extra is a Dropout.*ss\.DropPath"),
        (nn.LayerNorm(16), None, r"extra is a LayerNorm.*ss\.ConvNorm"),
        (None, lambda x: x.mean((2, 3), keepdim=True), r"calls mean.*ss\.GlobalPool"),
        (None, lambda x: x @ x, r"calls matmul.*ss\.AttentionProduct"),
        (None, lambda x: x * 2, r"calls mul.*ss\.Gate"),
        (None, torch.relu, r"calls relu.*ss\.create_neuron"),
        (None, lambda x: torch.cat([x, x]), r"calls cat.*ss\.ConvNorm.*ss\.GlobalPool"),
    ],
)
def test_what_cannot_be_traced_names_the_public_part(part: Any, operation: Any, named: str) -> None:
    class Changed(OwnNet):
        def forward(self, x: Tensor) -> Tensor:
            x = self.neuron2(self.down(self.neuron1(self.stem(self.presentation(x)))))
            x = self.extra(x) if operation is None else operation(x)
            logits: Tensor = self.readout(self.head(self.pool(x)))
            return logits

    model = Changed(3, 3, 1, 4, None)
    model.extra = part
    with pytest.raises(UserError, match=named):
        ss.trace(model)


def test_no_model_takes_the_name_of_one_of_spikesight() -> None:
    def metaspikformer_nano(**options: Any) -> nn.Module:
        return OwnNet(10, 3, 1, 4, None)

    with pytest.raises(UserError, match=r"'metaspikformer_nano' is a model of spikesight"):
        ss.register_model(metaspikformer_nano)
    with pytest.raises(UserError, match="'<lambda>' is no name"):
        ss.register_model(lambda **options: OwnNet(10, 3, 1, 4, None))
    assert type(ss.create_model("metaspikformer_nano")) is not OwnNet

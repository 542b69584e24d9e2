import pytest
import torch
from torch import Tensor

import spikesight as ss
from spikesight.errors import UserError
from spikesight.interop.filling import load_tensors


class OfficialState(dict[str, Tensor]):
    """A small Meta-SpikeFormer by the authors' names."""

    def __init__(self) -> None:
        super().__init__()
        self.random = torch.Generator().manual_seed(0)
        self.down("downsample1_1", 3, 4, 7)
        self.conv_block("ConvBlock1_1.0", 4)
        self.down("downsample1_2", 4, 8, 3)
        self.conv_block("ConvBlock1_2.0", 8)
        self.down("downsample2", 8, 16, 3)
        self.conv_block("ConvBlock2_1.0", 16)
        self.conv_block("ConvBlock2_2.0", 16)
        self.down("downsample3", 16, 32, 3)
        self.block("block3.0", 32)
        self.down("downsample4", 32, 40, 3)
        self.block("block4.0", 40)
        self["head.weight"], self["head.bias"] = self.draw(10, 40), self.draw(10)

    def draw(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.random) * 0.3

    def conv(self, name: str, outputs: int, inputs: int, side: int, groups: int = 1) -> None:
        self[f"{name}.weight"] = self.draw(outputs, inputs // groups, side, side)

    def norm(self, name: str, channels: int) -> None:
        self[f"{name}.weight"], self[f"{name}.bias"] = torch.ones(channels), torch.zeros(channels)
        self[f"{name}.running_mean"] = torch.zeros(channels)
        self[f"{name}.running_var"] = torch.ones(channels)
        self[f"{name}.num_batches_tracked"] = torch.tensor(1)

    def down(self, name: str, inputs: int, outputs: int, side: int) -> None:
        self.conv(f"{name}.encode_conv", outputs, inputs, side)
        self[f"{name}.encode_conv.bias"] = torch.zeros(outputs)
        self.norm(f"{name}.encode_bn", outputs)

    def conv_block(self, name: str, c: int) -> None:
        self.conv(f"{name}.Conv.pwconv1", 2 * c, c, 1)
        self.norm(f"{name}.Conv.bn1", 2 * c)
        self.conv(f"{name}.Conv.dwconv", 2 * c, 2 * c, 7, groups=2 * c)
        self.conv(f"{name}.Conv.pwconv2", c, 2 * c, 1)
        self.norm(f"{name}.Conv.bn2", c)
        self.conv(f"{name}.conv1", 4 * c, c, 3)
        self.norm(f"{name}.bn1", 4 * c)
        self.conv(f"{name}.conv2", c, 4 * c, 3)
        self.norm(f"{name}.bn2", c)

    def block(self, name: str, c: int) -> None:
        for short in ("q", "k", "v", "proj"):
            part = f"{name}.attn.{short}_conv"
            self.conv(f"{part}.0.body.0", c, c, 1)
            self.norm(f"{part}.0.body.1.bn", c)
            self.conv(f"{part}.0.body.2.0", c, c, 3, groups=c)
            self.conv(f"{part}.0.body.2.1", c, c, 1)
            self.norm(f"{part}.0.body.2.2", c)
            self.norm(f"{part}.1", c)
        for layer, inputs, outputs in (("fc1", c, 4 * c), ("fc2", 4 * c, c)):
            self[f"{name}.mlp.{layer}_conv.weight"] = self.draw(outputs, inputs, 1)
            self[f"{name}.mlp.{layer}_conv.bias"] = torch.zeros(outputs)
            self.norm(f"{name}.mlp.{layer}_bn", outputs)


@pytest.fixture(scope="module")
def state() -> OfficialState:
    return OfficialState()


@torch.no_grad()
def test_the_mean_of_both_heads_is_evaluated(state: OfficialState) -> None:
    second = {"head_kd.weight": torch.randn(10, 40), "head_kd.bias": torch.full((10,), 100.0)}
    alone = {**state}
    alone["head.weight"], alone["head.bias"] = second.values()
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    logits = [
        ss.load_official("metaspikformer", official).double()(x)
        for official in (state, alone, {**state, **second})
    ]
    assert torch.allclose(logits[2], (logits[0] + logits[1]) / 2, atol=1e-4)
    # The weights themselves are means, rounded once.
    head = ss.load_official("metaspikformer", {**state, **second}).state_dict()
    mean = (state["head.weight"] + second["head_kd.weight"]) / 2
    assert torch.equal(head["head.linear.weight"], mean)


@pytest.mark.parametrize(
    "changed",
    [
        {"mystery.weight": torch.zeros(3)},
        {"block5.0.attn.q_conv.0.body.0.weight": torch.zeros(40, 40, 1, 1)},
        {"head_kd.weight": torch.zeros(9, 40), "head_kd.bias": torch.zeros(9)},
        {"head_kd.weight": torch.zeros(10, 40)},
        {"block4.0.mystery": torch.zeros(3)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_tensor_without_a_place_is_refused_by_name(
    state: OfficialState, changed: dict[str, Tensor]
) -> None:
    named = next(iter(changed)).split(".")[-1 if "block4" in next(iter(changed)) else 0]
    with pytest.raises(UserError, match=named):
        ss.load_official("metaspikformer", {**state, **changed})


def test_a_second_head_of_low_bit_weights_is_refused(state: OfficialState) -> None:
    second = {"head_kd.weight": torch.zeros(10, 40), "head_kd.bias": torch.zeros(10)}
    with pytest.raises(UserError, match="head_kd"):
        ss.load_official("qsd", {**state, **second})


@pytest.mark.parametrize("family", ["metaspikformer", "qsd", "spikformer", "spike2former"])
@pytest.mark.parametrize("broken", [{}, {"head.weight": [1.0]}, {"head.weight": torch.zeros(2, 3)}])
def test_what_is_no_state_dict_is_refused(family: str, broken: dict[str, Tensor]) -> None:
    with pytest.raises(UserError, match="state dict"):
        ss.load_official(family, broken)


def test_shapes_differ_in_ones_only_and_numbers_are_finite() -> None:
    layer = torch.nn.Linear(2, 3, bias=False)
    load_tensors(layer, {"weight": torch.ones(3, 2, 1, 1)}, "A map")
    with pytest.raises(UserError, match=r"weight .* shape \(2, 3\)"):
        load_tensors(layer, {"weight": torch.ones(2, 3)}, "A map")
    for number in (torch.nan, torch.inf, 1e38):
        with pytest.raises(UserError, match=r"weight .* not finite"):
            load_tensors(layer, {"weight": torch.full((3, 2), number)}, "A map")
    with pytest.raises(UserError, match=r"weight .* not finite"):
        load_tensors(layer, {"weight": torch.full((3, 2), torch.inf).half()}, "A map")
    with pytest.raises(UserError, match="missing"):
        load_tensors(layer, {}, "A map")

"""The networks of bic-L/MaxFormer by their official names, tensor by tensor, in evaluation mode.

Written along the facts, without a module of ours, for the forms that no recorded case has.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]


class RandomState:
    """Random tensors by official names, at which neurons fire.

    Attributes:
        tensors: What was added.
    """

    def __init__(self) -> None:
        self.tensors: State = {}
        self._generator = torch.Generator().manual_seed(3)

    def _random(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(shape, generator=self._generator).double() * (high - low) + low

    def synapse(
        self,
        conv: str,
        norm: str,
        shape: tuple[int, ...],
        *,
        bias: bool = False,
    ) -> None:
        """A convolution and its normalisation."""
        spread = (12.0 / torch.Size(shape[1:]).numel()) ** 0.5
        self.tensors[f"{conv}.weight"] = self._random(*shape, low=-spread / 2, high=spread / 2)
        if bias:
            self.tensors[f"{conv}.bias"] = self._random(shape[0])
        for leaf, low, high in (
            ("weight", 1.0, 2.0),
            ("bias", 0.2, 1.0),
            ("running_mean", -0.1, 0.1),
            ("running_var", 0.2, 0.8),
        ):
            self.tensors[f"{norm}.{leaf}"] = self._random(shape[0], low=low, high=high)
        self.tensors[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    def pair(self, name: str, width: int, channels: int, side: int, joint: str = "_") -> None:
        """One of the names that both begin with."""
        shape = (width, channels, side, side)
        self.synapse(f"{name}{joint}conv", f"{name}{joint}bn", shape)

    def embed(self, name: str, width: int, channels: int, side: int = 3) -> None:
        """A synapse of an embedding."""
        self.pair(name, width, channels, side, ".embed_")

    def event_stem(self, width: int) -> None:
        """The first embedding of both event models."""
        self.pair("patch_embed1.proj", width // 8, 2, 3)
        for i, divisor in ((1, 8), (2, 4), (3, 2)):
            self.embed(f"patch_embed1.max_embed{i}", 2 * width // divisor, width // divisor)
        self.embed("patch_embed1.embed1", width, width // 4, 1)

    def attention(self, name: str, width: int, parts: str = "qkv") -> None:
        """Attention, with the authors' convolutions over tokens."""
        for part in parts:
            self.synapse(f"{name}.{part}_conv", f"{name}.{part}_bn", (width, width, 1))
        self.synapse(f"{name}.proj_conv", f"{name}.proj_bn", (width, width, 1), bias=True)

    def mlp(self, name: str, width: int, hidden: int) -> None:
        """An MLP."""
        for part, shape in (("fc1", (hidden, width, 1, 1)), ("fc2", (width, hidden, 1, 1))):
            self.synapse(f"{name}.{part}_conv", f"{name}.{part}_bn", shape, bias=True)

    def head(self, classes: int, width: int) -> None:
        """The classifier."""
        self.tensors["head.weight"] = self._random(classes, width, low=-1.0)
        self.tensors["head.bias"] = self._random(classes)


class ByHand:
    """Names to tensors, and the membranes of one call.

    Args:
        state: Parameters and buffers by their official names.
        heads: Attention heads.
        scale: Factor of the attention product.
    """

    def __init__(self, state: State, heads: int, scale: float = 0.125) -> None:
        self.state, self.heads, self.scale = state, heads, scale
        self.membranes: dict[str, Tensor] = {}
        self.fired: dict[str, float] = {}

    def pair(self, name: str, x: Tensor, stride: int = 1, joint: str = "_") -> Tensor:
        """Convolution and normalisation of the names that both begin with."""
        return self.synapse(f"{name}{joint}conv", f"{name}{joint}bn", x, stride)

    def synapse(self, conv: str, norm: str, x: Tensor, stride: int = 1) -> Tensor:
        """Convolution and normalisation."""
        weight = self.state[f"{conv}.weight"]
        weight = weight.reshape(*weight.shape[:2], *([weight.shape[-1]] * 2))
        bias, groups = self.state.get(f"{conv}.bias"), x.shape[1] // weight.shape[1]
        x = functional.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=groups)
        leaves = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(self.state[f"{norm}.{leaf}"] for leaf in leaves))

    def fire(self, name: str, current: Tensor, threshold: float = 1.0) -> Tensor:
        """Binary LIF, tau 2."""
        potential = self.membranes.get(name, torch.zeros_like(current))
        potential = potential + (current - potential) / 2
        spikes = (potential >= threshold).to(current)
        self.membranes[name] = potential * (1 - spikes)
        self.fired[name] = self.fired.get(name, 0.0) + float(spikes.sum())
        return spikes

    def embed(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        """A synapse of an embedding."""
        return self.pair(name, x, stride, ".embed_")

    def block(self, name: str, x: Tensor) -> Tensor:
        """Mixer and MLP, with membrane shortcuts."""
        if f"{name}.attn.v_conv.weight" in self.state:
            x = x + self.attention(f"{name}.attn", x)
        elif f"{name}.attn.q_conv.weight" in self.state:
            x = x + self.token_attention(f"{name}.attn", x)
        elif f"{name}.mixer.conv.weight" in self.state:
            spikes = self.fire(f"{name}.mixer", x)
            x = x + self.synapse(f"{name}.mixer.conv", f"{name}.mixer.conv_bn", spikes)
        hidden = self.pair(f"{name}.mlp.fc1", self.fire(f"{name}.fc1", x))
        if hidden.shape[1] == x.shape[1]:
            x = hidden = x + hidden
        return x + self.pair(f"{name}.mlp.fc2", self.fire(f"{name}.fc2", hidden))

    def attention(self, name: str, x: Tensor) -> Tensor:
        """SSA."""
        spikes = self.fire(f"{name}.x", x)
        q, k, v = (
            self.fire(f"{name}.{part}", self.pair(f"{name}.{part}", spikes))
            .unflatten(1, (self.heads, -1))
            .flatten(3)
            for part in "qkv"
        )
        attended = (v @ (k.transpose(-1, -2) @ q) * self.scale).reshape(x.shape)
        return self.pair(f"{name}.proj", self.fire(f"{name}.attn", attended, 0.5))

    def token_attention(self, name: str, x: Tensor) -> Tensor:
        """QKFormer's token attention."""
        spikes = self.fire(f"{name}.proj", x)
        q, k = (
            self.fire(f"{name}.{part}", self.pair(f"{name}.{part}", spikes)).unflatten(
                1, (self.heads, -1)
            )
            for part in "qk"
        )
        tokens = self.fire(f"{name}.attn", q.sum(2, keepdim=True), 0.5)
        return self.pair(f"{name}.proj", (tokens * k).flatten(1, 2))

    def logits(self, frames: list[Tensor], embeddings: list[Callable[[Tensor], Tensor]]) -> Tensor:
        """Logits [B, K] of frames [B, C, H, W]."""
        logits = []
        for x in frames:
            for stage, embedding in enumerate(embeddings, start=1):
                x = embedding(x)
                blocks = {n.split(".")[1] for n in self.state if n.startswith(f"stage{stage}.")}
                for i in sorted(blocks):
                    x = self.block(f"stage{stage}.{i}", x)
            spikes = self.fire("head", x.mean((-2, -1)))
            logits.append(
                functional.linear(spikes, self.state["head.weight"], self.state["head.bias"])
            )
        return torch.stack(logits).mean(0)


def pool(x: Tensor) -> Tensor:
    """The maximum of 3x3 currents."""
    return functional.max_pool2d(x, 3, 2, 1)


def event_stem(net: ByHand, x: Tensor) -> Tensor:
    """The first embedding of both event models."""
    x = net.pair("patch_embed1.proj", x)
    x = pool(net.embed("patch_embed1.max_embed1", net.fire("stem1", x)))
    spikes = net.fire("stem2", x)
    x = pool(net.embed("patch_embed1.max_embed2", spikes))
    x = pool(net.embed("patch_embed1.max_embed3", net.fire("stem3", x)))
    return x + net.embed("patch_embed1.embed1", spikes, 4)

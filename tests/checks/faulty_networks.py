"""Networks with one fault each, or none, written as users write them in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class _Fire(torch.autograd.Function):
    """Spikes at 0 and above, with the derivative of a sigmoid."""

    @staticmethod
    def forward(context, distance):  # type: ignore[no-untyped-def]
        context.save_for_backward(distance)
        return (distance >= 0).to(distance)

    @staticmethod
    def backward(context, gradient):  # type: ignore[no-untyped-def]
        (distance,) = context.saved_tensors
        smooth = torch.sigmoid(4 * distance)
        return gradient * 4 * smooth * (1 - smooth)


class MultiStepLIF(nn.Module):
    """LIF with decaying input and a hard reset, that steps over axis 0; starts from rest."""

    def __init__(self, threshold: float = 1.0, retain: float = 0.5) -> None:
        super().__init__()
        self.threshold = threshold
        self.retain = retain

    def forward(self, currents: Tensor) -> Tensor:
        membrane, spikes = torch.zeros_like(currents[0]), []
        for current in currents:
            membrane = self.retain * membrane + 0.5 * current
            spike = _Fire.apply(membrane - self.threshold)
            membrane = membrane * (1 - spike.detach())
            spikes.append(spike)
        return torch.stack(spikes)


class StatefulLIF(nn.Module):
    """One step of a LIF whose membrane stays for the next call, as a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.membrane: Tensor | float = 0.0

    def forward(self, current: Tensor) -> Tensor:
        self.membrane = 0.5 * self.membrane + current
        spike = _Fire.apply(self.membrane - 1.0)
        self.membrane = self.membrane * (1 - spike)
        return spike

    def reset(self) -> None:
        self.membrane = 0.0


class SpikingSelfAttention(nn.Module):
    """Attention of QKFormer's last stage, [T, B, C, N].

    As released, the last neuron gets [T*B, C, N], over whose first axis it steps as over time.
    """

    def __init__(self, channels: int, heads: int, *, as_released: bool) -> None:
        super().__init__()
        self.heads = heads
        self.as_released = as_released
        for name in ("q", "k", "v", "proj"):
            self.add_module(f"{name}_conv", nn.Conv1d(channels, channels, 1, bias=name == "proj"))
            self.add_module(f"{name}_bn", nn.BatchNorm1d(channels))
            self.add_module(f"{name}_lif", MultiStepLIF())
        self.attn_lif = MultiStepLIF(threshold=0.5)

    def forward(self, x: Tensor) -> Tensor:
        steps, batch, channels, tokens = x.shape
        q, k, v = (
            getattr(self, f"{name}_lif")(self._current(name, x.flatten(0, 1)).view_as(x))
            .view(steps, batch, self.heads, channels // self.heads, tokens)
            .transpose(-1, -2)
            for name in "qkv"
        )
        mixed = (q @ (k.transpose(-1, -2) @ v)) * 0.125
        mixed = self.attn_lif(mixed.transpose(-1, -2).reshape(x.shape))
        current = self._current("proj", mixed.flatten(0, 1))
        if self.as_released:
            return self.proj_lif(current).view_as(x)
        return self.proj_lif(current.view_as(x))

    def _current(self, name: str, spikes: Tensor) -> Tensor:
        return getattr(self, f"{name}_bn")(getattr(self, f"{name}_conv")(spikes))


class Mlp(nn.Module):
    """Two maps with neurons, [T, B, C, N]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1_conv = nn.Conv1d(channels, 2 * channels, 1)
        self.fc1_bn = nn.BatchNorm1d(2 * channels)
        self.fc1_lif = MultiStepLIF()
        self.fc2_conv = nn.Conv1d(2 * channels, channels, 1)
        self.fc2_bn = nn.BatchNorm1d(channels)
        self.fc2_lif = MultiStepLIF()

    def forward(self, x: Tensor) -> Tensor:
        steps = x.shape[:2]
        hidden = self.fc1_bn(self.fc1_conv(x.flatten(0, 1)))
        hidden = self.fc1_lif(hidden.unflatten(0, steps))
        return self.fc2_lif(self.fc2_bn(self.fc2_conv(hidden.flatten(0, 1))).unflatten(0, steps))


class Block(nn.Module):
    """Attention and MLP, whose spikes are added."""

    def __init__(self, channels: int, heads: int, *, as_released: bool) -> None:
        super().__init__()
        self.attn = SpikingSelfAttention(channels, heads, as_released=as_released)
        self.mlp = Mlp(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.mlp(x)


class QKFormerLike(nn.Module):
    """A stem, blocks of attention and a head; images [B, C, H, W] are shown T times."""

    def __init__(self, *, as_released: bool, steps: int = 4, channels: int = 16) -> None:
        super().__init__()
        self.steps = steps
        self.stem_conv = nn.Conv2d(3, channels, 4, stride=4, bias=False)
        self.stem_bn = nn.BatchNorm2d(channels)
        self.stem_lif = MultiStepLIF()
        self.stage3 = nn.ModuleList(Block(channels, 2, as_released=as_released) for _ in range(2))
        self.head = nn.Linear(channels, 5)
        fire(self)

    def forward(self, images: Tensor) -> Tensor:
        current = self.stem_bn(self.stem_conv(images)).flatten(2)
        x = self.stem_lif(current.expand(self.steps, *current.shape))
        for block in self.stage3:
            x = block(x)
        return self.head(x.mean((0, -1)))


def fire(module: nn.Module) -> nn.Module:
    """Gives normalisations the gains of trained networks, at which neurons fire."""
    generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1, generator=generator)  # type: ignore[union-attr]
            part.running_var.fill_(0.1)  # type: ignore[union-attr]
            part.weight.data.fill_(2.0)
            part.bias.data.fill_(0.8)
    return module

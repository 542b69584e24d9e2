"""Queries, keys and values of a model's attention layers, read while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from spikesight.attention.product import AttentionProduct
from spikesight.errors import UserError


@dataclass(frozen=True)
class AttentionTensors:
    """What one attention layer multiplies, head by head.

    Attributes:
        query: [T*B, heads, d, H, W], time-major.
        key: Likewise.
        value: Likewise; its d may be another.
        steps: Time steps T.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    steps: int = 1

    @property
    def heads(self) -> int:
        """Number of heads."""
        return self.query.shape[1]

    def mean_over_time(self) -> AttentionTensors:
        """The same tensors averaged over the time steps: [B, heads, d, H, W]."""
        if self.steps == 1:
            return self
        query, key, value = (
            x.unflatten(0, (self.steps, -1)).mean(0) for x in (self.query, self.key, self.value)
        )
        return AttentionTensors(query, key, value)


class AttentionRecorder(Protocol):
    """Reads the attention layers of a model during forward passes."""

    def take(self) -> list[AttentionTensors]:
        """What was recorded since the last call, in the order of the layers, and forgets it."""

    def close(self) -> None:
        """Stops recording and leaves the model as it was."""


class SpikingAttentionRecorder:
    """Records what reaches every `AttentionProduct` of a spiking model or of its ANN twin.

    Gradients flow through what is recorded.

    Args:
        model: Model whose attention is watched.
        steps: Its time steps T.
        only_in_training: Whether to ignore forward passes in evaluation mode.

    Raises:
        UserError: If the model has no attention.
    """

    def __init__(self, model: nn.Module, steps: int, *, only_in_training: bool = False) -> None:
        products = [module for module in model.modules() if isinstance(module, AttentionProduct)]
        if not products:
            raise UserError(
                f"{type(model).__name__} has no attention: there is no AttentionProduct in it; "
                "pass a model with one, such as metaspikformer_nano"
            )
        self._steps = steps
        self._only_in_training = only_in_training
        self._recorded: list[tuple[int, tuple[Tensor, ...]]] = []
        self._handles = [product.register_forward_pre_hook(self._record) for product in products]

    def _record(self, product: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(product, AttentionProduct)
        if product.training or not self._only_in_training:
            self._recorded.append((product.heads, inputs))

    def take(self) -> list[AttentionTensors]:
        """What was recorded since the last call, in the order of the layers, and forgets it."""
        recorded, self._recorded = self._recorded, []
        layers = []
        for heads, inputs in recorded:
            query, key, value = (x.unflatten(1, (heads, -1)) for x in inputs)
            layers.append(AttentionTensors(query, key, value, self._steps))
        return layers

    def close(self) -> None:
        """Stops recording and leaves the model as it was."""
        for handle in self._handles:
            handle.remove()
        self._recorded = []

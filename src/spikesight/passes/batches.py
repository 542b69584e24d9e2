"""Inputs, whatever they come in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor


def inputs_of(data: Tensor | Iterable[object]) -> Iterator[Tensor]:
    """Yields the inputs of a tensor, of batches, or of batches with labels.

    Args:
        data: Inputs [B, C, H, W] (frames [B, T, C, H, W]), or batches of them or of
            (inputs, labels), such as a loader.

    Yields:
        Inputs, batch by batch.

    Raises:
        ValueError: If a batch holds no tensor.
    """
    for batch in [data] if isinstance(data, Tensor) else data:
        inputs = batch[0] if isinstance(batch, tuple | list) else batch
        if not isinstance(inputs, Tensor):
            raise ValueError(f"the data yield {type(inputs).__name__}; pass batches of tensors")
        yield inputs

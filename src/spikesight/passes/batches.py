"""Inputs, whatever they come in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor

from spikesight.presentation import as_batch


def inputs_of(data: Tensor | Iterable[object]) -> Iterator[Tensor]:
    """Yields the inputs of a tensor, of batches, or of batches with labels.

    Args:
        data: Inputs [B, C, H, W] (frames [B, T, C, H, W]; counts of events as they are), or
            batches of them or of (inputs, labels), such as a loader.

    Yields:
        Inputs in floating point, batch by batch.

    Raises:
        ValueError: If a batch holds no tensor or is empty, or the data are one batch's inputs and
            labels.
    """
    for number, batch in enumerate([data] if isinstance(data, Tensor) else data):
        inputs = batch[0] if isinstance(batch, tuple | list) else batch
        if not isinstance(inputs, Tensor):
            raise ValueError(f"the data yield {type(inputs).__name__}; pass batches of tensors")
        if number and batch is inputs and inputs.ndim < 4:
            raise ValueError(
                f"the data yield a tensor of shape {tuple(inputs.shape)} behind inputs, which may "
                "be their labels; pass one batch (inputs, labels) as [(inputs, labels)] or its "
                "inputs alone"
            )
        require_samples(inputs)
        yield as_batch(inputs)


def require_samples(inputs: Tensor) -> None:
    """Raises ValueError when a batch is empty."""
    if inputs.numel() == 0:
        raise ValueError(
            f"the batch has shape {tuple(inputs.shape)} and holds nothing; pass at least one "
            "input such as the network will see"
        )

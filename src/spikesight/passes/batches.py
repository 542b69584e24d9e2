"""Inputs, whatever they come in."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator

from torch import Tensor

from spikesight.errors import UserError
from spikesight.presentation import as_batch

_LARGEST_NORMALISED = 16.0


def inputs_of(data: Tensor | Iterable[object]) -> Iterator[Tensor]:
    """Yields the inputs of a tensor, of batches, or of batches with labels.

    Args:
        data: Inputs [B, C, H, W] (frames [B, T, C, H, W]; counts of events as they are), or
            batches of them or of (inputs, labels), such as a loader.

    Yields:
        Inputs in floating point, batch by batch.

    Raises:
        UserError: If a batch holds no tensor or is empty, or the data are one batch's inputs and
            labels.
    """
    for number, batch in enumerate([data] if isinstance(data, Tensor) else data):
        inputs = batch[0] if isinstance(batch, tuple | list) else batch
        if not isinstance(inputs, Tensor):
            raise UserError(f"the data yield {type(inputs).__name__}; pass batches of tensors")
        if number and batch is inputs and inputs.ndim < 4:
            raise UserError(
                f"the data yield a tensor of shape {tuple(inputs.shape)} behind inputs, which may "
                "be their labels; pass one batch (inputs, labels) as [(inputs, labels)] or its "
                "inputs alone"
            )
        yield checked_inputs(inputs)


def checked_inputs(inputs: Tensor) -> Tensor:
    """Inputs as networks take them; warns of photos that nobody normalised.

    Args:
        inputs: As `spikesight.presentation.as_batch` takes them.

    Raises:
        UserError: If the batch is empty or holds a number that is not finite, or bytes of photos.
    """
    require_samples(inputs)
    batch = as_batch(inputs)
    require_finite(batch)
    photos = batch.ndim == 4 and batch.shape[1] in (1, 3)
    if (
        photos
        and _LARGEST_NORMALISED < float(batch.max()) <= 255
        and bool((batch == batch.round()).all())
    ):
        warnings.warn(
            f"the inputs are whole numbers up to {int(batch.max())}, as of photos that are not "
            "normalised; pass preprocessing.batch_transform(photos), or what the network learned "
            "from",
            stacklevel=3,
        )
    return batch


def require_samples(inputs: Tensor) -> None:
    """Raises UserError when a batch is empty."""
    if inputs.numel() == 0:
        raise UserError(
            f"the batch has shape {tuple(inputs.shape)} and holds nothing; pass at least one "
            "input such as the network will see"
        )


def require_finite(inputs: Tensor) -> None:
    """Raises UserError when a number is not finite."""
    if inputs.is_floating_point() and not bool(inputs.isfinite().all()):
        raise UserError(
            "the inputs hold values that are not finite; pass finite ones, such as images "
            "normalised by a standard deviation that is not 0"
        )

"""What can be the mean and standard deviation of images."""

from __future__ import annotations

from collections.abc import Sequence

from spikesight.data.errors import DataError

LEAST_DEVIATION = 1e-6
"""Deviations are measured to six decimals; what is divided by less may become infinite."""


def check_normalisation(
    section: str, mean: Sequence[float] | None, std: Sequence[float] | None
) -> None:
    """Checks that mean and standard deviation can be those of images in 0..1.

    Args:
        section: What messages put before the names, such as "data.".
        mean: One value per channel.
        std: One value per channel.

    Raises:
        DataError: If they cannot, as those of images in 0..255.
    """
    if mean is not None and not all(0 <= value <= 1 for value in mean):
        raise DataError(
            f"{section}mean is {mean}; pass values in 0..1, of images in 0..1 (those of images "
            "in 0..255 divided by 255)"
        )
    if std is not None and not all(LEAST_DEVIATION <= value <= 1 for value in std):
        raise DataError(
            f"{section}std is {std}; pass values from {LEAST_DEVIATION} to 1, of images in 0..1 "
            "(those of images in 0..255 divided by 255)"
        )

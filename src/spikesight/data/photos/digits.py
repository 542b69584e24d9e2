"""The 1,797 handwritten digits that come with scikit-learn."""

from __future__ import annotations

import torch

from spikesight.data.sources import ArraySource


def read_digits() -> ArraySource:
    """Reads the digits: grey, white on black, 8 x 8 pixels of 17 levels.

    Returns:
        uint8 `[1797, 1, 8, 8]` in 0..255 and the classes "0" to "9".
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    levels = torch.from_numpy(data.images).unsqueeze(1)
    return ArraySource(
        (levels * (255 / 16)).round().to(torch.uint8),
        torch.from_numpy(data.target).long(),
        [str(digit) for digit in range(10)],
        "scikit-learn's digits",
    )

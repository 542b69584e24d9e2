import warnings

import pytest
import torch

from spikesight.data import Preprocessing


def test_images_in_0_to_1_are_told() -> None:
    transform = Preprocessing(8, 3, (0.5,) * 3, (0.5,) * 3).batch_transform
    image = torch.rand(2, 3, 8, 8)
    with pytest.warns(UserWarning, match=r"taken for 0\.\.255"):
        transform(image)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transform(image * 255)
        transform((image * 255).byte())
        transform(torch.zeros(2, 3, 8, 8))

"""Making a network's integers: what has none."""

from __future__ import annotations

import pytest
import torch

import spikesight as ss
from spikesight.passes.integerisation import NotDeployableError


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_have_no_integers(value: float) -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=5).eval()
    with torch.no_grad():
        next(model.parameters()).flatten()[0] = value
    with pytest.raises(NotDeployableError, match=r"trunk\.0\.0.* not finite"):
        ss.deploy(model, torch.rand(1, 3, 16, 16))

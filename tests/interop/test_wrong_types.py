"""State dicts and settings of wrong types are refused by name, whatever the family."""

from typing import Any

import pytest
import torch

import spikesight as ss
from spikesight.errors import UserError
from tests.robustness.state_dicts import official_state

FAMILIES = ["metaspikformer", "qsd", "spikformer", "spike2former"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ({"head.bias": None}, "'head.bias' is of type NoneType"),
        ({"head.bias": [1.0]}, "'head.bias' is of type list"),
        ({"model": {"a": torch.ones(1)}}, "'model' is of type dict"),
        ({3: torch.ones(1)}, "3 is no name"),
        ({"head.bias": torch.ones(3).to_sparse()}, "'head.bias' is a tensor of another kind"),
        ({"head.bias": torch.ones(3, device="meta")}, "'head.bias' is a tensor of another kind"),
        ({"head.bias": torch.ones(3, dtype=torch.complex64)}, "'head.bias' is a tensor of another"),
    ],
)
def test_entries(family: str, entries: dict[Any, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        ss.load_official(family, official_state() | entries)
    for nothing in (None, [], {}, [torch.ones(1)]):
        with pytest.raises(UserError, match=f"a state dict of {family} maps names to tensors"):
            ss.load_official(family, nothing)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("setting", "value"),
    [("num_heads", 0), ("num_heads", "8"), ("steps", 10**9), ("levels", -1), ("neuron", 3)],
)
def test_settings(family: str, setting: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"{setting} is .*; pass "):
        ss.load_official(family, official_state(), **{setting: value})

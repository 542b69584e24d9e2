"""Networks drawn at random compute the same in every form, with any threads and shape."""

from __future__ import annotations

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")

from tests.deployment.random_networks import case, drawn, search


@pytest.mark.parametrize("seed", [4, 9])
def test_no_form_differs(seed: int) -> None:
    one = case(**drawn(seed))
    assert one is not None
    assert one.differences() == {}


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(1000, 1200, 10))
def test_no_form_differs_over_many_draws(first: int) -> None:
    assert search(first, 10) == {}

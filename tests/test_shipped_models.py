"""Trained models that come along do what their cards say."""

from __future__ import annotations

import pytest

import spikesight as ss
from spikesight.files.calibration import read_measured
from spikesight.files.shipped import find_weights, weights_names
from tests.drawn_lines import drawn_digits


def test_digits_drawn_with_a_pen_are_read() -> None:
    digits, images = zip(*drawn_digits(12), strict=True)
    read = [found[0]["label"] for found in ss.pipeline("digits_nano")(list(images))]
    right = sum(label == str(digit) for label, digit in zip(read, digits, strict=True))
    assert right >= 0.95 * len(digits)


@pytest.mark.parametrize("name", weights_names())
def test_deployment_needs_no_data(name: str) -> None:
    folder = find_weights(name)
    assert folder is not None
    assert read_measured(folder)

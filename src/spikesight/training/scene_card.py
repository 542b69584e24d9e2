"""The card of a segmenter, as version 0.1 called it."""

from __future__ import annotations

from typing import Any

from spikesight.training.runs.card import Card


def SceneCard(  # noqa: N802
    task: str, data: Any, preprocessing: Any, epoch: int, weights: str, metrics: Any, view: Any
) -> Card:
    """A `Card`, its attributes in the order of before."""
    return Card(data, preprocessing, epoch, weights, metrics, task, view=view)

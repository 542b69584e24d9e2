"""The distribution of attention scores and its entropy (QSD-Transformer eqs. 7 to 11)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spikesight.attention import SpikingAttentionRecorder
from spikesight.errors import UserError
from spikesight.models import SpikingModel


@dataclass(frozen=True)
class ScoreDistribution:
    """How the attention scores of one model are distributed.

    Attributes:
        name: What the model is called.
        mean: Mean score.
        deviation: Standard deviation of the scores.
        edges: Ends of the bins of (score - mean) / deviation, [bins + 1].
        shares: Share of the scores in each bin, [bins], sum 1.
        entropy: -sum p log2 p over the bins, in bits (eq. 11).
        normal_entropy: Entropy in bits of a normal distribution in such bins, log2(2 pi e) / 2 -
            log2(width): the most that scores of this deviation can have (proposition 2), apart
            from the bins' width.
    """

    name: str
    mean: float
    deviation: float
    edges: Tensor
    shares: Tensor
    entropy: float
    normal_entropy: float


@torch.no_grad()
def attention_scores(model: SpikingModel, images: Tensor) -> list[Tensor]:
    """The scores Q K^T of every attention layer, in evaluation mode.

    Args:
        model: A spiking model or its ANN twin, with attention.
        images: Its input, [B, C, H, W] or [B, T, C, H, W].

    Returns:
        Per layer [T*B, heads, N, N], N tokens.

    Raises:
        ValueError: If the model has no attention.
    """
    recorder = SpikingAttentionRecorder(model, model.steps)
    was_training = model.training
    try:
        model.eval()(images)
        layers = recorder.take()
    finally:
        recorder.close()
        model.train(was_training)
    return [layer.query.flatten(-2).transpose(-1, -2) @ layer.key.flatten(-2) for layer in layers]


def score_distributions(
    models: Mapping[str, SpikingModel], images: Tensor, bins: int = 64, reach: float = 4.0
) -> list[ScoreDistribution]:
    """The attention scores of several models on the same images, made comparable.

    Args:
        models: Name to model.
        images: Their input, [B, C, H, W] or [B, T, C, H, W].
        bins: Number of bins.
        reach: Last bin's end, in standard deviations.

    Returns:
        One distribution per model, in order.

    Raises:
        ValueError: If a model has no attention, or all of its scores are the same.
    """
    return [
        score_distribution(name, attention_scores(model, images), bins, reach)
        for name, model in models.items()
    ]


def score_distribution(
    name: str, scores: Sequence[Tensor], bins: int = 64, reach: float = 4.0
) -> ScoreDistribution:
    """How scores are distributed, over all layers, heads, tokens and images together.

    They are standardised, since neurons have different units. Scores beyond the reach count in the
    outermost bins.

    Args:
        name: What the model is called.
        scores: Per layer, as `attention_scores` gives them.
        bins: Number of bins.
        reach: Last bin's end, in standard deviations.

    Raises:
        ValueError: If all scores are the same.
    """
    values = _flat(scores)
    mean, deviation = float(values.mean()), float(values.std(correction=0))
    if deviation == 0:
        raise UserError(
            f"all attention scores of {name} are {mean:g}; its queries or keys are silent, "
            "train it first or pass other images"
        )
    places = _places((values - mean) / deviation, bins, reach)
    shares = torch.bincount(places, minlength=bins).double() / len(values)
    return ScoreDistribution(
        name,
        mean,
        deviation,
        edges=torch.linspace(-reach, reach, bins + 1, dtype=torch.float64),
        shares=shares,
        entropy=_entropy(shares),
        normal_entropy=0.5 * math.log2(2 * math.pi * math.e) - math.log2(2 * reach / bins),
    )


def mutual_information(
    student: Sequence[Tensor], teacher: Sequence[Tensor], bins: int = 64, reach: float = 4.0
) -> tuple[float, float]:
    """What the student's attention scores know of the teacher's (eqs. 7 and 8).

    I(S; A) = H(S) - H(S | A), estimated from the joint histogram of standardised scores; the
    estimate is too high by about bins^2 / (2 ln 2 * number of scores) bits.

    Args:
        student: Scores per layer, as `attention_scores` gives them.
        teacher: Those of the same-shape teacher for the same images.
        bins: Number of bins per side.
        reach: Last bin's end, in standard deviations.

    Returns:
        The mutual information and the conditional entropy H(S | A), both in bits.

    Raises:
        ValueError: If the shapes differ, or all scores of one side are the same.
    """
    shapes = [[tuple(scores.shape) for scores in side] for side in (student, teacher)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"the student's scores have the shapes {shapes[0]} and the teacher's {shapes[1]}; pass "
            "a teacher of the same shape and the same images"
        )
    places = []
    for name, side in (("student", student), ("teacher", teacher)):
        scores = _flat(side)
        deviation = scores.std(correction=0)
        if deviation == 0:
            raise UserError(f"all scores of the {name} are the same; pass other images")
        places.append(_places((scores - scores.mean()) / deviation, bins, reach))
    counts = torch.bincount(places[0] * bins + places[1], minlength=bins * bins).double()
    joint = (counts / counts.sum()).view(bins, bins)
    conditional = _entropy(joint) - _entropy(joint.sum(0))
    return _entropy(joint.sum(1)) - conditional, conditional


def _flat(scores: Sequence[Tensor]) -> Tensor:
    return torch.cat([layer.flatten() for layer in scores]).double()


def _places(standardised: Tensor, bins: int, reach: float) -> Tensor:
    return ((standardised + reach) * (bins / (2 * reach))).long().clamp(0, bins - 1)


def _entropy(shares: Tensor) -> float:
    present = shares[shares > 0]
    return float(-(present * present.log2()).sum())

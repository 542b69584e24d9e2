"""Fine-grained distillation: the attention of a student becomes similar to a teacher's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from spikesight.attention import AttentionTensors
from spikesight.errors import UserError

_SMALLEST_NORM = 1e-6
_SMALLEST_SQUARE = 1e-12


def attention_similarity_loss(
    student: Sequence[AttentionTensors], teacher: Sequence[AttentionTensors]
) -> Tensor:
    """Distance between the similarity matrices of queries, keys and values (QSD eq. 13).

    With X in {query, key, value} of a layer and head as a matrix of N tokens by d channels and
    G = X X^T [N, N],

        L = sum over layers, heads and X of || G_T / ||G_T|| - G_S / ||G_S|| ||,

    all norms Frobenius, averaged over the batch; eq. 14 adds 2 L to the classification loss. The
    channels need not agree, since G has none. No N x N matrix is made:
    <X X^T, Y Y^T> = ||X^T Y||^2. A silent X has G / ||G|| = 0. Computed in float32 or more,
    whatever the autocast; a distance below about 1e-3 is rounding in float32.

    Where the two networks differ in shape:

    - time: spikes are averaged over their T steps;
    - depth: of L_S and L_T layers, the student's layer l (from 1) learns from the teacher's layer
      ceil(l L_T / L_S): equal relative depth, the last from the last;
    - heads: in other numbers on both sides they are joined into one head of all channels, whose G
      is the sum of the heads' G;
    - tokens: the teacher's map is resized to the student's (bilinear, with antialiasing).

    Args:
        student: Attention layers in order.
        teacher: Attention layers in order, for the same batch; they get no gradient.

    Returns:
        A scalar.

    Raises:
        UserError: If either has no layer, or the batches differ in size.
    """
    for name, layers in (("student", student), ("teacher", teacher)):
        if not layers:
            raise UserError(
                f"no attention of the {name} was recorded; run a forward pass in the mode in "
                "which its recorder listens"
            )
    terms = []
    with torch.autocast(student[0].query.device.type, enabled=False):
        for index, layer in zip(matching_layers(len(student), len(teacher)), student, strict=True):
            own, other = layer.mean_over_time(), teacher[index].mean_over_time()
            joined = own.heads != other.heads
            for name in ("query", "key", "value"):
                mine, theirs = _full(getattr(own, name)), _full(getattr(other, name).detach())
                if len(mine) != len(theirs):
                    raise UserError(
                        f"the student saw {len(mine)} images and the teacher {len(theirs)}; "
                        "pass both the same batch"
                    )
                theirs = _resize(theirs, (mine.shape[-2], mine.shape[-1]))
                terms.append(_distance(_tokens(mine, joined), _tokens(theirs, joined)))
        return torch.stack(terms).sum()


def matching_layers(student: int, teacher: int) -> list[int]:
    """Which layer of the teacher each layer of the student learns from.

    Args:
        student: Number of layers L_S.
        teacher: Number of layers L_T.

    Returns:
        Indices from 0, one per layer of the student: ceil(l L_T / L_S) - 1 for l = 1..L_S.
    """
    return [-(-layer * teacher // student) - 1 for layer in range(1, student + 1)]


def _full(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps [B, heads, d, H, W] at another size."""
    if tuple(x.shape[-2:]) == size:
        return x
    resized = interpolate(x.flatten(1, 2), size, mode="bilinear", antialias=True)
    return resized.reshape(*x.shape[:3], *size)


def _tokens(x: Tensor, joined: bool) -> Tensor:
    """Maps [B, heads, d, H, W] as matrices [B, heads, N, d], or [B, 1, N, heads * d]."""
    if joined:
        x = x.flatten(1, 2).unsqueeze(1)
    return x.flatten(-2).transpose(-1, -2)


def _distance(x: Tensor, y: Tensor) -> Tensor:
    """Sum over heads, mean over the batch of || X X^T / ||X X^T|| - Y Y^T / ||Y Y^T|| ||."""
    own, other = _gram(x, x), _gram(y, y)
    own_norm, other_norm = own.clamp_min(_SMALLEST_NORM), other.clamp_min(_SMALLEST_NORM)
    overlap = _gram(x, y).square() / own_norm / other_norm
    square = (own / own_norm).square() + (other / other_norm).square() - 2 * overlap
    return square.clamp_min(_SMALLEST_SQUARE).sqrt().sum(1).mean()


def _gram(x: Tensor, y: Tensor) -> Tensor:
    """||X^T Y|| per head, [B, heads]."""
    norm: Tensor = torch.linalg.vector_norm(x.transpose(-1, -2) @ y, dim=(-2, -1))
    return norm

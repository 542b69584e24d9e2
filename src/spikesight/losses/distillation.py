"""What a student learns from the logits of a teacher."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from spikesight.errors import UserError
from spikesight.losses.config import DistillationConfig as DistillationConfig
from spikesight.options import check_range
from spikesight.segmentation_outputs import PixelSegmentation, Segmentation

_LEAST_SCORE = 1e-6


def class_logits(output: Any) -> Tensor:
    """What a model says of classes, of whatever it classifies.

    Args:
        output: Logits [B, K], a `PixelSegmentation`, or a `Segmentation`, whose classified masks
            are joined to scores of every pixel (MaskFormer, arXiv 2107.06278, eq. 4): these do not
            depend on the order of the queries.

    Returns:
        Logits [B, K], or [B, K, h, w] of pixels; of joined masks the logarithm of the scores.
    """
    if isinstance(output, PixelSegmentation):
        return output.pixel_logits
    if isinstance(output, Segmentation):
        classes = output.class_logits.float().softmax(-1)[..., :-1]
        masks = output.mask_logits.float().sigmoid()
        scores = torch.einsum("bqk,bqhw->bkhw", classes, masks)
        return scores.clamp_min(_LEAST_SCORE).log()
    assert isinstance(output, Tensor)
    return output


def soft_label_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """temperature^2 KL(teacher || student) of the softened probabilities (arXiv 1503.02531).

    The square keeps the size of the gradient as the temperature grows.

    Args:
        logits: Of the student [B, K], or of its pixels [B, K, h, w].
        teacher_logits: Of the teacher, in the same shape; they get no gradient.
        temperature: What both are divided by.

    Returns:
        The mean over the batch and its pixels, in nats.

    Raises:
        UserError: If the shapes differ or the temperature is not above 0.
    """
    _check_shapes(logits, teacher_logits)
    check_range("temperature", temperature, above=0)
    logits, taught = (part.movedim(1, -1).flatten(0, -2) for part in (logits, teacher_logits))
    own = (logits.float() / temperature).log_softmax(1)
    other = (taught.detach().float() / temperature).log_softmax(1)
    return temperature**2 * kl_div(own, other, reduction="batchmean", log_target=True)


def hard_label_loss(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Cross entropy with the teacher's first guesses as labels (arXiv 2012.12877 eq. 3).

    Args:
        logits: Of the student [B, K], or of its pixels [B, K, h, w].
        teacher_logits: Of the teacher, in the same shape.

    Returns:
        The mean over the batch and its pixels, in nats.

    Raises:
        UserError: If the shapes differ.
    """
    _check_shapes(logits, teacher_logits)
    return cross_entropy(logits.float(), teacher_logits.argmax(1))


def _check_shapes(logits: Tensor, teacher_logits: Tensor) -> None:
    if logits.shape != teacher_logits.shape:
        raise UserError(
            f"the student's logits have the shape {tuple(logits.shape)} and the teacher's "
            f"{tuple(teacher_logits.shape)}; pass both for the same images and classes"
        )

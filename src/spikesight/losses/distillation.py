"""What a student learns from the logits of a teacher."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from spikesight.errors import UserError
from spikesight.losses.config import DistillationConfig as DistillationConfig
from spikesight.options import check_range


def soft_label_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """temperature^2 KL(teacher || student) of the softened probabilities (arXiv 1503.02531).

    The square keeps the size of the gradient as the temperature grows.

    Args:
        logits: Of the student [B, K].
        teacher_logits: Of the teacher [B, K]; they get no gradient.
        temperature: What both are divided by.

    Returns:
        The mean over the batch, in nats.

    Raises:
        UserError: If the shapes differ or the temperature is not above 0.
    """
    _check_shapes(logits, teacher_logits)
    check_range("temperature", temperature, above=0)
    own = (logits.float() / temperature).log_softmax(1)
    other = (teacher_logits.detach().float() / temperature).log_softmax(1)
    return temperature**2 * kl_div(own, other, reduction="batchmean", log_target=True)


def hard_label_loss(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Cross entropy with the teacher's first guesses as labels (arXiv 2012.12877 eq. 3).

    Args:
        logits: Of the student [B, K].
        teacher_logits: Of the teacher [B, K].

    Returns:
        The mean over the batch, in nats.

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

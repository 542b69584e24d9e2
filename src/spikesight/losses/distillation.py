"""What a student learns from the logits of a teacher, and the settings of distillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from spikesight.options import check_options


@dataclass
class DistillationConfig:
    """Learning from a teacher, which sees the same augmented and mixed images.

    Args:
        teacher: Folder of a trained run, such as that of the ANN twin, or "timm:NAME" for a model
            of timm with its published weights; None for no teacher.
        teacher_weights: File with other weights for the model of timm, such as those fine-tuned on
            these classes.
        logits: "soft" learns the teacher's probabilities, "hard" its first guesses, "none"
            neither. Teacher and data need the same classes.
        logits_share: Share of this loss, in [0, 1]; the labels keep the rest.
        temperature: What both logits are divided by for "soft"; higher shows more of the order
            among wrong classes.
        attention: Whether queries, keys and values become similar to the teacher's (QSD eq. 13).
        attention_weight: Factor of that loss beside the others (QSD eq. 14).
    """

    teacher: str | None = None
    teacher_weights: str | None = None
    logits: Literal["none", "soft", "hard"] = "none"
    logits_share: float = 0.5
    temperature: float = 3.0
    attention: bool = False
    attention_weight: float = 2.0

    def __post_init__(self) -> None:
        check_options(self, "distillation.")
        if not 0.0 <= self.logits_share <= 1.0:
            raise ValueError(
                f"distillation.logits_share is {self.logits_share}; pass a share in [0, 1]"
            )
        if self.temperature <= 0:
            raise ValueError(
                f"distillation.temperature is {self.temperature}; pass more than 0, such as 3"
            )
        if self.attention_weight <= 0:
            raise ValueError(
                f"distillation.attention_weight is {self.attention_weight}; pass more than 0, or "
                "distillation.attention=false"
            )
        learning = self.logits != "none" or self.attention
        if learning and self.teacher is None:
            raise ValueError(
                "distillation has no teacher; pass distillation.teacher, a folder or timm:NAME"
            )
        if self.teacher is not None and not learning:
            raise ValueError(
                f"distillation.teacher is {self.teacher} but nothing is learned from it; pass "
                "distillation.logits soft or hard, or distillation.attention=true"
            )
        if self.teacher_weights is not None and not (self.teacher or "").startswith("timm:"):
            raise ValueError(
                "distillation.teacher_weights belongs to a teacher of timm; pass "
                "distillation.teacher=timm:NAME"
            )


def soft_label_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """temperature^2 KL(teacher || student) of the softened probabilities (arXiv 1503.02531).

    The square keeps the size of the gradient as the temperature grows.

    Args:
        logits: Of the student [B, K].
        teacher_logits: Of the teacher [B, K]; they get no gradient.
        temperature: What both are divided by.

    Returns:
        The mean over the batch, in nats.
    """
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
    """
    return cross_entropy(logits.float(), teacher_logits.argmax(1))

from typing import Any

import pytest
import torch

from spikesight.losses import DistillationConfig, hard_label_loss, soft_label_loss


def test_soft_labels_against_the_sum() -> None:
    logits = torch.randn(4, 5, requires_grad=True)
    teacher = torch.randn(4, 5, requires_grad=True)
    own, other = (logits / 2).softmax(1), (teacher / 2).softmax(1)
    expected = 4 * (other * (other.log() - own.log())).sum() / 4
    loss = soft_label_loss(logits, teacher, 2.0)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert logits.grad is not None
    assert teacher.grad is None
    assert float(soft_label_loss(teacher, teacher, 2.0).detach()) == pytest.approx(0, abs=1e-6)


def test_hard_labels_are_the_first_guesses() -> None:
    logits, teacher = torch.randn(4, 5), torch.randn(4, 5)
    expected = torch.nn.functional.cross_entropy(logits, teacher.argmax(1))
    torch.testing.assert_close(hard_label_loss(logits, teacher), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"logits": "soft"}, r"no teacher; pass distillation\.teacher"),
        ({"attention": True}, r"no teacher; pass distillation\.teacher"),
        ({"teacher": "run"}, "nothing is learned from it"),
        ({"teacher": "run", "logits": "warm"}, r"distillation\.logits is 'warm'"),
        ({"teacher": "run", "logits": "soft", "temperature": 0.0}, "temperature is 0.0"),
        ({"teacher": "run", "logits": "soft", "logits_share": 1.5}, "logits_share is 1.5"),
        ({"teacher": "run", "attention": True, "attention_weight": 0.0}, "attention_weight is 0"),
        ({"teacher": "run", "attention": True, "teacher_weights": "w"}, "teacher of timm"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DistillationConfig(**settings)


def test_logits_of_other_shapes_are_refused() -> None:
    student = torch.zeros(4, 3)
    for other in (torch.zeros(4, 1), torch.zeros(1, 3), torch.zeros(4, 5)):
        with pytest.raises(ValueError, match="teacher's"):
            soft_label_loss(student, other, 1.0)
        with pytest.raises(ValueError, match="teacher's"):
            hard_label_loss(student, other)
    with pytest.raises(ValueError, match="temperature is 0"):
        soft_label_loss(student, student, 0.0)

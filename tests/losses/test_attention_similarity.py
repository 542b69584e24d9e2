"""Equation 13 of QSD-Transformer, against a reference written term by term."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from spikesight.attention import AttentionTensors
from spikesight.losses import attention_similarity_loss, matching_layers


def layer(
    heads: int = 2,
    width: int = 3,
    size: tuple[int, int] = (4, 4),
    batch: int = 2,
    steps: int = 1,
    dtype: torch.dtype = torch.float64,
) -> AttentionTensors:
    shape = (steps * batch, heads, width, *size)
    parts = (torch.randint(0, 5, shape).to(dtype).requires_grad_() for _ in range(3))
    return AttentionTensors(*parts, steps=steps)


def distance(x: Tensor, y: Tensor) -> float:
    """One term: x and y are the tokens [d, H, W] of one sample and head."""
    rows = []
    for part in (x, y):
        tokens = part.flatten(1).T.tolist()
        similarity = [
            [sum(a * b for a, b in zip(i, j, strict=True)) for j in tokens] for i in tokens
        ]
        norm = math.sqrt(sum(value**2 for row in similarity for value in row))
        rows.append([value / norm if norm else 0.0 for row in similarity for value in row])
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(*rows, strict=True)))


def reference(student: list[AttentionTensors], teacher: list[AttentionTensors]) -> float:
    total = 0.0
    for own, other in zip(student, teacher, strict=True):
        for name in ("query", "key", "value"):
            x, y = getattr(own, name), getattr(other, name)
            for sample in range(len(x)):
                for head in range(x.shape[1]):
                    total += distance(x[sample, head], y[sample, head]) / len(x)
    return total


def test_loss_is_equation_13() -> None:
    student, teacher = [layer(), layer(width=5)], [layer(), layer(width=7)]
    loss = attention_similarity_loss(student, teacher)
    assert float(loss.detach()) == pytest.approx(reference(student, teacher), abs=1e-9)
    assert loss.dtype == torch.float64


def test_only_the_student_learns() -> None:
    student, teacher = layer(), layer()
    attention_similarity_loss([student], [teacher]).backward()
    for name in ("query", "key", "value"):
        gradient = getattr(student, name).grad
        assert gradient is not None
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 1e-4
        assert getattr(teacher, name).grad is None


def test_gradient_is_that_of_the_loss() -> None:
    fixed = layer()
    teacher = layer()

    def loss(query: Tensor) -> Tensor:
        return attention_similarity_loss(
            [AttentionTensors(query, fixed.key.detach(), fixed.value.detach())], [teacher]
        )

    assert torch.autograd.gradcheck(loss, (torch.rand_like(fixed.query).requires_grad_(),))


def test_equal_attention_costs_nothing_and_silence_is_finite() -> None:
    student = layer()
    assert float(attention_similarity_loss([student], [student]).detach()) < 1e-4
    silent = AttentionTensors(*(torch.zeros(2, 2, 3, 4, 4, requires_grad=True) for _ in range(3)))
    loss = attention_similarity_loss([silent], [layer(dtype=torch.float32)])
    assert float(loss.detach()) == pytest.approx(2 * 3, rel=1e-5)
    loss.backward()
    assert silent.query.grad is not None
    assert silent.query.grad.isfinite().all()


def test_layers_match_from_the_end_by_relative_depth() -> None:
    assert matching_layers(3, 3) == [0, 1, 2]
    assert matching_layers(2, 12) == [5, 11]
    assert matching_layers(8, 12) == [1, 2, 4, 5, 7, 8, 10, 11]
    assert matching_layers(4, 2) == [0, 0, 1, 1]
    student, teacher = [layer(), layer()], [layer() for _ in range(6)]
    matched = [teacher[2], teacher[5]]
    loss = attention_similarity_loss(student, teacher)
    assert float(loss.detach()) == pytest.approx(reference(student, matched), abs=1e-9)


def changed(tensors: AttentionTensors, change: Callable[[Tensor], Tensor]) -> AttentionTensors:
    return AttentionTensors(*map(change, (tensors.query, tensors.key, tensors.value)))


def test_unequal_heads_are_joined() -> None:
    student, teacher = layer(heads=2, width=3), layer(heads=4, width=2)
    loss = attention_similarity_loss([student], [teacher])
    joined = [changed(x, lambda t: t.flatten(1, 2).unsqueeze(1)) for x in (student, teacher)]
    assert float(loss.detach()) == pytest.approx(reference([joined[0]], [joined[1]]), abs=1e-9)


def test_the_teachers_map_takes_the_students_size() -> None:
    student, teacher = layer(size=(4, 4)), layer(size=(8, 8))
    smooth = changed(teacher, lambda t: torch.ones_like(t).cumsum(-1).requires_grad_())
    loss = attention_similarity_loss([student], [smooth])
    small = changed(
        smooth,
        lambda t: torch.nn.functional.interpolate(
            t.detach().flatten(1, 2), (4, 4), mode="bilinear", antialias=True
        ).unflatten(1, (2, 3)),
    )
    assert float(loss.detach()) == pytest.approx(reference([student], [small]), abs=1e-9)


def test_time_is_averaged() -> None:
    student, teacher = layer(steps=3), layer()
    loss = attention_similarity_loss([student], [teacher])
    mean = changed(student, lambda t: (t[0:2] + t[2:4] + t[4:6]) / 3)
    assert float(loss.detach()) == pytest.approx(reference([mean], [teacher]), abs=1e-9)


def test_half_precision_is_not_used_for_the_products() -> None:
    student, teacher = layer(dtype=torch.float32), layer(dtype=torch.float32)
    plain = attention_similarity_loss([student], [teacher])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert attention_similarity_loss([student], [teacher]) == plain


def test_errors_say_what_is_missing() -> None:
    with pytest.raises(ValueError, match="no attention of the teacher was recorded"):
        attention_similarity_loss([layer()], [])
    with pytest.raises(ValueError, match="student saw 2 images and the teacher 3"):
        attention_similarity_loss([layer()], [layer(batch=3)])

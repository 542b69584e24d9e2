"""What maps compute does not depend on the order of their memory, which goes through unchanged."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import spikesight as ss
from spikesight.memory_format import is_channels_last

Compute = Callable[..., Tensor]


def maps(*shapes: tuple[int, ...]) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randint(0, 5, shape, generator=draw).double() for shape in shapes]


def results(compute: Compute, inputs: list[Tensor], memory: torch.memory_format) -> list[Tensor]:
    leaves = [x.contiguous(memory_format=memory).requires_grad_() for x in inputs]
    output = compute(*leaves)
    (cotangent,) = maps(tuple(output.shape))
    if output.ndim == 4:
        cotangent = cotangent.contiguous(memory_format=memory)
    return [output, *torch.autograd.grad(output, leaves, cotangent)]


@pytest.mark.parametrize(
    ("compute", "shapes"),
    [
        (ss.AttentionProduct(heads=3, scale=0.3, mean=True), [(2, 12, 5, 4)] * 3),
        (ss.AttentionProduct(heads=2, scale=0.3), [(2, 8, 1, 6), (2, 8, 5, 4), (2, 8, 5, 4)]),
        (ss.GlobalPool(), [(3, 7, 5, 4)]),
        (ss.BorderNorm(6, padding=2).double().eval(), [(3, 6, 5, 4)]),
    ],
)
def test_both_orders_give_the_same(compute: Compute, shapes: list[tuple[int, ...]]) -> None:
    inputs = maps(*shapes)
    plain = results(compute, inputs, torch.contiguous_format)
    last = results(compute, inputs, torch.channels_last)
    for expected, found in zip(plain, last, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert last[0].ndim == 2 or is_channels_last(last[0])
    assert is_channels_last(last[1])


def test_attention_products_of_counts_are_the_same_in_every_bit() -> None:
    inputs = [x.float() for x in maps(*[(2, 12, 5, 4)] * 3)]
    product = ss.AttentionProduct(heads=3, scale=0.3)
    last = (x.contiguous(memory_format=torch.channels_last) for x in inputs)
    assert torch.equal(product(*inputs), product(*last))


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("training", [True, False])
def test_a_border_is_the_image_of_zero(memory: torch.memory_format, training: bool) -> None:
    border = ss.BorderNorm(6, padding=2).train(training)
    torch.nn.init.normal_(border.norm.bias)
    (current,) = maps((3, 6, 5, 4))
    current = current.float().contiguous(memory_format=memory)
    padded = border(current)
    outside = F.pad(torch.zeros(5, 4), (2, 2, 2, 2), value=1.0).bool()
    expected = border.border()[:, None].expand(3, -1, int(outside.sum()))
    assert torch.equal(padded[..., outside], expected)
    assert padded.is_contiguous(memory_format=memory)

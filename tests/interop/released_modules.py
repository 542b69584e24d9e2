"""What an authors' module recorded in evaluation and in training, compared to ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.interop.filling import Names, rename
from spikesight.neurons import Neuron
from tests.interop.test_official_metaspikformer import relative_error

EXACT = 1e-9
Oracle = dict[str, Any]


def their_names(state: Mapping[str, Tensor], names: Names) -> dict[str, str]:
    """The authors' names of our tensors."""
    numbers = {name: torch.tensor(i) for i, name in enumerate(state)}
    theirs = list(state)
    return {ours: theirs[int(i)] for ours, i in rename(numbers, names).items()}


def neuron_names(neurons: list[str], names: Names) -> dict[str, str]:
    """The authors' names of our neurons."""
    return {names[name]: name for name in neurons}


def check_evaluation(
    model: nn.Module,
    oracle: Oracle,
    neurons: Mapping[str, str],
    as_seen: Callable[[str, Tensor], Tensor] = lambda _, spikes: spikes.flatten(0, 1),
) -> None:
    """Outputs, the input's gradient and every spike.

    Args:
        model: In evaluation mode.
        oracle: What was recorded.
        neurons: The authors' names of our neurons.
        as_seen: Spikes of one of theirs, by its name, as [T*B, ...] with as many elements as ours.
    """
    counts: dict[str, Tensor] = {}
    watched = {name: part for name, part in model.named_modules() if isinstance(part, Neuron)}
    handles = [
        part.register_forward_hook(
            lambda part, _, y, name=name: counts.__setitem__(name, y.detach() / part.unit)
        )
        for name, part in watched.items()
    ]
    x = oracle["io"]["x"].double().requires_grad_()
    output = model(x)
    for handle in handles:
        handle.remove()
    assert relative_error(output.detach(), oracle["io"]["y_eval"]) < EXACT
    (output * oracle["io"]["cot"]).sum().backward()
    assert x.grad is not None
    assert relative_error(x.grad, oracle["io"]["gx_eval"]) < EXACT
    assert {neurons[name] for name in counts} == set(oracle["spikes"])
    for name, ours in counts.items():
        theirs = as_seen(neurons[name], oracle["spikes"][neurons[name]])
        assert torch.equal(ours, theirs.reshape(ours.shape).to(ours)), name
        assert 0 < float(ours.mean()) < watched[name].levels, name


def check_training(
    model: nn.Module,
    oracle: Oracle,
    tensors: Mapping[str, str],
    logits: Callable[[Tensor], Tensor] = lambda output: output,
) -> None:
    """One step in training mode: outputs, loss, gradients, and buffers afterwards.

    Of a network with several heads the loss is the sum of theirs.

    Args:
        model: Fresh; put into training mode here.
        oracle: What was recorded.
        tensors: The authors' names of our tensors.
        logits: What of the output the cross entropy reads.
    """
    model.train()
    train = oracle["train"]
    x = oracle["io"]["x"].double().requires_grad_()
    output, expected = model(x), train["y_train"]
    outputs = (output,) if isinstance(output, Tensor) else output
    if "target" in train:
        losses = [nn.functional.cross_entropy(logits(y), train["target"]) for y in outputs]
    else:
        losses = [(y * oracle["io"]["cot"]).sum() for y in outputs]
    loss = torch.stack(losses).sum()
    loss.backward()
    by_head = (expected,) if isinstance(output, Tensor) else expected
    for ours, theirs in zip(outputs, by_head, strict=True):
        assert relative_error(ours.detach(), theirs) < EXACT
    assert relative_error(loss.detach(), train["loss"]) < EXACT
    if "gx" in train:
        assert x.grad is not None
        assert relative_error(x.grad, train["gx"]) < EXACT
    scale = max(float(gradient.abs().max()) for gradient in train["grads"].values())
    parameters = {tensors[name]: p for name, p in model.named_parameters()}
    assert set(train["grads"]) <= set(parameters)
    for name, theirs in train["grads"].items():
        ours = parameters[name].grad
        assert ours is not None, name
        difference = float((ours.view_as(theirs) - theirs).abs().max())
        # A bias before a normalisation has a gradient of zero but for rounding.
        assert difference < EXACT * max(float(theirs.abs().max()), 1e-6 * scale), name
    buffers = {tensors[name]: buffer for name, buffer in model.named_buffers()}
    assert set(buffers) == set(train["buffers_after"])
    for name, theirs in train["buffers_after"].items():
        assert relative_error(buffers[name].double(), theirs.double()) < EXACT, name

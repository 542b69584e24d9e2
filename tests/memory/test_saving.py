"""Less memory gives the same gradients, bit for bit."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.memory import Memory, saving
from spikesight.memory.kept import View
from tests.registered_models import tensors

FORMS: tuple[Memory, ...] = ("low", "lowest")
MODELS: dict[str, dict[str, Any]] = {
    "spikformer_nano": {"steps": 2, "neuron": "lif"},
    "spikformer_v2_nano": {"steps": 2, "neuron": "ni_lif", "levels": 4},
    "metaspikformer_nano": {"levels": 4, "drop_path_rate": 0.5},
    "metaspikformer_tiny": {
        "steps": 2,
        "neuron": "lif",
        "neuron_arguments": {"learnable_tau": True},
    },
    "spike2former_nano": {"levels": 4},
}


@pytest.fixture(autouse=True)
def _of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "_SMALL", 0)
    torch.set_num_threads(1)


def learn(model: nn.Module, images: Tensor, memory: Memory, passes: int = 2) -> list[Tensor]:
    """Loss, gradients and running statistics after some passes whose gradients add up."""
    context = ss.low_memory(model, memory)
    losses = []
    for number in range(passes):
        torch.manual_seed(number)
        with context:
            loss = sum((part - 1).square().mean() for part in learned(model(images)))
        assert isinstance(loss, Tensor)
        loss.backward()
        losses.append(loss.detach())
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert sum(float(grad.abs().sum()) for grad in grads) > 0
    return [*losses, *grads, *model.buffers()]


def learned(output: object) -> list[Tensor]:
    return [tensor for tensor in tensors(output) if tensor.requires_grad]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_the_same(name: str, dtype: torch.dtype, format: torch.memory_format) -> None:
    results = []
    for memory in ("normal", *FORMS):
        torch.manual_seed(0)
        model = ss.create_model(name, num_classes=5, **MODELS[name]).train()
        model = model.to(dtype).to(memory_format=format)
        images = torch.rand(2, 3, 64, 64, dtype=dtype).contiguous(memory_format=format)
        results.append(learn(model, images, memory))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("change", ["autocast", "evaluation", "frozen", "quantised"])
def test_they_are_the_same_in_other_ways_of_training(change: str) -> None:
    results = []
    for memory in ("normal", *FORMS):
        torch.manual_seed(0)
        model = ss.create_model("spikformer_nano", num_classes=5, steps=2, neuron="lif").train()
        images = torch.rand(2, 3, 32, 32)
        if change == "quantised":
            ss.quantize(model, bits=4)
        if change == "frozen":
            next(iter(model.trunk)).requires_grad_(False)  # type: ignore[call-overload]
        if change == "evaluation":
            model.eval()
        with torch.autocast("cpu", torch.bfloat16, enabled=change == "autocast"):
            results.append(learn(model, images, memory))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


class Chain(nn.Module):
    """Two convolutions with their normalisations and neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = ss.ConvNorm(3, 8, 3), ss.ConvNorm(8, 8, 3)
        self.neuron1, self.neuron2 = ss.create_neuron("lif"), ss.create_neuron("lif")

    def forward(self, x: Tensor) -> Tensor:
        spikes: Tensor = self.neuron2(self.second(self.neuron1(self.first(x))))
        return spikes


def kept(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is kept of a chain, by kind and in the order in which it is saved."""
    found = []
    pack = ss.low_memory._pack

    def watched(self: ss.low_memory, tensor: Tensor) -> Tensor | View:
        packed = pack(self, tensor)
        assert isinstance(packed, View)
        if tensor.ndim == 4 and tensor.shape[0] == 2:
            found.append(type(packed.kept).__name__)
        return packed

    monkeypatch.setattr(ss.low_memory, "_pack", watched)
    model = Chain().train()
    with ss.low_memory(model, memory):
        loss = model(torch.rand(2, 3, 16, 16)).sum()
    loss.backward()
    return found


def test_low_keeps_counts_and_what_normalisations_read(monkeypatch: pytest.MonkeyPatch) -> None:
    image, x, counts, y = "KeptTensor", "KeptTensor", "KeptCounts", "KeptOutput"
    assert kept("low", monkeypatch) == [image, x, y, counts, x, y]


def test_lowest_keeps_counts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    image, x, counts, y = "KeptTensor", "KeptOutput", "KeptCounts", "KeptOutput"
    assert kept("lowest", monkeypatch) == [image, x, y, counts, x, y]


def test_a_tensor_that_was_changed_is_refused() -> None:
    model = Chain().train()
    images = torch.rand(2, 3, 16, 16)
    with ss.low_memory(model):
        loss = model(images).sum()
    images.add_(1)
    with pytest.raises(RuntimeError, match="modified in place"):
        loss.backward()


def test_nothing_is_left_behind() -> None:
    model = Chain().train()
    with pytest.raises(ZeroDivisionError), ss.low_memory(model):
        1 / 0  # noqa: B018
    assert not any(module._forward_hooks for module in model.modules())


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ss.errors.UserError, match="memory is 'less'; pass one of normal, low"):
        ss.low_memory(Chain(), "less")  # type: ignore[arg-type]

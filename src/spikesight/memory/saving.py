"""Training in less memory, with the same gradients bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from spikesight.memory.kept import Kept, KeptOutput, KeptTensor, View, smaller
from spikesight.memory.levels import Memory
from spikesight.neurons import Neuron
from spikesight.options import check_value

_SMALL = 1 << 14  # bytes below which a tensor stays as it is


class low_memory:  # noqa: N801 - used like a function, as torch.no_grad is
    """Within a with block, what the backward pass needs is kept in less memory.

        with spikesight.low_memory(model):
            loss = criterion(model(images), labels)
        loss.backward()

    Whatever autograd saves and is a whole multiple of a neuron's unit (spikes, their sums and
    maxima) is kept in 1, 2, 4 or 8 bits an element, once for all who save it. A neuron's current
    that comes from a batch normalisation is computed again from that one's input. "lowest" also
    computes the outputs of convolutions again, so that of a chain of synapses and neurons the
    counts alone are kept. All of it is exact: gradients are those of training without, bit for
    bit, and running statistics are not touched twice.

    A context may be entered again and again, once per batch. Modules that are not
    `nn.Conv2d` and `nn.BatchNorm2d` themselves keep what they keep.

    Args:
        model: The model that learns.
        memory: "low", "lowest" or "normal", which does nothing.

    Raises:
        UserError: If `memory` is none of these.
    """

    def __init__(self, model: nn.Module, memory: Memory = "low") -> None:
        check_value("memory", memory, Memory)
        self.memory = memory
        self._neurons = [neuron for neuron in model.modules() if isinstance(neuron, Neuron)]
        self._units: tuple[float, ...] = ()
        self._again: dict[nn.Module, Callable[[nn.Module], Callable[[Tensor], Tensor]]] = {}
        for module in model.modules():
            if type(module) is nn.BatchNorm2d:
                self._again[module] = _normalise_again
            elif memory == "lowest" and _is_convolution(module):
                self._again[module] = _convolve_again
        self._kept: WeakKeyDictionary[torch.UntypedStorage, tuple[int, Kept]]
        self._open = ExitStack()

    def __enter__(self) -> None:
        """Begins a forward pass."""
        if self.memory == "normal":
            return
        self._units = _units(self._neurons)
        self._kept = WeakKeyDictionary()
        for module in self._again:
            self._open.callback(module.register_forward_hook(self._note).remove)
        self._open.enter_context(saved_tensors_hooks(self._pack, _unpack))

    def __exit__(self, *error: object) -> None:
        """Ends it; what was kept stays for the backward pass."""
        self._open.close()
        self._kept = WeakKeyDictionary()

    def _note(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """Remembers how a module's output can be computed again, as long as that is there."""
        if not (isinstance(output, Tensor) and output.requires_grad and _fills_storage(output)):
            return
        function = self._again[module](module)
        source = self._view(inputs[0].detach())
        restore = _autocast_as_now(output.device.type)

        def again() -> Tensor:
            with restore():
                return function(source.place(source.kept.look()))

        self._remember(output, KeptOutput(again))

    def _pack(self, tensor: Tensor) -> Tensor | View:
        if tensor.numel() * tensor.element_size() < _SMALL or tensor.layout != torch.strided:
            return tensor
        view = self._view(tensor)
        view.kept.awaited += 1
        return view

    def _view(self, tensor: Tensor) -> View:
        version, kept = self._kept.get(tensor.untyped_storage(), (None, None))
        if kept is None or version != tensor._version:
            kept = smaller(tensor, self._units)
            if kept is None:
                # Not under its storage, which would never be freed.
                return View.of(tensor, KeptTensor(tensor))
            self._remember(tensor, kept)
        return View.of(tensor, kept)

    def _remember(self, tensor: Tensor, kept: Kept) -> None:
        self._kept[tensor.untyped_storage()] = (tensor._version, kept)


def _unpack(packed: Tensor | View) -> Tensor:
    return packed if isinstance(packed, Tensor) else packed.place(packed.kept.take())


def _normalise_again(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """The normalisation as it is now, by the statistics of the batch or of before."""
    assert isinstance(module, nn.BatchNorm2d)
    gain, shift, eps = _parameter(module.weight), _parameter(module.bias), module.eps
    statistics = (module.running_mean, module.running_var)
    if module.training:  # of all processes, where these share them
        statistics = vars(module).get("shared_statistics", (None, None))
    by_batch = None in statistics
    mean, variance = (_parameter(None if by_batch else tensor) for tensor in statistics)

    def again(x: Tensor) -> Tensor:
        return F.batch_norm(x, mean(), variance(), gain(), shift(), by_batch, 0.0, eps)

    return again


def _is_convolution(module: nn.Module) -> bool:
    return type(module) is nn.Conv2d and module.padding_mode == "zeros"


def _convolve_again(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """The convolution as it is now."""
    assert isinstance(module, nn.Conv2d)
    weight, bias = KeptTensor(module.weight.detach()), _parameter(module.bias)
    stride, padding, dilation = module.stride, module.padding, module.dilation
    groups = module.groups

    def again(x: Tensor) -> Tensor:
        return F.conv2d(x, weight.look(), bias(), stride, padding, dilation, groups)

    return again


def _parameter(tensor: Tensor | None) -> Callable[[], Tensor | None]:
    return (lambda: None) if tensor is None else KeptTensor(tensor.detach()).look


def _units(neurons: list[Neuron]) -> tuple[float, ...]:
    """What counts of a model may stand for; sums of several neurons' in whole numbers too."""
    return tuple(sorted({1.0} | {neuron.unit for neuron in neurons if neuron.levels}, reverse=True))


def _fills_storage(tensor: Tensor) -> bool:
    size = tensor.numel() * tensor.element_size()
    return size >= _SMALL and size == tensor.untyped_storage().nbytes()


def _autocast_as_now(device: str) -> Callable[[], Any]:
    enabled, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    return lambda: torch.autocast(device, dtype, enabled)

"""A call's inputs, whose samples and time steps can be taken and altered one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spikesight.errors import UserError

Axes = Literal["B", "TB", "BT", "folded"]


@dataclass(frozen=True)
class Inputs:
    """The arguments of one call, and which of their axes are batch and time.

    Attributes:
        args: By position.
        kwargs: By name.
        axes: The leading axes of every tensor: "B", "TB", "BT", or "folded" for [T*B, ...], time
            first.
        size: Samples B; every tensor (or list) of so many along the batch axis is split by it.
        steps: Time steps T; 1 where no axis is time.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    axes: Axes
    size: int
    steps: int

    @classmethod
    def of(cls, example: Any, axes: Axes, steps: int | None) -> Inputs:
        """Reads the sizes off the first tensor of an example.

        Args:
            example: A tensor; a tuple of arguments; a mapping of arguments by name; or a list of
                tensors, one per sample.
            axes: Leading axes.
            steps: T, for folded axes alone.

        Raises:
            UserError: If there is no tensor, or it lacks such axes.
        """
        args = example if isinstance(example, tuple) else (example,)
        kwargs: Mapping[str, Any] = {}
        if isinstance(example, Mapping):
            args, kwargs = (), example
        if isinstance(example, list) and example and axes == "B":
            return cls(args, kwargs, axes, len(example), 1)
        first = next((tensor for _, tensor in tensors_of((args, dict(kwargs)))), None)
        if first is None:
            raise UserError("the example holds no tensor; pass a tensor, or a tuple of arguments")
        shape = tuple(first.shape)
        if axes == "folded":
            if not steps or not shape or shape[0] % steps:
                raise UserError(
                    f"axes is 'folded', steps is {steps} and the example is {list(shape)}; pass "
                    "steps=T, by which the first axis T*B divides"
                )
            return cls(args, kwargs, axes, shape[0] // steps, steps)
        if len(shape) < len(axes):
            raise UserError(f"axes is {axes!r} and the example is {list(shape)}; pass other axes")
        if 0 in shape[: len(axes)]:
            raise UserError(f"the example is {list(shape)} and holds nothing; pass another")
        time = axes.find("T")
        return cls(args, kwargs, axes, shape[axes.index("B")], shape[time] if time >= 0 else 1)

    def __call__(self, module: nn.Module) -> Any:
        """Calls a module."""

        def own(x: Tensor) -> Tensor:
            return x.detach().clone().requires_grad_(x.requires_grad)

        args, kwargs = _mapped((self.args, dict(self.kwargs)), own)
        return module(*args, **kwargs)

    def take(self, samples: list[int]) -> Inputs:
        """Some of the samples, in the given order."""

        def chosen(x: Tensor) -> Tensor:
            index = torch.tensor(samples, device=x.device)
            return self._leading(x, lambda y, axis: y.index_select(axis, index), "B")

        def of(value: Any) -> Any:
            if isinstance(value, list) and len(value) == self.size and self.axes == "B":
                return [value[sample] for sample in samples]
            return None

        args, kwargs = _mapped((self.args, dict(self.kwargs)), chosen, of)
        return replace(self, args=args, kwargs=kwargs, size=len(samples))

    def alter(self, axis: Literal["B", "T"], index: int, *, flat: bool = False) -> Inputs:
        """The same with other values in one sample or one time step, all in their former range.

        Args:
            axis: Samples or steps.
            index: Which.
            flat: Whether every value becomes the same one, of the former least and largest that is
                farther from their mean.
        """
        all_tensors = [tensor for _, tensor in tensors_of((self.args, dict(self.kwargs)))]
        is_real = any(_is_real(tensor) for tensor in all_tensors)

        def changed(x: Tensor) -> Tensor:
            if is_real and not _is_real(x):
                return x
            return self._leading(x, lambda y, at: _replaced(y, at, index, flat), axis)

        def of(value: Any) -> Any:
            if isinstance(value, list) and len(value) == self.size and self.axes == "B":
                own = [altered(v, index, flat) if isinstance(v, Tensor) else v for v in value]
                return [own[i] if i == index else v for i, v in enumerate(value)]
            return None

        args, kwargs = _mapped((self.args, dict(self.kwargs)), changed, of)
        return replace(self, args=args, kwargs=kwargs)

    def enlarged(self, size: int) -> Inputs:
        """So many samples: the first ones, and altered copies of them where there are fewer."""
        more = self.take([sample % self.size for sample in range(size)])
        for sample in range(self.size, size):
            more = more.alter("B", sample)
        return more

    def to(self, dtype: torch.dtype) -> Inputs:
        """The same with real numbers of another type."""
        args, kwargs = _mapped(
            (self.args, dict(self.kwargs)), lambda x: x.to(dtype) if x.is_floating_point() else x
        )
        return replace(self, args=args, kwargs=kwargs)

    def values(self) -> list[Tensor]:
        """The tensors, whatever holds them."""
        return [tensor for _, tensor in tensors_of((self.args, dict(self.kwargs)))]

    def _leading(self, x: Tensor, change: Callable[[Tensor, int], Tensor], axis: str) -> Tensor:
        """Changes a tensor along an axis, if it has that one."""
        folded = self.axes == "folded"
        if folded:
            if x.ndim < 1 or len(x) != self.steps * self.size:
                return x
            x = x.unflatten(0, (self.steps, self.size))
        axes = "TB" if folded else self.axes
        sizes = {"B": self.size, "T": self.steps}
        if tuple(x.shape[: len(axes)]) != tuple(sizes[name] for name in axes):
            return x
        x = change(x, axes.index(axis))
        return x.flatten(0, 1) if folded else x


def altered(values: Tensor, seed: int, flat: bool = False) -> Tensor:
    """Other values between the least and the largest of a tensor's, whole ones if they all were.

    They are mirrored, shuffled, and where they are no whole numbers shrunk, so that sums differ.
    """
    if values.is_complex():
        parts = [altered(part, seed, flat) for part in (values.real, values.imag)]
        return torch.complex(parts[0], parts[1])
    if values.numel() == 0:
        return values
    order = torch.randperm(values.numel(), generator=torch.Generator().manual_seed(seed))
    mixed = values.flatten()[order.to(values.device)].view_as(values)
    if values.dtype == torch.bool:
        return ~mixed
    low, high = values.min(), values.max()
    if low == high:
        return values + 0.5 * (1 + values.abs()) if values.is_floating_point() else values
    if flat:
        is_low = values.double().mean() - low < high - values.double().mean()
        return torch.full_like(values, (high if is_low else low).item())
    whole = not values.is_floating_point() or bool((values == values.round()).all())
    return low + (high - mixed) * (1 if whole else 0.75)


def tensors_of(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Path and value of every tensor in nested tuples, lists, mappings and dataclasses."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from tensors_of(part, f"{path}.{key}")
    elif isinstance(value, tuple | list):
        for index, part in enumerate(value):
            yield from tensors_of(part, f"{path}[{index}]")
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from tensors_of(getattr(value, field.name), f"{path}.{field.name}")


def _is_real(x: Tensor) -> bool:
    return x.is_floating_point() or x.is_complex()


def _replaced(x: Tensor, axis: int, index: int, flat: bool) -> Tensor:
    x = x.clone()
    part = x.select(axis, index)
    part.copy_(altered(part.clone(), index, flat))
    return x


def _mapped(
    value: Any, change: Callable[[Tensor], Tensor], whole: Callable[[Any], Any] | None = None
) -> Any:
    """Nested tuples, lists and dicts with every tensor changed, or what `whole` makes of a part."""
    if isinstance(value, Tensor):
        return change(value)
    if whole is not None and (made := whole(value)) is not None:
        return made
    if isinstance(value, dict):
        return {key: _mapped(part, change, whole) for key, part in value.items()}
    if isinstance(value, list):
        return [_mapped(part, change, whole) for part in value]
    if isinstance(value, tuple):
        parts = [_mapped(part, change, whole) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value

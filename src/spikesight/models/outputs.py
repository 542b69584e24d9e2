"""The tensors in what a model returns, whatever it is."""

from __future__ import annotations

from torch import Tensor


def tensors_of(output: object) -> list[Tensor]:
    """Its tensors in order: of a tensor, lists, tuples, dictionaries and dataclasses, nested.

    Args:
        output: What a model returned.
    """
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, list | tuple):
        return [tensor for part in output for tensor in tensors_of(part)]
    fields = getattr(output, "__dataclass_fields__", {})
    return [tensor for name in fields for tensor in tensors_of(getattr(output, name))]

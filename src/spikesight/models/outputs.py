"""The tensors in what a model returns, whatever it is."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

from torch import Tensor


def tensors_of(output: object) -> list[Tensor]:
    """Its tensors in order: of a tensor, lists, tuples, dictionaries and dataclasses, nested.

    Args:
        output: What a model returned.
    """
    if isinstance(output, Tensor):
        return [output]
    if output is None:
        return []
    if isinstance(output, dict):
        output = list(output.values())
    elif is_dataclass(output):
        output = [getattr(output, field.name) for field in fields(output)]
    assert isinstance(output, list | tuple), f"a model returned a {type(output).__name__}"
    return [tensor for part in output for tensor in tensors_of(part)]

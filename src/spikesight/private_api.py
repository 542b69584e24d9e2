"""What is used of PyTorch, accelerate and timm though they do not promise it; tests try each."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


@functools.cache
def has_cpp_compiler() -> bool:
    """Whether torch.compile finds a compiler for the CPU."""
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception:
        return False
    return True


@functools.cache
def has_triton() -> bool:
    """Whether torch.compile finds Triton and a GPU for it."""
    from torch.utils._triton import has_triton as found

    return bool(found())


def let_last_dimension_vary(tensor: Tensor) -> None:
    """Keeps torch.compile from compiling anew for each length of a tensor's last dimension."""
    if tensor.ndim > 0:
        torch._dynamo.maybe_mark_dynamic(tensor, tensor.ndim - 1)


def parts_of(module: nn.Module) -> tuple[Mapping[str, object], ...]:
    """What a module itself holds: modules, parameters and buffers; changes show in them."""
    return module._modules, module._parameters, module._buffers


def saved_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a module's own, without those of modules in it, that its state holds."""
    own = {**module._parameters, **module._buffers}
    left_out = module._non_persistent_buffers_set
    return {name: t for name, t in own.items() if t is not None and name not in left_out}


def forget_processes() -> None:
    """Lets the next `Accelerator` have another device or precision than the last one.

    accelerate keeps one state per process.
    """
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def let_muon_compute_in_float32() -> None:
    """Makes timm's Muon orthogonalise in float32, not in bfloat16.

    A CPU without units for bfloat16 takes 30 times as long for it, longer than for the gradients.
    """
    from timm.optim import muon

    newton_schulz = muon.zeropower_via_newtonschulz
    if not isinstance(newton_schulz, functools.partial):
        in_float32: Any = functools.partial(newton_schulz, dtype=torch.float32)
        muon.zeropower_via_newtonschulz = in_float32

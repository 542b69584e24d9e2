"""What PyTorch, accelerate and timm do not promise to keep is still there and does what it did."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import torch
from accelerate import Accelerator
from timm.optim import Muon
from torch import nn

import spikesight
from spikesight import private_api


class Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Linear(2, 3)
        self.weight = nn.Parameter(torch.ones(2))
        self.register_parameter("none", None)
        self.register_buffer("kept", torch.zeros(1))
        self.register_buffer("dropped", torch.zeros(1), persistent=False)


def test_compilers_are_found() -> None:
    assert private_api.has_triton() <= torch.cuda.is_available()
    assert private_api.has_cpp_compiler() or not shutil.which("g++")


def test_lengths_that_vary_are_compiled_once() -> None:
    shapes: list[torch.Size] = []

    def compile_as_it_is(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        shapes.append(inputs[-1].shape)
        return graph.forward

    double = torch.compile(lambda x: 2 * x, backend=compile_as_it_is)
    for length in (5, 7, 9):
        x = torch.ones(3, length)
        private_api.let_last_dimension_vary(x)
        assert torch.equal(double(x), 2 * x)
    assert len(shapes) == 1
    private_api.let_last_dimension_vary(torch.ones(()))


def test_parts_are_those_that_a_module_holds() -> None:
    module = Holder()
    modules, parameters, buffers = private_api.parts_of(module)
    assert set(modules) == {"part"}
    assert set(parameters) == {"weight", "none"}
    assert set(buffers) == {"kept", "dropped"}
    module.other = nn.ReLU()
    assert "other" in modules


def test_saved_tensors_are_those_of_the_state() -> None:
    module = Holder()
    own = {name for name in module.state_dict() if "." not in name}
    assert private_api.saved_tensors(module).keys() == own == {"weight", "kept"}


def test_processes_are_forgotten() -> None:
    for precision in ("no", "bf16"):
        private_api.forget_processes()
        assert Accelerator(cpu=True, mixed_precision=precision).mixed_precision == precision
    private_api.forget_processes()


def test_no_other_module_uses_what_is_private() -> None:
    private = re.compile(
        r"torch\._[a-zA-Z]|torch\.\w+\._[a-z]|\._reset_state|(?<!self)\._(modules|parameters|buffers)\b"
    )
    root = Path(spikesight.__file__).parent
    used = {
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        if private.search(file.read_text(encoding="utf-8"))
    }
    assert used == {"private_api.py"}


def test_muon_orthogonalises_in_float32() -> None:
    weight = nn.Parameter(torch.zeros(4, 8))
    private_api.let_muon_compute_in_float32()
    private_api.let_muon_compute_in_float32()
    muon = Muon([weight], lr=1.0, adjust_lr_fn="original")
    weight.grad = torch.eye(4, 8) * torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None]
    muon.step()
    # The iteration ends near singular values of 1; bfloat16 would keep three digits of them.
    values = torch.linalg.svdvals(weight.detach())
    assert ((values > 0.6) & (values < 1.3)).all()
    assert not torch.equal(weight.detach(), weight.detach().bfloat16().float())

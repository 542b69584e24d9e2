"""The weights of a run of which every process holds a share: PyTorch's FSDP2."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from spikesight.models import SpikingModel
from spikesight.training.optimization import EmaConfig
from spikesight.training.runs.processes import share_buffers
from spikesight.training.runs.shared_statistics import share_statistics
from spikesight.training.runs.weights import Weights, Which


class ShardedWeights(Weights):
    """Every process holds a share of the weights, of their average and of the optimiser's state.

    The layers of a model of this library, and the rest, are gathered when they
    compute; of a model of someone's own, which may read its parts' weights anywhere, all at once.
    Parameters without dimensions, such as a learned tau, stay whole.
    """

    def __init__(self, accelerator: Accelerator, model: SpikingModel, ema: EmaConfig) -> None:
        self._whole = copy.deepcopy(model).to("meta")
        self._scalars = [parameter for parameter in model.parameters() if parameter.ndim == 0]
        mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
        for part in [*_layers(model), model]:
            fully_shard(part, mesh=mesh, ignored_params=set(self._scalars))
        super().__init__(accelerator, model, ema)

    def _averaged(self) -> nn.Module:
        return _Shares(self.model)

    def prepare(
        self, optimizer: Optimizer, *, sync_batch_norm: bool
    ) -> tuple[nn.Module, Optimizer]:
        """The model itself."""
        if sync_batch_norm:
            share_statistics(self.model)
        moved: Optimizer = self.accelerator.prepare_optimizer(optimizer)
        return self.model, moved

    def begin_batch(self) -> None:
        """Gradients are reduced with the last batch of an update."""
        _sharded(self.model).set_requires_gradient_sync(self.accelerator.sync_gradients)

    def complete_gradients(self) -> None:
        """Reduces the gradients of what is not sharded."""
        for parameter in self._scalars:
            if parameter.grad is not None:
                parameter.grad /= self.accelerator.num_processes
                distributed.all_reduce(parameter.grad)

    @contextmanager
    def shown(self, which: Which) -> Iterator[nn.Module]:
        """All weights are gathered within the with block."""
        share_buffers(self.accelerator, self.model)
        with self._averaged_weights() if which == "ema" else nullcontext():
            parts = [part for part in self.model.modules() if isinstance(part, FSDPModule)]
            for part in parts:
                part.set_reshard_after_forward(False, recurse=False)
                part.unshard()
            try:
                yield self.model
            finally:
                for part in parts:
                    part.reshard()
                    part.set_reshard_after_forward(part is not _sharded(self.model), recurse=False)

    @contextmanager
    @torch.no_grad()
    def _averaged_weights(self) -> Iterator[None]:
        """Puts the average in the place of the weights."""
        own = _shares(self.model)
        kept = {name: share.clone() for name, share in own.items()}
        try:
            for name, share in self.average().shares().items():
                own[name].copy_(share)
            yield
        finally:
            for name, share in kept.items():
                own[name].copy_(share)

    def whole(self, which: Which) -> SpikingModel:
        """A model of its own on the CPU."""
        share_buffers(self.accelerator, self.model)
        state = self.model.state_dict() if which == "model" else self.average_state()
        tensors = {}
        for name, tensor in state.items():
            whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            if self.accelerator.is_main_process:
                tensors[name] = whole.detach().cpu()
        if tensors:
            self._whole.load_state_dict(tensors, assign=True)
        return self._whole

    def average_state(self) -> dict[str, Tensor]:
        """Those that are sharded as such."""
        if not self.averages:
            return {}
        state, shares = self.model.state_dict(), self.average().shares()
        return {name: _like(share, state[name]) for name, share in shares.items()}

    @torch.no_grad()
    def load(self, optimizer: Optimizer, state: dict[str, Any], average: dict[str, Tensor]) -> None:
        """Takes its share of every tensor."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        shared = {
            number: {
                key: _share(value, parameters[number]) if isinstance(value, Tensor) else value
                for key, value in values.items()
            }
            for number, values in state["state"].items()
        }
        optimizer.load_state_dict({**state, "state": shared})
        if self.averages:
            of_model = self.model.state_dict()
            for name, share in self.average().shares().items():
                found = _share(average[name].to(share.device), of_model[name])
                share.copy_(found.to_local() if isinstance(found, DTensor) else found)


class _Shares(nn.Module):
    """What this process holds of a sharded model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        for name, share in _shares(model).items():
            place = name.replace(".", "/")
            if share.is_floating_point():
                self.register_parameter(place, nn.Parameter(share, requires_grad=False))
            else:
                self.register_buffer(place, share)

    def shares(self) -> dict[str, Tensor]:
        """The tensors under the names that they have in the model."""
        return {name.replace("/", "."): share for name, share in self.state_dict().items()}


@torch.no_grad()
def _shares(model: nn.Module) -> dict[str, Tensor]:
    """This process's part of every tensor of a sharded model; changing it changes the model."""
    return {
        name: (tensor.to_local() if isinstance(tensor, DTensor) else tensor).detach()
        for name, tensor in model.state_dict().items()
    }


def _like(share: Tensor, example: Tensor) -> Tensor:
    """A share as the sharded tensor that it belongs to."""
    if not isinstance(example, DTensor):
        return share
    return DTensor.from_local(
        share,
        example.device_mesh,
        example.placements,
        run_check=False,
        shape=example.shape,
        stride=example.stride(),
    )


def _share(whole: Tensor, example: Tensor) -> Tensor:
    """A whole tensor sharded like another one, if it has that one's shape."""
    if not isinstance(example, DTensor) or whole.shape != example.shape:
        return whole
    mesh, placements = example.device_mesh, example.placements
    # Every process has the whole one, so nothing needs to be sent.
    return distribute_tensor(whole.to(example.device), mesh, placements, src_data_rank=None)


def _sharded(model: nn.Module) -> FSDPModule:
    assert isinstance(model, FSDPModule)
    return model


def _layers(model: SpikingModel) -> list[nn.Module]:
    if not type(model).__module__.startswith("spikesight."):
        return []
    layers: list[nn.Module] = []
    for stage in model.stages():
        layers.extend(stage.children() if isinstance(stage, nn.Sequential) else [stage])
    return [layer for layer in layers if any(p.ndim > 0 for p in layer.parameters())]

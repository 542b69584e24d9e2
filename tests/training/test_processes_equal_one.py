"""Several processes learn what one learns from the same images of an update, in float64."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.utils import DistributedDataParallelKwargs
from safetensors.torch import load_file
from torch import distributed, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from spikesight.errors import UserError
from spikesight.memory import saving
from spikesight.presentation import Presentation
from spikesight.training import TrainConfig, train
from spikesight.training.interruption import TrainingInterrupted
from spikesight.training.runs.checkpoint import EpochSums, Position, RunState
from spikesight.training.runs.preparation import build_accelerator
from spikesight.training.runs.processes import mean_of_all
from spikesight.training.runs.shared_statistics import share_statistics

from .child import needs_gloo, run_group
from .conftest import stop_after

Build = Callable[..., TrainConfig]
pytestmark = needs_gloo

# Nothing random but order and weights. Adam would tell noise in gradients that are zero.
EXACT = {
    "model__drop_path_rate": 0.0,
    "data__random_crop_padding": 0,
    "data__horizontal_flip": False,
    "optimizer__name": "sgd",
    "optimizer__lr": 0.05,
    "optimizer__betas": [0.9, 0.9],
    "ema__decay": 0.9,
    "clip_norm": 0.5,
    "limit_batches": 6,
    "log_every": 1,
}


@contextmanager
def in_float64() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        present = Presentation.forward
        patch.setattr(saving, "_SMALL", 0)
        patch.setattr(Presentation, "forward", lambda self, x: present(self, x.double()))
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


def learn(config: TrainConfig, stop: int | None = None) -> None:
    """Trains in float64, until an update if one is named."""
    watch = None if stop is None else stop_after(stop)
    with in_float64(), nullcontext() if stop is None else pytest.raises(TrainingInterrupted):
        train(config, watch)


def losses(config: TrainConfig) -> list[float]:
    with (Path(config.output) / "metrics.csv").open() as file:
        return [float(row["train_loss"]) for row in csv.DictReader(file)]


def largest_difference(one: TrainConfig, several: TrainConfig) -> float:
    """Of weights, running statistics, moving average and momentum."""
    difference = 0.0
    for name in ("model", "training"):
        expected = load_file(Path(one.output) / "last" / f"{name}.safetensors")
        found = load_file(Path(several.output) / "last" / f"{name}.safetensors")
        assert expected.keys() == found.keys()
        assert any(tensor.dtype == torch.float64 for tensor in expected.values())
        for key, tensor in expected.items():
            difference = max(difference, float((found[key] - tensor).abs().max()))
    return difference


def test_four_then_two_then_one_process_learn_what_one_learns(tiny: Build, tmp_path: Path) -> None:
    one = tiny("one", epochs=1, batch_size=64, accumulation=2, **EXACT)
    learn(one)
    several = replace(one, output=str(tmp_path / "several"), resume=True)
    log = tmp_path / "log"
    run_group(lambda: learn(replace(several, batch_size=16), stop=1), log, 4)
    run_group(lambda: learn(replace(several, batch_size=32, memory="lowest"), stop=2), log, 2)
    state = RunState.read(Path(several.output) / "last")
    assert (state.processes, state.position.update, state.position.batch) == (2, 2, 4)
    assert "the run began in 4 process(es) and goes on in 2" in log.with_suffix(".0").read_text()
    with pytest.raises(UserError, match=r"images of an update .* 128 then, 64 now"):
        train(replace(several, accumulation=1))
    learn(several)
    assert largest_difference(one, several) < 1e-12
    assert losses(several) == pytest.approx(losses(one), rel=1e-12)
    apart = replace(one, output=str(tmp_path / "apart"), batch_size=32, sync_batch_norm=False)
    run_group(lambda: learn(apart), log, 2)
    assert largest_difference(one, apart) > 1e-3, "shared statistics would prove nothing"


def test_a_place_in_an_epoch_is_shared_among_other_processes(tiny: Build) -> None:
    config = tiny(batch_size=16, accumulation=4, limit_batches=None)
    state = RunState(
        Position(3, 8, 50), EpochSums(24.0, 16, 256), None, None, 2, config.to_mapping(), {}
    )
    moved = state.shared_among(4, 1)
    assert moved.position == Position(3, 2, 50)
    assert moved.sums == EpochSums(12.0, 8, 256)
    now = replace(config, batch_size=32, accumulation=1)
    state.check_continues(now, 4, Path("last"))
    with pytest.raises(UserError, match="batch_size changed"):
        state.check_continues(replace(now, accumulation=4), 2, Path("last"))
    state.config["limit_batches"] = 8
    with pytest.raises(UserError, match="accumulation changed"):
        state.check_continues(replace(now, limit_batches=8), 4, Path("last"))
    del state.config["sync_batch_norm"], state.config["limit_batches"]
    with pytest.raises(UserError, match="sync_batch_norm changed"):
        state.check_continues(now, 4, Path("last"))


def normalise_shares(dtype: torch.dtype, tolerance: float) -> None:
    """Compares shared statistics of unequal shares with those of the whole batch."""
    rank = distributed.get_rank()
    cuts = [0, 3, 10] if distributed.get_world_size() == 2 else [0, 1, 3, 4, 10]
    share = slice(cuts[rank], cuts[rank + 1])
    for kind, size in ((nn.BatchNorm1d, ()), (nn.BatchNorm2d, (4, 3)), (nn.BatchNorm2d, (1, 1))):
        for options in ({}, {"affine": False}, {"momentum": None}, {"track_running_stats": False}):
            generator = torch.Generator().manual_seed(0)
            x, gradient = torch.randn(2, 10, 5, *size, generator=generator, dtype=dtype)
            x = 3 * x + 5
            one, shared = (kind(5, dtype=dtype, **options) for _ in range(2))
            if one.affine:
                for norm in (one, shared):
                    norm.weight.data = torch.linspace(-1, 2, 5, dtype=dtype)
            share_statistics(shared)
            whole, own = x.clone().requires_grad_(), x[share].clone().requires_grad_()
            expected, found = one(whole), shared(own)
            expected.backward(gradient)
            found.backward(gradient[share])
            assert whole.grad is not None
            pairs = [(found, expected[share]), (own.grad, whole.grad[share])]
            pairs += zip(shared.buffers(), one.buffers(), strict=True)
            for mine, other in zip(shared.parameters(), one.parameters(), strict=True):
                distributed.all_reduce(mine.grad)
                pairs.append((mine.grad, other.grad))
            for pair in pairs:
                torch.testing.assert_close(*pair, rtol=tolerance, atol=tolerance)
            shared.load_state_dict(one.state_dict())
            assert torch.equal(shared.eval()(x), one.eval()(x))
    lonely = nn.BatchNorm2d(2)
    share_statistics(lonely)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        lonely(torch.ones(int(rank == 0), 2, 1, 1))


def compare_statistics() -> None:
    accelerator = build_accelerator(device="cpu")
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        normalise_shares(dtype, tolerance)
    rank, world = accelerator.process_index, accelerator.num_processes
    own = torch.tensor([float(rank), 1.0], requires_grad=True)
    mean = mean_of_all(own)
    mean.square().sum().backward()
    assert mean.tolist() == [(world - 1) / 2, 1.0]
    assert own.grad is not None
    assert own.grad.tolist() == [world - 1, 2.0]


def test_statistics_of_unequal_shares_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    for processes in (2, 4):
        run_group(compare_statistics, tmp_path / "log", processes)


def test_a_normalisation_with_its_own_forward_is_refused() -> None:
    class Other(nn.BatchNorm2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(2 * x)

    with pytest.raises(UserError, match=r"0 is a Other .* sync_batch_norm=false"):
        share_statistics(nn.Sequential(Other(2)))


def count_reductions(config: TrainConfig, found: Path) -> None:
    sums = 0

    def reduce(_, bucket):  # PyTorch compares annotations with types, not with their names
        nonlocal sums
        sums += 1
        return allreduce_hook(distributed.group.WORLD, bucket)

    with pytest.MonkeyPatch.context() as patch:
        register = DistributedDataParallelKwargs.register_comm_hook
        patch.setattr(
            DistributedDataParallelKwargs,
            register.__name__,
            lambda _, model: model.register_comm_hook(None, reduce),
        )
        train(config)
    found.write_text(str(sums))


def test_batches_of_one_update_are_reduced_once(tiny: Build, tmp_path: Path) -> None:
    config = tiny(batch_size=8, accumulation=4, epochs=1, limit_batches=8)
    found = tmp_path / "sums"
    run_group(lambda: count_reductions(config, found), tmp_path / "log", 2)
    assert found.read_text() == "2", "8 batches make 2 updates"

"""The same run with several seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from spikesight.errors import UserError
from spikesight.files.replacing import write_text
from spikesight.reports.text_table import text_table
from spikesight.training.config import TrainConfig
from spikesight.training.runs.checkpoint import RunState
from spikesight.training.runs.lock import locked
from spikesight.training.runs.preparation import build_accelerator
from spikesight.training.runs.storage import recover_folder
from spikesight.training.tasks.figures import Figures
from spikesight.training.trainer import TrainResult, train

SUMMARY = "seeds.json"


@dataclass(frozen=True)
class SeedsResult:
    """What runs with several seeds achieved.

    Attributes:
        folder: Holds seed_0, seed_1, ... and seeds.json.
        runs: The finished run of each seed.
    """

    folder: Path
    runs: dict[int, TrainResult]

    def columns(self, which: str) -> dict[str, list[float]]:
        """Validation figures by name, one value per seed.

        Args:
            which: "best" or "last".
        """
        figures: list[Figures] = [getattr(run, which) for run in self.runs.values()]
        return {name: [f.columns()[name] for f in figures] for name in figures[0].columns()}

    def to_mapping(self) -> dict[str, Any]:
        """Mean, standard deviation and the figures of each seed, as plain values."""
        summary: dict[str, Any] = {"seeds": list(self.runs)}
        for which in ("best", "last"):
            summary[which] = {
                name: {"mean": mean(values), "std": deviation(values), "values": values}
                for name, values in self.columns(which).items()
            }
        return summary

    def table(self) -> str:
        """Figures of best/ and last/ of each seed, their mean and standard deviation."""
        columns = {
            f"{which} {name}": values
            for which in ("best", "last")
            for name, values in self.columns(which).items()
        }
        rows = [
            (f"seed {seed}", *(f"{values[index]:.4g}" for values in columns.values()))
            for index, seed in enumerate(self.runs)
        ]
        rows.append(("mean", *(f"{mean(values):.4g}" for values in columns.values())))
        rows.append(("standard deviation", *(_shown(deviation(v)) for v in columns.values())))
        return text_table(("", *columns), rows)


def deviation(values: Sequence[float]) -> float | None:
    """Standard deviation of a sample; None of a single value."""
    return stdev(values) if len(values) > 1 else None


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def train_seeds(
    config: TrainConfig,
    seeds: int | Sequence[int],
    after_update: Callable[[int], None] | None = None,
) -> SeedsResult:
    """Trains the same recipe with several seeds, one after another.

    Finished seeds are not trained again and begun ones go on, so the same call, given again, takes
    up where it stopped. The split into training and validation images is the same for all.

    Args:
        config: The run; its own seed is not used, and its output is the folder of all runs.
        seeds: The seeds, or how many: 5 means 0 to 4.
        after_update: As of `train`.

    Returns:
        The figures; seeds.json in the output holds them too.

    Raises:
        ValueError: If the seeds or the configuration cannot be used.
    """
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not chosen or len(set(chosen)) != len(chosen) or min(chosen) < 0:
        raise UserError(f"seeds is {seeds}; pass a number of seeds, or different ones: [0,1,2]")
    folder = Path(config.output)
    accelerator = build_accelerator(config.precision, config.device)
    processes, writes = accelerator.num_processes, accelerator.is_main_process
    runs: dict[int, TrainResult] = {}
    with locked(folder) if writes else nullcontext():
        for seed in chosen:
            output = folder / f"seed_{seed}"
            one = replace(config, seed=seed, output=str(output), resume=True)
            runs[seed] = _finished(one, processes) or train(one, after_update)
            result = SeedsResult(folder, dict(runs))
            if writes:
                write_text(folder / SUMMARY, json.dumps(result.to_mapping(), indent=2) + "\n")
    return result


def _finished(config: TrainConfig, processes: int) -> TrainResult | None:
    """The result of a run that has had all its epochs."""
    last = recover_folder(Path(config.output) / "last")
    if not last.exists():
        return None
    state = RunState.read(last)
    state.check_continues(config, processes, last)
    figures = state.finished(config.epochs, last)
    return None if figures is None else TrainResult(Path(config.output), *figures)

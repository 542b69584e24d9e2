"""Whether a run goes on from last/ of its output, and what it takes over from there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from accelerate import Accelerator

from spikesight.errors import UserError
from spikesight.training.config import TrainConfig
from spikesight.training.precision import Precision
from spikesight.training.progress import ProgressReport
from spikesight.training.runs.checkpoint import RunState
from spikesight.training.runs.folder import saved_recipe
from spikesight.training.runs.preparation import build_accelerator
from spikesight.training.runs.storage import recover_folder


def goes_on(config: TrainConfig, accelerator: Accelerator) -> bool:
    """Whether a run goes on with what lies in its output.

    Raises:
        UserError: If something lies there that it would overwrite.
    """
    folder = Path(config.output)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"output {folder} is a file; pass a folder")
    last = recover_folder(folder / "last") if accelerator.is_main_process else None
    accelerator.wait_for_everyone()
    last = last or folder / "last"
    resuming = config.resume and last.exists()
    if last.exists() and not config.resume:
        raise UserError(
            f"output {folder} holds a run already; pass resume=true to go on with it or "
            "another output"
        )
    best = folder / "best"
    if not resuming and best.exists() and saved_recipe(best) is None:
        raise UserError(
            f"output {folder} has a best/ that holds something else than a model; pass "
            "another output, or move it away"
        )
    return resuming


def read_state(
    config: TrainConfig, accelerator: Accelerator, report: ProgressReport
) -> tuple[RunState, bool]:
    """The state from which a run goes on, and whether the number of processes is another.

    Raises:
        UserError: If last/ is damaged, or of a run that this configuration does not continue.
    """
    last = Path(config.output, "last")
    state = RunState.read(last)
    processes = accelerator.num_processes
    state.check_continues(config, processes, last)
    state.finished(config.epochs, last)
    moved = processes != state.processes
    if moved:
        report.message(
            f"the run began in {state.processes} process(es) and goes on in {processes}: "
            "augmentation and drop path draw other random numbers from here"
        )
    return state.shared_among(processes, config.accumulation), moved


def in_precision_of(
    state: RunState, config: TrainConfig, accelerator: Accelerator, report: ProgressReport
) -> Accelerator:
    """An accelerator of the precision that "auto" became when the run began, whatever it is here.

    Args:
        state: From which the run goes on.
        config: The run.
        accelerator: One of the precision that this machine would choose.
        report: Where a difference is told.
    """
    began = cast(Precision, state.precision)
    here = accelerator.mixed_precision
    if config.precision != "auto" or began == here:
        return accelerator
    report.message(
        f"the run began in precision {began} and goes on in it, though this machine would "
        f"choose {here}; for another one start a new run with precision={here}, another "
        f"output and --from {Path(config.output, 'last')}"
    )
    return build_accelerator(began, config.device, config.accumulation)


def puts_channels_last(config: TrainConfig, state: RunState | None, device: torch.device) -> bool:
    """Whether maps and weights lie channels last: as they did when the run began."""
    asked = config.channels_last
    if asked != "auto":
        return bool(asked)
    if state is not None:
        return bool(state.config.get("channels_last", False))
    return device.type == "cpu"


@contextmanager
def explained_state(last: Path) -> Iterator[None]:
    """Says what to do where last/ does not hold the state that a run would take over."""
    try:
        yield
    except (RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{last} does not hold the state of this run ({error}); start a new run with "
            f"another output and model.weights={last}"
        ) from error

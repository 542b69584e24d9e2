"""The examination of a network, whoever wrote it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from torch import nn

from spikesight.checks.agreement import alone, train_and_eval
from spikesight.checks.copies import Copies
from spikesight.checks.gradients import gradient_answers
from spikesight.checks.influence import (
    Build,
    Influence,
    batch_leak,
    has_samples,
    influence,
    time_use,
)
from spikesight.checks.inputs import Axes, Inputs, tensors_of
from spikesight.checks.modes import StillTraining
from spikesight.checks.neurons import Firing, find_neurons
from spikesight.checks.recording import Place
from spikesight.checks.repeats import randomness, state
from spikesight.checks.report import Answer, CheckReport
from spikesight.checks.synapses import SynapseCalls, reads_answers
from spikesight.errors import UserError, lack_of_memory

_SLOW = 2.0


def check(
    module: nn.Module,
    example: Any,
    *,
    axes: Literal["auto"] | Axes = "auto",
    steps: int | None = None,
    reset: bool = False,
) -> CheckReport:
    """Examines any module: spikesight's, SpikingJelly's, or plain PyTorch.

    It answers whether a sample depends on its batch-mates, whether time steps depend on later ones,
    whether state or chance changes a repeated call, whether training computes something else than
    evaluation (normalisations and random draws apart), which synapses read neither spikes nor
    counts, which parameters get no gradient, and which neurons are silent or saturated. A fault is
    named by the module, first in the order of execution, at which it shows. Answers hold for these
    inputs: what is silent on them proves nothing. docs/check.md has an example.

    The module stays as it is: everything is tried on copies, with generators seeded apart.

    Args:
        module: Any module. It is examined in evaluation and in training mode, whatever it is in.
        example: What it takes: a tensor; a tuple of arguments; a mapping of arguments by name; or a
            list of tensors, one per sample. Real data say most.
        axes: The leading axes of these tensors: "B", "TB", "BT", or "folded" for [T*B, ...]. "auto"
            finds out whether the second axis keeps samples apart where the first does not.
        steps: Time steps T of folded axes.
        reset: Whether every call is preceded by `reset()` of each submodule that has one, as a loop
            with SpikingJelly's `functional.reset_net` does.

    Returns:
        One row per answer; `ok` where there is no finding.

    Raises:
        UserError: If the module fails on the example or cannot be copied, or the axes do not fit.
    """
    if not isinstance(module, nn.Module):
        raise UserError(f"module is {type(module).__name__}; pass a torch.nn.Module")
    if axes not in ("auto", *get_args(Axes)):
        raise UserError(f"axes is {axes!r}; pass auto, {', '.join(get_args(Axes))}")
    module = getattr(module, "_orig_mod", module)  # of torch.compile, whose hooks see nothing
    guess: list[Axes] = _possible(example, steps) if axes == "auto" else [axes]
    whole = Inputs.of(example, guess[0], steps)
    progress = _Progress()
    copies = Copies(module, whole, reset)
    progress.clock()
    few = whole
    leaks: list[Answer] = []
    try:
        few, leaks = _batch(copies, copies.fresh, example, guess, steps, progress)
    except Exception as error:
        leaks = [_failed("batch", error)]
    still = StillTraining(copies, few)
    progress("looking for state and chance")
    answers = [randomness(copies, few), *leaks]
    if not still.problem:
        answers += _asked(
            "batch in training", lambda: _batch_in_training(copies, still, few, progress)
        )
    answers += _asked("state", lambda: [state(copies, few)])
    progress("comparing training with evaluation")
    answers += _asked("train and eval", lambda: [train_and_eval(copies, few, still)])
    progress("looking at what synapses read")
    whole = Inputs.of(example, few.axes, steps)
    neurons = find_neurons(copies, few)
    seen = copies.fresh()
    firing, synapses = Firing(seen, neurons, whole), SynapseCalls(seen, neurons)
    with torch.no_grad(), firing, synapses:
        copies.call(seen, whole)
    answers += reads_answers(synapses, neurons, whole.values())
    progress("looking for gradients")
    fired = firing.answers()
    has_silent = any(answer.verdict == "FINDING" for answer in fired)
    answers += gradient_answers(copies, few, still, has_silent=has_silent)
    return CheckReport((*answers, *fired))


def _asked(name: str, question: Callable[[], list[Answer]]) -> list[Answer]:
    """The answers, or why the module could not be asked: it fails on altered inputs."""
    try:
        return question()
    except Exception as error:
        return [_failed(name, error)]


def _failed(name: str, error: Exception) -> Answer:
    if lack_of_memory(error) is not None:
        raise error
    said = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    return Answer(name, "not examined", "", f"the module fails on altered inputs with {said}")


def _possible(example: Any, steps: int | None) -> list[Axes]:
    """What the leading axes may be."""
    if steps is not None:
        return ["folded"]
    if isinstance(example, list):
        return ["B"]
    parts = example if not isinstance(example, Mapping) else dict(example)
    first = next((tensor for _, tensor in tensors_of(parts)), None)
    if first is None or first.ndim in (1, 2, 4) or min(first.shape[:2], default=0) < 2:
        return ["B"]
    return ["B", "TB"]


def _few(inputs: Inputs, copies: Copies, build: Build) -> Inputs:
    """Three samples (four beside three steps), or as many as there are if it takes no others."""
    wanted = inputs.enlarged(4 if inputs.steps == 3 else 3)
    if inputs.size == wanted.size:
        return inputs
    try:
        with torch.no_grad():
            copies.call(build(), wanted)
    except Exception:
        return inputs
    return wanted


def _batch(
    copies: Copies,
    build: Build,
    example: Any,
    guess: list[Axes],
    steps: int | None,
    progress: _Progress,
) -> tuple[Inputs, list[Answer]]:
    """Whether samples are kept apart, and steps from later ones; the inputs that were chosen."""
    tried: list[tuple[Inputs, Influence]] = []
    for axes in guess:
        inputs = _few(Inputs.of(example, axes, steps), copies, build)
        seen = influence(copies, build, inputs, "B", range(min(4, inputs.size)), progress)
        tried.append((inputs, seen))
        if batch_leak(seen) is None:
            break
    else:
        if len(tried) > 1 and not (
            _answers_per_second(tried[1][1])
            or _runs_along_first(copies, build, tried[1][0], progress)
        ):
            tried.pop()
    inputs, seen = tried[-1]
    where = _said(inputs)
    leak = batch_leak(seen)
    answers = []
    if inputs.size < 2:
        text = f"{where}: it holds one sample, and the module takes no other number"
        answers.append(Answer("batch", "not examined", "", text))
    elif leak is not None:
        text = f"{where}, yet {leak.text}"
        if inputs.axes == "B" and _may_be_time(seen):
            text += " (if axis 0 is time, pass axes=TB)"
        answers.append(_finding("batch", leak.place, text))
    elif not has_samples(seen):
        text = f"{where}: no output has an axis of so many samples"
        answers.append(Answer("batch", "not examined", "", text))
    else:
        found = alone(copies, inputs)
        text = f"{where}, and no sample changes another"
        answers.append(found or Answer("batch", "clean", "", text))
    if inputs.steps > 1:
        # The first axis of three that was not called time may be tokens, which see each other.
        may_be_tokens = len(guess) > 1 and inputs.values()[0].ndim == 3
        time = _axes(copies, build, inputs, leak is not None, progress)
        if may_be_tokens and time.module:
            text = f"{time.text}; if axis 0 is the batch, pass axes=B"
            time = replace(time, verdict="note", text=text)
        answers.append(time)
    return inputs, answers


def _axes(copies: Copies, build: Build, inputs: Inputs, leaks: bool, progress: _Progress) -> Answer:
    """Whether time runs forward along the axis that is meant to be time."""
    use = time_use(influence(copies, build, inputs, "T", _some_steps(inputs.steps), progress))
    if use.leak is not None:
        return _finding("axes", use.leak.place, f"{use.leak.text}: time is not causal")
    if not use.has_steps:
        return Answer("axes", "not examined", "", "the outputs have no axis of time steps")
    if leaks and not use.carries:
        text = "samples reach each other and time steps do not: the network runs along the axis of "
        return Answer("axes", "FINDING", "", f"{text}samples; exchange both axes")
    kind = "reach later ones alone" if use.carries else "do not reach each other"
    return Answer("axes", "clean", "", f"{inputs.steps} time steps {kind}")


def _batch_in_training(
    copies: Copies, still: StillTraining, inputs: Inputs, progress: _Progress
) -> list[Answer]:
    """The same question in training mode, normalisations and random draws apart."""
    if inputs.size < 2:
        return []
    indices = range(min(4, inputs.size))
    leak = batch_leak(influence(copies, still.fresh, inputs, "B", indices, progress))
    check_name = "batch in training"
    if leak is None:
        text = "no sample changes another, normalisations apart"
        return [Answer(check_name, "clean", "", text)]
    return [_finding(check_name, leak.place, leak.text)]


def _may_be_time(seen: Influence) -> bool:
    """Whether outputs have both leading axes of the input, as a block of [T, B, ...] has."""
    leading = seen.inputs.values()[0].shape[:2]
    shapes = [c.shape for changes in seen.outputs.values() for c in changes if c is not None]
    return any(len(shape) > 2 and shape[:2] == leading for shape in shapes)


def _answers_per_second(seen: Influence) -> bool:
    """Whether outputs come in the number of the second axis, and not of the first."""
    shapes = [c.shape for changes in seen.outputs.values() for c in changes if c is not None]
    size, steps = seen.inputs.size, seen.inputs.steps
    return size != steps and any(shape[:1] == (size,) for shape in shapes)


def _runs_along_first(copies: Copies, build: Build, inputs: Inputs, progress: _Progress) -> bool:
    """Whether the first axis behaves like time: its steps reach later ones alone."""
    seen = influence(copies, build, inputs, "T", _some_steps(inputs.steps), progress)
    use = time_use(seen)
    return use.has_steps and use.leak is None and use.carries


def _some_steps(steps: int) -> list[int]:
    return sorted({0, steps // 2, steps - 1})


def _said(inputs: Inputs) -> str:
    """What was taken to be the batch."""
    if inputs.axes == "folded":
        return f"the batch is within axis 0, [T*B, ...] of T = {inputs.steps}"
    return f"the batch is axis {inputs.axes.index('B')}"


def _finding(name: str, place: Place | None, text: str) -> Answer:
    if place is None:
        return Answer(name, "FINDING", "", text)
    return Answer(name, "FINDING", place.module, f"{place}{text}")


class _Progress:
    """Says on the standard error what is done, where calls take long."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._slow = False

    def clock(self) -> None:
        """Looks whether the calls so far took long."""
        self._slow = time.monotonic() - self._began > _SLOW

    def __call__(self, text: str) -> None:
        if self._slow:
            seconds = time.monotonic() - self._began
            print(f"check: {text} ({seconds:.0f} s so far)", file=sys.stderr, flush=True)

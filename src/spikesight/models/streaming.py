"""Models on streams of event frames that never end, a piece at a time."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.neurons import Neuron, run_with_state
from spikesight.presentation import as_batch
from spikesight.private_api import parts_of

_Part = tuple[Mapping[str, object], str, object]


class Stream:
    """A model that goes on where its last call ended.

    Pieces of any number of time steps, one after the other, give what one call over all of them
    gives: `average` equals the model's logits, and every spike is the same. The model itself keeps
    no state and no other number of time steps.

    Weights are shared, not copied: what changes them in place (an optimiser, `load_state_dict`)
    shows at once. What replaces the model's tensors or parts (`quantize`, `to`, `double`,
    `load_state_dict(assign=True)`) ends the stream: the next piece is an error until `reset`.

    Attributes:
        state: Membranes by the neuron's name; None before the first piece.
        steps: Time steps since the start.

    Args:
        model: A model whose time steps are spread over its neurons and its input and output only,
            as in every model of this library. It runs in evaluation mode.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._by_steps: dict[int, nn.Module] = {}
        self._parts: list[_Part] = []
        self.reset()

    def reset(self) -> None:
        """Starts again from rest, with the model as it is then."""
        self.state: dict[str, Tensor] | None = None
        self.steps = 0
        self._sum: Tensor | None = None

    @torch.no_grad()
    def __call__(self, frames: Tensor) -> Any:
        """Runs the model on the next frames.

        Args:
            frames: [B, t, C, H, W], or one frame [B, C, H, W]; B stays the same until `reset`.
                Whole numbers [t, C, H, W] are the frames of one recording.

        Returns:
            The model's output for these frames alone; logits are the mean over their t steps.

        Raises:
            ValueError: If the frames do not fit the model or the batch has another size.
            RuntimeError: If the model's tensors or parts were replaced since the first piece.
        """
        frames = as_batch(frames)
        if frames.ndim == 4:
            frames = frames[:, None]
        if frames.ndim != 5 or frames.shape[1] == 0:
            raise UserError(
                f"frames have shape {tuple(frames.shape)}; pass [B, t, C, H, W] with t of 1 or "
                "more, or one frame [B, C, H, W]"
            )
        self._follow_model()
        steps = frames.shape[1]
        if steps not in self._by_steps:
            self._by_steps[steps] = _with_steps(self._model, steps)
        output, self.state = run_with_state(self._by_steps[steps], frames, self.state)
        self.steps += steps
        if isinstance(output, Tensor):
            part = output * steps
            self._sum = part if self._sum is None else self._sum + part
        return output

    def _follow_model(self) -> None:
        if any(parts.get(name) is not part for parts, name, part in self._parts):
            if self.state is not None:
                raise RuntimeError(
                    "the model's tensors were replaced after the stream began (quantize, to, "
                    "double and load_state_dict(assign=True) do so), and its membranes belong to "
                    "the old ones; call reset(), or make a new stream"
                )
            self._by_steps.clear()
        if not self._by_steps:
            self._parts = _parts_of(self._model)

    @property
    def average(self) -> Tensor:
        """The mean of the output over all steps since the start, for models that return logits.

        Raises:
            ValueError: Before the first piece, or if the model returns something else.
        """
        if self._sum is None:
            raise UserError("there is no average; call the stream on frames of a model of logits")
        return self._sum / self.steps


def stream(model: nn.Module) -> Stream:
    """Lets a model run on a stream, piece by piece, with the state carried along; see `Stream`."""
    return Stream(model)


def _parts_of(model: nn.Module) -> list[_Part]:
    """Every module, parameter and buffer, and where the model holds it."""
    return [
        (held, name, part)
        for module in model.modules()
        for held in parts_of(module)
        for name, part in held.items()
    ]


def _with_steps(model: nn.Module, steps: int) -> nn.Module:
    """The same model for another number of time steps, with the very same tensors."""
    tensors = [*model.parameters(), *model.buffers()]
    twin = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    for module in twin.modules():
        if isinstance(module, Neuron):
            module.set_steps(steps)
        elif isinstance(getattr(module, "steps", None), int):
            module.steps = steps  # type: ignore[assignment]
    return twin.eval()

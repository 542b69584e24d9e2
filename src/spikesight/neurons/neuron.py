"""What all neurons share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.neurons.dynamics import Dynamics
from spikesight.neurons.firing import fire
from spikesight.neurons.recurrence import Rule, compute_dtype
from spikesight.neurons.surrogate import Sigmoid, StraightThrough, Surrogate
from spikesight.parts import own_name, remember


class Neuron(nn.Module):
    """Turns currents into spikes; the only place in a model that knows time.

    A call takes currents of shape [T*B, ...], time-major, and returns ``unit * n`` in the same
    shape and dtype, n being the counts 0..D of `Dynamics`. Every call starts from rest unless a
    membrane is passed, so no state hides between calls and a sample's spikes depend on its own
    currents alone. Half-precision inputs keep their membrane in float32.

    A neuron of your own is a subclass. Other constants are another `Dynamics`, and every pass knows
    them. Other equations are another `forward(current)`, which starts from rest: such a neuron
    trains, is measured and saved, its `dynamics` are None, and what would need them refuses it.
    A subclass is known under its name in snake case at once (SlowILIF: "slow_i_lif"); the last
    definition of a name counts, and none replaces a neuron of spikesight.

    Args:
        dynamics: The equations; of a subclass with its own `forward`, steps, levels, unit and
            threshold alone say what it emits.
        surrogate: The derivative of the count; if omitted, straight through for neurons that
            round and a sigmoid's for those that fire at their threshold.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        remember("neuron", own_name(cls.__name__), cls)

    def __init__(self, dynamics: Dynamics | Rule, surrogate: Surrogate | None = None) -> None:
        super().__init__()
        if isinstance(dynamics, Dynamics):
            usual = StraightThrough() if dynamics.offset == 0.5 else Sigmoid()
            dynamics = Rule(dynamics, surrogate or usual)
        self._rule = dynamics

    @property
    def rule(self) -> Rule:
        """The neuron's equations and gradients, as they hold now."""
        return self._rule

    @property
    def dynamics(self) -> Dynamics | None:
        """The neuron's equations as numbers; None if its class has a `forward` of its own."""
        if type(self).forward is not Neuron.forward:
            return None
        retain = self.learned_retain()
        dynamics = self.rule.dynamics
        return dynamics if retain is None else replace(dynamics, retain=retain.item())

    @property
    def steps(self) -> int:
        """T, the time steps per call."""
        return self.rule.dynamics.steps

    @property
    def levels(self) -> int:
        """D, the most spikes per time step; 0 for an analog neuron."""
        return self.rule.dynamics.levels

    @property
    def unit(self) -> float:
        """The value of one count on the output edge."""
        return self.rule.dynamics.unit

    @property
    def threshold(self) -> float:
        """The membrane that one spike stands for."""
        return self.rule.dynamics.threshold

    def set_steps(self, steps: int) -> None:
        """Changes T, the time steps per call; everything else stays as it is."""
        self._rule = replace(self._rule, dynamics=replace(self._rule.dynamics, steps=steps))

    def learned_retain(self) -> Tensor | None:
        """Returns the share of the membrane kept per time step where it is learned, else None."""
        return None

    def learned_threshold(self, currents: int) -> Tensor | None:
        """Returns the threshold where a gradient is wanted of it, else None.

        Args:
            currents: Currents of one sample.
        """
        return None

    def forward(self, current: Tensor, membrane: Tensor | None = None) -> Tensor:
        """Returns the spikes for the given currents.

        Args:
            current: Shape [T*B, ...], time-major.
            membrane: Membrane to start from, shape [B, ...]; None is rest.

        Raises:
            UserError: If the first dimension does not divide by T, or the shapes do not fit.
        """
        return self._fire(current, membrane, want_state=False)[0]

    def forward_with_state(
        self, current: Tensor, membrane: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns the spikes and the membrane after the last time step, for event streams.

        The membrane has the shape [B, ...] and the current's dtype (float32 for half precisions).

        Args:
            current: Shape [T*B, ...], time-major.
            membrane: Membrane to start from, shape [B, ...]; None is rest.

        Raises:
            UserError: If the first dimension does not divide by T, the shapes do not fit, or the
                class computes otherwise.
        """
        if type(self).forward is not Neuron.forward:
            raise UserError(
                f"{type(self).__name__} keeps no membrane between calls; give it a "
                "forward_with_state(current, membrane) that returns spikes and membrane"
            )
        spikes, state = self._fire(current, membrane, want_state=True)
        assert state is not None
        return spikes, state

    def _fire(
        self, current: Tensor, membrane: Tensor | None, want_state: bool
    ) -> tuple[Tensor, Tensor | None]:
        self._check(current, membrane)
        if membrane is not None:
            membrane = membrane.to(compute_dtype(current.dtype))
        return fire(current, self.rule, membrane, self.learned_retain(), want_state)

    def _check(self, current: Tensor, membrane: Tensor | None) -> None:
        steps = self.steps
        if not current.is_floating_point():
            raise UserError(
                f"a neuron takes floating-point currents, got {current.dtype}; call .float() first"
            )
        if steps > 1 and current.shape[0] % steps != 0:
            raise UserError(
                f"the first dimension is time x batch and must divide by steps={steps}, got shape "
                f"{tuple(current.shape)}; repeat the input over time or build the model with "
                "another steps"
            )
        if membrane is not None:
            expected = (current.shape[0] // steps, *current.shape[1:])
            if tuple(membrane.shape) != expected:
                raise UserError(
                    f"membrane must have shape {expected} (no time dimension), got "
                    f"{tuple(membrane.shape)}; pass the state of a call with the same batch size"
                )

    def extra_repr(self) -> str:
        """Returns the numbers that make this neuron, for print(model)."""
        dynamics = self.rule.dynamics
        default = Dynamics()
        fields = [f"steps={dynamics.steps}", f"levels={dynamics.levels}"]
        fields += [
            f"{field}={getattr(dynamics, field):.4g}"
            for field in ("threshold", "unit")
            if getattr(dynamics, field) != getattr(default, field)
        ]
        if type(self).forward is not Neuron.forward:
            return ", ".join(fields)
        if dynamics.steps > 1:
            learned = self.learned_retain()
            retain = dynamics.retain if learned is None or learned.is_meta else learned.item()
            fields.append(f"retain={retain:.4g}")
        fields.append(f"reset={dynamics.reset!r}")
        fields.append(f"ties={dynamics.ties!r}")
        return ", ".join(fields)

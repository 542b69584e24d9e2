"""The information-enhanced leaky integrate-and-fire neuron."""

from __future__ import annotations

from spikesight.neurons.i_lif import ILIF


class IELIF(ILIF):
    """IE-LIF: trains with counts n = round(clip(U, 0, D)), infers with D binary sub-steps.

    QSD-Transformer eqs. 9-10 train it with T = 1 and D = 4; `binary_spikes` gives the sub-steps.

    Arguments and errors are those of `ILIF`.
    """

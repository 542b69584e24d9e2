"""How long the installed runtimes take for one input."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from spikesight.deployment.export.exact_forms import ExactForms, find_exact_forms
from spikesight.deployment.network import Deployed
from spikesight.processor import processor_name
from spikesight.timing import time_alternating

_ROUNDS = 5
_SIZES = 2  # of inputs whose runtimes are kept
_SIMULATED = "integers, PyTorch"


@dataclass(frozen=True)
class Speeds:
    """How long one input takes.

    Attributes:
        milliseconds: Medians of alternating rounds by form; all of them give the same logits.
        absent: Why other forms are not there, in sentences.
        threads: How many threads each may use.
        processor: What it was measured on.
    """

    milliseconds: dict[str, float]
    absent: Sequence[str]
    threads: int
    processor: str


class Speedometer:
    """Times a network; its runtimes are built once per size of input.

    Args:
        network: The network.
    """

    def __init__(self, network: Deployed) -> None:
        self._network = network
        self._forms: OrderedDict[tuple[int, ...], ExactForms] = OrderedDict()
        self._lock = threading.Lock()

    def measure(self, x: Tensor) -> Speeds:
        """Times every form on an input.

        Args:
            x: A normalised image [1, C, H, W] or frames [1, T, C, H, W].

        Raises:
            ResultError: If a form gives other logits than the integers.
        """
        with self._lock:
            found = self._found(x)
            forms: dict[str, Callable[[], object]] = {
                _SIMULATED: partial(self._network.outputs, x),
                **{name: partial(form, x) for name, form in found.forms.items()},
            }
            times = time_alternating(forms, _ROUNDS)
        return Speeds(times, found.absent, torch.get_num_threads(), processor_name())

    def _found(self, x: Tensor) -> ExactForms:
        shape = tuple(x.shape)
        if shape not in self._forms:
            self._forms[shape] = find_exact_forms(self._network, x, None)
            while len(self._forms) > _SIZES:
                self._forms.popitem(last=False)
        return self._forms[shape]

"""libspk in tests: whether it was built, and what its forms compute differently."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from torch import Tensor

import spikesight as ss
from spikesight.deployment.runtime.native import NativeRuntime
from spikesight.graph import integer_vocabulary as integer
from spikesight.native import spk

NATIVE = ("native",) if spk.library() is not None else ()
"""What `verify` compares with where libspk was built."""

needs_libspk = pytest.mark.skipif(spk.library() is None, reason="libspk was not built")

_FORMS = (None, "dense", "sparse", "winograd")


def native_differences(
    graph: integer.Graph,
    x: Tensor,
    *,
    kernels: Iterable[str] | None = None,
    threads: tuple[int, ...] = (1, 2),
) -> dict[str, int]:
    """Counts and logits that libspk computes otherwise, by form; forms without any are left out.

    Args:
        graph: The network.
        x: Normalised images or frames; the first is run alone as well.
        kernels: All that are here if omitted.
        threads: Threads of a call.
    """
    expected, logits = ss.Deployed(graph)._executor.observe(x)
    found: dict[str, int] = {}
    for name in spk.kernels() if kernels is None else kernels:
        plain = name in ("generic", "reference")
        for form in (None,) if plain else _FORMS:
            for count in threads if form is None and name != "reference" else threads[-1:]:
                runtime = NativeRuntime(graph, count, kernels=name, form=form, prove=False)
                counts, own = runtime.observe(x)
                wrong = int((own != logits).sum())
                wrong += sum(int((counts[n] != c).sum()) for n, c in expected.items())
                if name != "reference":
                    # What was observed is what runs, again, unobserved and alone.
                    wrong += int((runtime(x) != own).sum())
                    wrong += int((runtime(x[:1]) != logits[:1]).sum())
                if wrong:
                    found[f"{name}, {form}, {count} threads"] = wrong
    return found

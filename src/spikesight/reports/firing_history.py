"""How often each neuron layer fired after each epoch, as a table with small curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from spikesight.reports.charts import sparkline
from spikesight.reports.page import percent


def firing_history(layers: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """One row per layer; all curves have one scale.

    Args:
        layers: Epoch and firing rate in [0, 1], from left to right, by the layer's path.
    """
    largest = max((rate for points in layers.values() for _, rate in points), default=0.0)
    rows = []
    for name, points in layers.items():
        first, last = points[0], points[-1]
        spoken = (
            f"firing rate of {name}: {percent(first[1])} after epoch {first[0]:g}, "
            f"{percent(last[1])} after epoch {last[0]:g}"
        )
        silent = ' class="silent"' if last[1] == 0 else ""
        rows.append(
            f'<tr><th scope="row"><code>{escape(name)}</code></th><td>{percent(first[1])}</td>'
            f"<td>{sparkline(spoken, points, largest)}</td>"
            f"<td{silent}>{percent(last[1]) if last[1] else 'silent'}</td></tr>"
        )
    head = "".join(
        f'<th scope="col">{title}</th>'
        for title in ("layer", "first", f"up to {percent(largest)}", "now")
    )
    return (
        f'<div class="scroll"><table class="data"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )

"""Which classes are taken for which: a matrix, and the most frequent confusions in words."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import torch
from torch import Tensor

from spikesight.files.names import show
from spikesight.reports.page import folded, percent, table
from spikesight.reports.pictures import heat_map

_IN_FIGURES = 20  # classes of a matrix whose cells can be read
_AS_PICTURE = 300
_LISTED = 12


def confusion_matrix(counts: Tensor, names: Sequence[str]) -> str:
    """The matrix, truth by row, as figures or, of many classes, as a picture; and a list.

    Args:
        counts: How often each class was taken for which, int64 [K, K]; row: truth.
        names: K names.
    """
    shares = counts.double() / counts.sum(1, keepdim=True).clamp_min(1)
    parts = []
    if len(names) <= _IN_FIGURES:
        parts.append(_in_figures(counts, shares, names))
    elif len(names) <= _AS_PICTURE:
        what = f"confusion matrix of {len(names)} classes, truth by row, guess by column"
        picture = heat_map(shares, 1.0, what)
        note = "Row: what is there. Column: what it is taken for. Bright: the share of the row."
        parts.append(f'<figure class="heat">{picture}<figcaption>{note}</figcaption></figure>')
    frequent = _frequent(counts, shares, names)
    if frequent:
        header = ("is", "taken for", "times", "of all that are")
        parts.append(folded("The most frequent confusions", table(header, frequent)))
    return "".join(parts)


def _in_figures(counts: Tensor, shares: Tensor, names: Sequence[str]) -> str:
    shown = [escape(show(name)) for name in names]
    head = "".join(f'<th scope="col">{name}</th>' for name in shown)
    rows = []
    for truth, name in enumerate(shown):
        cells = "".join(
            f'<td{" class=right" if truth == guess else ""} style="--share:{share:.3f}">'
            f"{count:,}</td>"
            for guess, (count, share) in enumerate(
                zip(counts[truth].tolist(), shares[truth].tolist(), strict=True)
            )
        )
        rows.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
    return (
        '<div class="scroll"><table class="data matrix"><caption>Row: what is there. Column: what '
        f"it is taken for.</caption><thead><tr><td></td>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _frequent(counts: Tensor, shares: Tensor, names: Sequence[str]) -> list[tuple[str, ...]]:
    wrong = counts.clone().fill_diagonal_(0).flatten()
    most = wrong.topk(min(_LISTED, len(wrong)))
    rows: list[tuple[str, ...]] = []
    for count, place in zip(most.values.tolist(), most.indices.tolist(), strict=True):
        if count:
            truth, guess = divmod(place, len(names))
            share = percent(float(shares[truth, guess]))
            rows.append((show(names[truth]), show(names[guess]), f"{count:,}", share))
    return rows


def counted(truths: Tensor, guesses: Tensor, classes: int) -> Tensor:
    """A matrix of pairs, int64 [K, K]; row: truth.

    Args:
        truths: Classes 0..K - 1.
        guesses: Likewise, as many.
        classes: Classes K.
    """
    pairs = truths.long() * classes + guesses.long()
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)

"""Which models the page offers: own ones that were named, then those that come along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spikesight.app.viewers import Viewer, viewer_of
from spikesight.demo.scenes import WEIGHTS
from spikesight.deployment.export.reading import RUNNABLE_ENDINGS
from spikesight.errors import UserError
from spikesight.files.names import show, show_path
from spikesight.files.shipped import find_weights, weights_names
from spikesight.training.runs.card import Card
from spikesight.training.runs.folder import card_of, resolve_model


@dataclass(frozen=True)
class Offer:
    """A model that can be chosen.

    Attributes:
        name: What the page calls it; no two are called alike.
        place: Its folder or .spk file.
        viewer: How it is shown something, and what comes of it.
    """

    name: str
    place: Path
    viewer: Viewer


def find_offers(own: Sequence[Path] = ()) -> list[Offer]:
    """The models to choose from, own ones first.

    Args:
        own: Folders of runs or of models, .spk files, names of models that come along or hub ids.

    Raises:
        FileNotFoundError: If there is no such model.
        UserError: If a model does not say how its inputs are prepared, or gives no answers.
    """
    offers = {offer.name: offer for offer in map(_own, own)}
    places = [(WEIGHTS.name, WEIGHTS), *((name, find_weights(name)) for name in weights_names())]
    for name, place in places:
        if place is not None and name not in offers:
            offers[name] = Offer(name, place, viewer_of(Card.read(place), name))
    return list(offers.values())


def _own(path: Path) -> Offer:
    place = resolve_model(path)
    if place.is_file() and place.suffix in RUNNABLE_ENDINGS:
        raise UserError(
            f"{show(path)} is an export, whose spikes cannot be seen; pass the .spk file or the "
            "run that it was written from"
        )
    return Offer(show_path(path), place, viewer_of(Card.read(card_of(path)), show(path)))

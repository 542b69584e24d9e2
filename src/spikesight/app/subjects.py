"""Models as the page looks at them: loaded once, deployed once, and only read from then on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from spikesight.app.entrance import Entrance
from spikesight.app.offers import Offer
from spikesight.app.speeds import Speedometer
from spikesight.app.viewers import Answer, Given, Viewer, viewer_of
from spikesight.deployment.calibration_file import read_calibration
from spikesight.deployment.deployed_model import DeployedModel
from spikesight.deployment.deploying import deploy
from spikesight.deployment.network import Deployed
from spikesight.errors import UserError
from spikesight.pretrained import load
from spikesight.training.tasks.validation import calibration_inputs

_CALIBRATION = 16  # inputs, of a model that recorded nothing


@dataclass(frozen=True)
class Subject:
    """A loaded model.

    Attributes:
        name: What the page calls it.
        viewer: How it is shown something.
        model: What answers: the deployed network, or the trained model where that cannot.
        network: The deployed network; None of a model that cannot be deployed.
        refusal: Why it cannot; empty of others.
        speeds: How long its forms take.
    """

    name: str
    viewer: Viewer
    model: nn.Module
    network: Deployed | None
    refusal: str
    speeds: Speedometer | None

    @property
    def answers_by_integers(self) -> bool:
        """Whether the answer is the deployed network's."""
        return isinstance(self.model, DeployedModel)

    def answer(self, given: Given) -> Answer:
        """What it says."""
        return self.viewer.answer(self.model, given)


@dataclass
class Shelf:
    """The models of the page; each is loaded when it is first chosen, for all users.

    Attributes:
        offers: What can be chosen.
        entrance: Who computes with them; closed when the page is.
    """

    offers: Sequence[Offer]
    entrance: Entrance = field(default_factory=Entrance)
    _subjects: dict[str, Subject] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._locks = {offer.name: threading.Lock() for offer in self.offers}

    @property
    def names(self) -> list[str]:
        """The names of the models."""
        return [offer.name for offer in self.offers]

    def offer(self, name: object) -> Offer:
        """What is known of a model that is not loaded yet.

        Raises:
            UserError: If none has that name.
        """
        for offer in self.offers:
            if offer.name == name:
                return offer
        raise UserError(f"there is no model {str(name)[:80]!r} here; choose one of the list")

    def subject(self, name: object) -> Subject:
        """A model, loaded now if nobody chose it before.

        Raises:
            UserError: If there is none, or its files are damaged.
        """
        offer = self.offer(name)
        with self._locks[offer.name]:
            if offer.name not in self._subjects:
                self._subjects[offer.name] = _loaded(offer)
            return self._subjects[offer.name]


def _loaded(offer: Offer) -> Subject:
    network: Deployed | None
    model: nn.Module
    refusal = ""
    if offer.place.is_file():
        network = Deployed.load(offer.place)
        model = DeployedModel(network)
    else:
        model = load(offer.place)
        try:
            network = _deployed(offer.place, model, offer.viewer)
        except UserError as error:
            network, refusal = None, str(error)
        if network is not None and offer.viewer.whole_network:
            model = DeployedModel(network)
    speeds = None if network is None else Speedometer(network)
    viewer = viewer_of(offer.viewer.card, offer.name, int(model.stride))
    return Subject(offer.name, viewer, model, network, refusal, speeds)


def _deployed(folder: Path, model: nn.Module, viewer: Viewer) -> Deployed:
    """The integer network, by what training recorded or else by what is at hand."""
    recorded = read_calibration(folder)
    if recorded is not None:
        blank = torch.zeros(1, *viewer.steps.input_shape, dtype=torch.uint8)
        return deploy(model, viewer.steps.batch_transform(blank), calibration=recorded)
    x, real = calibration_inputs(folder, None, _CALIBRATION, "validation", None)
    return deploy(model, x, calibration=[x] if real else None)

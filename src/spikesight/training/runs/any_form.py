"""A trained model in whatever form it is given: a run, a saved folder or a .spk file."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from spikesight.errors import UserError
from spikesight.files.names import show
from spikesight.training.runs.folder import CARD, resolve_model_folder


def resolve_model(path: Path) -> Path:
    """A .spk file itself, or the folder with a run's weights.

    Raises:
        FileNotFoundError: If there is no model.
    """
    if path.suffix == ".spk" and not path.exists():
        raise FileNotFoundError(f"there is no file {show(path)}; correct the path")
    return path if path.is_file() and path.suffix == ".spk" else resolve_model_folder(path)


def card_of(path: Path, run: Path | None = None) -> Path:
    """Where the card of a model is, which says how its inputs are prepared.

    Args:
        path: A .spk file, or the folder of a model or a run.
        run: A run whose card is taken instead.

    Returns:
        A .spk file, or a folder with run.json.

    Raises:
        FileNotFoundError: If there is no model.
        UserError: If the model has no card.
    """
    place = resolve_model(path if run is None else run)
    if place.is_file():
        from spikesight.deployment.spk.file import read_spk_card

        if read_spk_card(place) is None:
            raise UserError(
                f"{show(place)} holds no images and does not say how they are prepared; pass "
                "--run=FOLDER with the run that it was made from"
            )
    elif not (place / CARD).is_file():
        raise FileNotFoundError(
            f"{show(place)} has no {CARD}, which says how images are prepared; pass --run=FOLDER "
            "with the run that it was made from, or write one by spikesight convert "
            f"{show(place)} OUTPUT --classes=names.txt --image_size=PIXELS"
        )
    return place


def load_any(path: Path) -> nn.Module:
    """The model in a .spk file or a folder, in evaluation mode, with real outputs.

    Raises:
        FileNotFoundError: If there is no model.
        UserError: If it is damaged.
    """
    from spikesight.deployment.deployed_model import DeployedModel
    from spikesight.deployment.network import Deployed
    from spikesight.pretrained import load

    place = resolve_model(path)
    return DeployedModel(Deployed.load(place)) if place.is_file() else load(place)

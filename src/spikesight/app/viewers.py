"""How a model is shown a photo, drawing or recording, and what it says: one viewer per task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from spikesight.app.uploads import is_photo, read_photo, without_folder
from spikesight.data import EventPreprocessing, Preprocessing
from spikesight.data.detection import EventObjectPreprocessing
from spikesight.data.detection.preprocessing import fitted_size
from spikesight.data.events import draw_film, read_events
from spikesight.data.events.pictures import colour_frames
from spikesight.data.events.saccades import saccade_events
from spikesight.data.photos.preprocessing import fit, to_tensor
from spikesight.data.segmentation import VOID
from spikesight.errors import UserError
from spikesight.files.names import show
from spikesight.inference import ViewConfig
from spikesight.inference.views import padded
from spikesight.reports.boxes import class_colour, draw_objects
from spikesight.reports.overlays import draw_overlay
from spikesight.reports.pictures import as_image
from spikesight.training.runs.card import Card
from spikesight.training.tasks.classification.task import ClassificationTask
from spikesight.training.tasks.detection.evaluation import finder_of
from spikesight.training.tasks.detection.task import ObjectTask
from spikesight.training.tasks.segmentation.evaluation import build_view
from spikesight.training.tasks.segmentation.prediction import Segmenter
from spikesight.training.tasks.segmentation.task import SegmentationTask

Colour = tuple[int, int, int]
_CPU = torch.device("cpu")
_GUESSES = 5
_BEST = 6  # boxes and classes that are listed
_LONGEST = 1280  # pixels of a picture that is drawn on


@dataclass(frozen=True)
class Given:
    """What a model is shown.

    Attributes:
        name: What the page calls it.
        x: Normalised image [1, C, H, W] or frames [1, T, C, H, W]: exactly what the network reads.
        seen: The same as a picture.
        whole: What is drawn on, uint8 as the task reads it, before it is fitted to the network.
        film: Frames of events one after the other; None of a photo.
    """

    name: str
    x: Tensor
    seen: Image.Image
    whole: Tensor
    film: Image.Image | None = None


@dataclass(frozen=True)
class Answer:
    """What a model says.

    Attributes:
        says: In a few words.
        measure: What the shares are.
        shares: Names with values of 0 to 1.
        picture: What it drew on the photo; None where it draws nothing.
        colours: What the colours of that mean.
    """

    says: str
    measure: str
    shares: Sequence[tuple[str, float]]
    picture: Image.Image | None = None
    colours: Sequence[tuple[str, Colour]] = ()


class Viewer(ABC):
    """How the models of a task are shown something.

    Args:
        card: What belongs to the model.
        stride: What height and width of an input must be divisible by.
    """

    whole_network = True
    """Whether the deployed network alone answers."""

    def __init__(self, card: Card, stride: int = 1) -> None:
        self.card = card
        self.stride = stride
        self.steps: Any = card.preprocessing

    @property
    def takes_photos(self) -> bool:
        """Whether a photo can be shown."""
        return not isinstance(self.steps, EventPreprocessing | EventObjectPreprocessing)

    @property
    def takes_recordings(self) -> bool:
        """Whether a recording of an event camera can be shown."""
        return not self.takes_photos

    @property
    def takes_drawings(self) -> bool:
        """Whether a drawing makes sense: of models that learned from grey pictures or digits."""
        return False

    def read(self, path: Path) -> Given:
        """What an uploaded file shows to the model.

        Raises:
            UserError: If it is no such file, damaged or too large; names it without its folder.
        """
        if is_photo(path):
            if not self.takes_photos:
                raise UserError(
                    f"{show(path.name)} is a photo, and this model learned from recordings of "
                    f"event cameras; choose a file ending in {self.endings}, or another model"
                )
            return self.of_photo(read_photo(path), path.name)
        if not self.takes_recordings:
            raise UserError(
                f"{show(path.name)} is no photo by its name; choose a file ending in {self.endings}"
            )
        try:
            return self.of_recording(path)
        except UserError as error:
            raise without_folder(error, path) from error

    @property
    def endings(self) -> str:
        """How the names of files end that can be shown."""
        return ", ".join(sorted(self.steps.suffixes))

    @abstractmethod
    def of_photo(self, photo: Image.Image, name: str) -> Given:
        """What a photo, RGB, shows to the model."""

    def of_recording(self, path: Path) -> Given:
        """What a recording shows to the model."""
        raise UserError("this model learned from photos; choose one")

    @abstractmethod
    def answer(self, model: nn.Module, given: Given) -> Answer:
        """What a model, in evaluation mode on the CPU, says."""

    def _normalised(self, pixels: Tensor) -> Tensor:
        x: Tensor = self.steps.batch_transform(pixels[None])
        return x


class ClassifierViewer(Viewer):
    """Guesses with their probabilities."""

    @property
    def takes_photos(self) -> bool:
        """Also of a model that learned from moved photos."""
        return isinstance(self.steps, Preprocessing) or self.steps.saccades

    @property
    def takes_recordings(self) -> bool:
        """Of a model that learned from events."""
        return isinstance(self.steps, EventPreprocessing)

    @property
    def takes_drawings(self) -> bool:
        """Of a model of grey pictures, also moved ones."""
        return self.takes_photos and (self.takes_recordings or self.steps.channels == 1)

    def of_photo(self, photo: Image.Image, name: str) -> Given:
        """Fitted as in training, or moved before an event camera."""
        if self.takes_recordings:
            steps: EventPreprocessing = self.steps
            grey = to_tensor(photo.convert("L"))
            return self._of_frames(
                steps.make_frames(saccade_events(grey, steps.image_size, steps.threshold), name),
                name,
            )
        plain = photo.convert("L" if self.steps.channels == 1 else "RGB")
        pixels = to_tensor(fit(plain, *self.steps.fitting))
        return Given(name, self._normalised(pixels), as_image(pixels), pixels)

    def of_recording(self, path: Path) -> Given:
        """Frames of its events."""
        events = read_events(path, self.steps.sensor)
        return self._of_frames(self.steps.make_frames(events, path.name), path.name)

    def _of_frames(self, frames: Tensor, name: str) -> Given:
        return Given(name, self._normalised(frames), _picture_of(frames), frames, draw_film(frames))

    @torch.no_grad()
    def answer(self, model: nn.Module, given: Given) -> Answer:
        """The most probable classes."""
        logits = model(given.x)
        best = logits.float().softmax(1).topk(min(_GUESSES, logits.shape[1]), dim=1)
        names = self.steps.classes
        shares = [
            (show(names[label]) if label < len(names) else str(label), score)
            for score, label in zip(best.values[0].tolist(), best.indices[0].tolist(), strict=True)
        ]
        return Answer(shares[0][0], "Probability of each class", shares)


class SegmenterViewer(Viewer):
    """Segments over the photo, and the share of it that each class covers."""

    @property
    def takes_drawings(self) -> bool:
        """Of a model of scenes of digits."""
        return getattr(self.card.data, "format", "") == "digit_scenes"

    def of_photo(self, photo: Image.Image, name: str) -> Given:
        """As large as it fits into the crops of training, its shape kept, and padded."""
        height, width = fitted_size((photo.height, photo.width), self.steps.crop_size)
        whole = to_tensor(photo.resize((width, height), Image.Resampling.BICUBIC))
        x = padded(self._normalised(whole), self.stride)
        ground = Image.new("RGB", (x.shape[-1], x.shape[-2]))
        ground.paste(as_image(whole))
        return Given(name, x, ground, whole)

    @torch.no_grad()
    def answer(self, model: nn.Module, given: Given) -> Answer:
        """An overlay in the classes' colours."""
        steps = replace(self.steps, evaluation_size=None)
        view = replace(self.card.view or ViewConfig(), mode="whole", scales=[1.0], flip=False)
        seen = build_view(model, steps, view)
        panoptic = self.card.kind.panoptic  # type: ignore[attr-defined]
        table = steps.table
        truth = Segmenter(seen, steps, panoptic, _CPU)(given.whole, given.name)
        classes = truth.class_map()
        counts = classes[classes >= 0].bincount(minlength=len(table))
        order = [int(n) for n in counts.argsort(descending=True) if counts[n]][:_BEST]
        shares = [(show(table.names[n]), int(counts[n]) / classes.numel()) for n in order]
        says = ", ".join(name for name, _ in shares)
        grounds = set(range(len(table))) - set(table.things)
        if panoptic:
            things = [n for n in truth.segment_classes.tolist() if n in table.things]
            says = _counted(things, table.names)
            if len(grounds) == 1:  # what is around objects keeps the photo's colours
                order = [n for n in order if n not in grounds]
                around = torch.isin(classes, torch.tensor(sorted(grounds)))
                truth = truth.with_map(truth.segment_map.masked_fill(around, VOID))
        return Answer(
            says or "nothing",
            "Share of the picture that each class covers",
            shares,
            draw_overlay(given.whole, truth, table, legend="none"),
            [(show(table.names[n]), table.colours[n]) for n in order],
        )


class DetectorViewer(Viewer):
    """Boxes over the photo, with masks where there are any."""

    @property
    def whole_network(self) -> bool:  # type: ignore[override]
        """Not of two stages: host code cuts out regions between them."""
        return self.card.task != "instances"

    def of_photo(self, photo: Image.Image, name: str) -> Given:
        """As large as it fits, the rest filled."""
        photo.thumbnail((_LONGEST, _LONGEST))
        return self._of_whole(to_tensor(photo), name)

    def of_recording(self, path: Path) -> Given:
        """The frames of its last moments."""
        return self._of_whole(self.steps.read(path), path.name)

    def _of_whole(self, whole: Tensor, name: str) -> Given:
        pixels, _ = self.steps.fit(whole)
        seen = as_image(pixels) if pixels.ndim == 3 else _picture_of(pixels)
        return Given(name, self._normalised(pixels), seen, whole)

    @torch.no_grad()
    def answer(self, model: nn.Module, given: Given) -> Answer:
        """What is found, the best first."""
        finder = finder_of(model, self.card, _CPU)
        found = finder.shown(finder.look(given.whole))
        labels = found.classes.tolist()
        best = list(zip(labels, found.scores.tolist(), strict=True))[:_BEST]
        return Answer(
            _counted(labels, finder.names) or "nothing",
            "Score of the best boxes",
            [(show(finder.names[label]), score) for label, score in best],
            draw_objects(self.steps.picture(given.whole), found, finder.names),
            [(show(finder.names[n]), class_colour(n)) for n in sorted(set(labels))],
        )


def viewer_of(card: Card, name: str, stride: int = 1) -> Viewer:
    """The viewer of a model.

    Args:
        card: What belongs to it.
        name: What messages call it.
        stride: That of the model; 1 while it is not loaded and nothing is shown to it.

    Raises:
        UserError: If its task gives no answers about a photo.
    """
    for task, viewer in (
        (ClassificationTask, ClassifierViewer),
        (SegmentationTask, SegmenterViewer),
        (ObjectTask, DetectorViewer),
    ):
        if issubclass(card.kind, task):
            return viewer(card, stride)
    raise UserError(
        f"{name} is {card.kind.called}, which the page cannot show; pass a classifier, a segmenter "
        "or a detector"
    )


def _picture_of(frames: Tensor) -> Image.Image:
    """All frames of events in one picture."""
    return as_image(colour_frames(frames.sum(0, keepdim=True, dtype=torch.int64))[0])


def _counted(labels: Sequence[int], names: Sequence[str]) -> str:
    counts = Counter(labels).most_common()
    return ", ".join(f"{count} × {show(names[label])}" for label, count in counts)

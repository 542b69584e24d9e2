"""A photo with its segments, and what its classes are called."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Protocol

import torch
from msgspec import Meta
from torch import Tensor

from spikesight.data.class_lists import check_class_names
from spikesight.data.errors import DataError

VOID = -1
Channel = Annotated[int, Meta(ge=0, le=255)]
Colour = tuple[Channel, Channel, Channel]


@dataclass(frozen=True)
class ClassTable:
    """The classes of a segmentation data set.

    Attributes:
        names: K names.
        colours: K colours (red, green, blue), 0..255, for pictures.
        things: Numbers of the classes whose objects are told apart; the others are stuff.
        ids: K numbers by which the data set's files call the classes, where they say it.

    Raises:
        DataError: Two classes have one name.
    """

    names: tuple[str, ...]
    colours: tuple[Colour, ...]
    things: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.names)
        if len(self.colours) != count or len(self.ids) not in (0, count):
            raise DataError(
                f"a table of {count} classes has {len(self.colours)} colours and {len(self.ids)} "
                "ids; give every class a colour, and every or no class an id"
            )
        for thing in self.things:
            if not 0 <= thing < count:
                raise DataError(f"things names class {thing} of {count}; number classes from 0")
        check_class_names(self.names, "classes")

    def __len__(self) -> int:
        return len(self.names)


def table_of(names: tuple[str, ...], things: tuple[int, ...] = ()) -> ClassTable:
    """A table with the colours of Pascal VOC's colour map, which tells neighbours well apart."""
    return ClassTable(names, tuple(voc_colour(n + 1) for n in range(len(names))), things)


def voc_colour(number: int) -> Colour:
    """Entry of Pascal VOC's colour map: the number's bits, spread over three colours.

    Args:
        number: 0 (black) or more.
    """
    channels = [0, 0, 0]
    shift = 7
    while number and shift >= 0:
        for channel in range(3):
            channels[channel] |= (number >> channel & 1) << shift
        number >>= 3
        shift -= 1
    red, green, blue = channels
    return red, green, blue


@dataclass(frozen=True)
class Truth:
    """The segments of a photo.

    Attributes:
        segment_map: Number of each pixel's segment, int32 [H, W]; -1 is void.
        segment_classes: Class of each segment, int64 [N].
        crowd: Which segments are crowds, several objects that nobody told apart, bool [N].
    """

    segment_map: Tensor
    segment_classes: Tensor
    crowd: Tensor

    def class_map(self) -> Tensor:
        """Class of each pixel, int64 [H, W]; -1 is void."""
        lookup = torch.cat([self.segment_classes, torch.tensor([VOID])])
        return lookup[self.segment_map.long()]  # -1 is the last entry

    def semantic(self, classes: int) -> Truth:
        """The same photo with everything of one class as one segment.

        Args:
            classes: Classes K.
        """
        return semantic_truth(self.class_map().int(), classes)

    def with_map(self, segment_map: Tensor) -> Truth:
        """The same segments after their map was cut or resized."""
        return replace(self, segment_map=segment_map)


def semantic_truth(class_map: Tensor, classes: int) -> Truth:
    """Segments of a class map: segment number = class number.

    Args:
        class_map: int32 [H, W]; -1 is void.
        classes: Classes K.
    """
    return Truth(class_map, torch.arange(classes), torch.zeros(classes, dtype=torch.bool))


@dataclass(frozen=True)
class Scene:
    """A photo and its segments.

    Attributes:
        image: uint8 [3, H, W].
        truth: Its segments, at the same size.
        name: What messages call it.
    """

    image: Tensor
    truth: Truth
    name: str

    def __post_init__(self) -> None:
        photo, mask = self.image.shape[1:], self.truth.segment_map.shape
        if photo != mask:
            raise DataError(
                f"{self.name}: the mask has {mask[1]}x{mask[0]} pixels but the photo "
                f"{photo[1]}x{photo[0]}; replace one of them, they must be the same size"
            )


class SceneSource(Protocol):
    """Scenes that are read one at a time, from several processes too."""

    @property
    def classes(self) -> ClassTable:
        """The classes."""
        ...

    @property
    def name(self) -> str:
        """What messages call the scenes."""
        ...

    @property
    def panoptic(self) -> bool:
        """Whether the objects of a thing class are separate segments."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> Scene:
        """Reads one scene; raises DataError where it cannot be used."""
        ...

    def describe(self, index: int) -> str:
        """What messages call scene number `index`."""
        ...

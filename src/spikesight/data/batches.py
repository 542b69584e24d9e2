"""Batches of uint8 images: from memory at once, or decoded image by image in workers."""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from spikesight.data.config import OnCorrupt
from spikesight.data.errors import CorruptImageError, DataError
from spikesight.data.events.sources import EventSource
from spikesight.data.photos.decoding import decode
from spikesight.data.photos.preprocessing import Preprocessing, fit, to_tensor
from spikesight.data.photos.randaugment import ImageAugmentation
from spikesight.data.sampling import EpochSampler, EvaluationSampler, derive_generator
from spikesight.data.sources import ArraySource, EncodedSource
from spikesight.options import check_range, check_value

logger = logging.getLogger(__name__)
ImagesT = TypeVar("ImagesT")
LabelsT = TypeVar("LabelsT", bound=Sized)
ResultT = TypeVar("ResultT")


class Draw(NamedTuple):
    """The images of one batch, and the epoch of which their augmentation is a function."""

    indices: list[int]
    epoch: int


class Failure(NamedTuple):
    """An image that could not be used: its name, why, and whether skipping it is allowed."""

    name: str
    reason: str
    corrupt: bool


class Batch(NamedTuple, Generic[ImagesT, LabelsT]):
    """B images and their labels, and what failed on the way.

    For classifiers these are uint8 `[B, C, H, W]` and int64 `[B]`.
    """

    images: ImagesT
    labels: LabelsT
    failures: tuple[Failure, ...]


class BatchDataset(Protocol[ImagesT, LabelsT]):
    """Images that are read a batch at a time."""

    def __len__(self) -> int: ...

    def __getitem__(self, draw: Draw, /) -> Batch[ImagesT, LabelsT]: ...


class Turns:
    """Mirrors each image in every second epoch.

    Args:
        count: Number of images N.
        seed: Decides which half is mirrored in the first epoch.
    """

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._first = torch.randint(2, (count,), generator=generator, dtype=torch.uint8)

    def mirror(self, images: Tensor, indices: list[int], epoch: int) -> Tensor:
        """Images [B, C, H, W], those whose turn it is mirrored."""
        turned = (self._first[indices] + epoch) % 2 == 1
        return torch.where(turned[:, None, None, None], images.flip(-1), images)


class MemoryImages(Dataset[Batch[Tensor, Tensor]]):
    """Images in memory.

    Args:
        source: Images of the model's size, uint8 `[N, C, image_size, image_size]`.
        augmentation: Applied image by image, or None.
        turns: Says which images are mirrored in which epoch, or None.
    """

    def __init__(
        self,
        source: ArraySource,
        augmentation: ImageAugmentation | None = None,
        turns: Turns | None = None,
    ) -> None:
        self.images, self.labels = source.images, source.labels
        self.augmentation, self.turns = augmentation, turns

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, draw: Draw) -> Batch[Tensor, Tensor]:
        images, labels = self.images[draw.indices], self.labels[draw.indices]
        if self.augmentation is not None:
            images = torch.stack(
                [
                    to_tensor(self.augmentation.of_tensor(image, draw.epoch, index))
                    for image, index in zip(images, draw.indices, strict=True)
                ]
            )
        if self.turns is not None:
            images = self.turns.mirror(images, draw.indices, draw.epoch)
        return Batch(images, labels, ())


def read_each(
    draw: Draw, read: Callable[[int, int], ResultT], describe: Callable[[int], str]
) -> tuple[list[ResultT], list[int], tuple[Failure, ...]]:
    """What a batch draws, read by number and epoch; the numbers that could be; and what failed.

    What fails is handed on beside the batch, not raised, so that it reaches the main process
    whole and is counted there even from a worker.
    """
    results, kept, failures = [], [], []
    for index in draw.indices:
        try:
            results.append(read(index, draw.epoch))
            kept.append(index)
        except DataError as error:
            corrupt = isinstance(error, CorruptImageError)
            failures.append(Failure(describe(index), str(error), corrupt))
    return results, kept, tuple(failures)


class StoredImages(Dataset[Batch[Tensor, Tensor]]):
    """Labelled images of one shape that are read each time they are drawn.

    Args:
        labels: int64 `[N]`.
        shape: Of an image.
        turns: Says which images are mirrored in which epoch, or None.
    """

    def __init__(self, labels: Tensor, shape: tuple[int, ...], turns: Turns | None = None) -> None:
        self.labels = labels
        self.shape = shape
        self.turns = turns

    @abstractmethod
    def read(self, index: int, epoch: int) -> Tensor:
        """Image number `index`, uint8."""

    @abstractmethod
    def describe(self, index: int) -> str:
        """What messages call it."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, draw: Draw) -> Batch[Tensor, Tensor]:
        images, kept, failures = read_each(draw, self.read, self.describe)
        stacked = torch.stack(images) if images else torch.empty(0, *self.shape, dtype=torch.uint8)
        if self.turns is not None:
            stacked = self.turns.mirror(stacked, kept, draw.epoch)
        return Batch(stacked, self.labels[kept], failures)


class EncodedImages(StoredImages):
    """Images that are decoded each time they are drawn.

    Args:
        source: The encoded images.
        preprocessing: Says how to fit them to the model.
        augmentation: Applied image by image instead of the fitting, or None.
        turns: Says which images are mirrored in which epoch, or None.
    """

    def __init__(
        self,
        source: EncodedSource,
        preprocessing: Preprocessing,
        augmentation: ImageAugmentation | None = None,
        turns: Turns | None = None,
    ) -> None:
        side = preprocessing.image_size
        super().__init__(source.labels, (preprocessing.channels, side, side), turns)
        self.source = source
        self.preprocessing = preprocessing
        self.augmentation = augmentation

    def describe(self, index: int) -> str:
        """The file."""
        return self.source.archive.describe(int(self.source.positions[index]))

    def read(self, index: int, epoch: int) -> Tensor:
        """Decodes, augments and fits a file."""
        encoded = self.source.archive.read(int(self.source.positions[index]))
        image = decode(encoded, self.describe(index), self.preprocessing.channels)
        if self.augmentation is not None:
            image = self.augmentation(image, epoch, index)
        return to_tensor(fit(image, *self.preprocessing.fitting))


@dataclass
class _Draws:
    """Cuts a sampler's images into batches."""

    sampler: EpochSampler | EvaluationSampler
    batch_size: int
    drop_last: bool

    def __iter__(self) -> Iterator[Draw]:
        indices = list(self.sampler)
        epoch = self.sampler.epoch if isinstance(self.sampler, EpochSampler) else 0
        for start in range(0, len(indices), self.batch_size):
            part = indices[start : start + self.batch_size]
            if len(part) == self.batch_size or not self.drop_last:
                yield Draw(part, epoch)


def _identity(batch: Any) -> Any:
    return batch


@dataclass(eq=False)
class BatchLoader(Generic[ImagesT, LabelsT]):
    """Iterates over the batches of one epoch, `(images, labels)`.

    With `on_corrupt="skip"` a batch shrinks by the images that could not be decoded.

    Attributes:
        dataset: What is read.
        sampler: The order of this process.
        batch_size: Images per batch and process.
        seed: Seed of the augmentation.
        drop_last: Leave out a last batch that is not full.
        workers: Processes that read; 0 reads in this one.
        on_corrupt: What an image that cannot be decoded does.
        skipped: Name and reason of every image that was skipped so far, such as when it was read
            into memory.
        start_batch: First batch of the coming iteration; see `set_epoch`.
    """

    dataset: BatchDataset[ImagesT, LabelsT]
    sampler: EpochSampler | EvaluationSampler
    batch_size: int
    seed: int = 0
    drop_last: bool = False
    workers: int = 0
    on_corrupt: OnCorrupt = "stop"
    skipped: dict[str, str] = field(default_factory=dict)
    start_batch: int = field(default=0, init=False)
    _loader: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        check_range("batch_size", self.batch_size, least=1, error=DataError)
        check_value("on_corrupt", self.on_corrupt, OnCorrupt, DataError)

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Chooses the epoch, for training loaders only.

        Args:
            epoch: Number of the epoch, at least 0.
            start_batch: Number of batches to leave out because a stopped run has seen them.
        """
        assert isinstance(self.sampler, EpochSampler)
        self.start_batch = start_batch
        self.sampler.set_epoch(epoch, start_batch * self.batch_size)

    def generator(self, batch: int) -> torch.Generator:
        """The source of a batch's augmentation.

        Args:
            batch: Number of the batch in the whole epoch, `start_batch` included.

        Returns:
            A CPU generator, a pure function of seed, epoch, batch and process.
        """
        assert isinstance(self.sampler, EpochSampler)
        return derive_generator(self.seed, self.sampler.epoch, batch, self.sampler.rank)

    def __len__(self) -> int:
        """Number of batches in a whole epoch, whatever `start_batch` is."""
        size = (
            self.sampler.samples_per_epoch
            if isinstance(self.sampler, EpochSampler)
            else len(self.sampler)
        )
        return size // self.batch_size if self.drop_last else -(-size // self.batch_size)

    def __iter__(self) -> Iterator[tuple[ImagesT, LabelsT]]:
        if self._loader is None:
            self._loader = self._make_loader()
        known = len(self.skipped)
        try:
            for batch in self._loader:
                self._count_failures(batch)
                if len(batch.labels):
                    yield batch.images, batch.labels
        except Exception:
            # Left to the garbage collector, beside the traceback, workers end seconds later.
            self._loader = None
            raise
        if len(self.skipped) > known:
            report_skipped(self.skipped)

    def _count_failures(self, batch: Batch[ImagesT, LabelsT]) -> None:
        for failure in batch.failures:
            if self.on_corrupt == "stop" or not failure.corrupt:
                kind = CorruptImageError if failure.corrupt else DataError
                raise kind(failure.reason)
            self.skipped[failure.name] = failure.reason
        if not len(batch.labels) and isinstance(self.sampler, EpochSampler):
            raise DataError(
                "every image of a training batch is corrupt, the first is "
                f"{batch.failures[0].name}; repair the data set"
            )

    def _make_loader(self) -> Any:
        return DataLoader(
            self.dataset,  # type: ignore[arg-type]
            sampler=_Draws(self.sampler, self.batch_size, self.drop_last),
            batch_size=None,
            num_workers=self.workers,
            collate_fn=_identity,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.workers > 0,
            # Its own generator, so that an epoch draws nothing from the global one.
            generator=torch.Generator(),
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loader": None}


def read_all(
    source: EncodedSource | EventSource,
    images: StoredImages,
    batch_size: int,
    workers: int,
    on_corrupt: OnCorrupt,
    failed: dict[str, str],
) -> ArraySource:
    """Reads all images of a source into memory; `failed` takes those that are skipped.

    Raises:
        DataError: Not a single one can be read.
    """
    order = EvaluationSampler(len(images), in_order=True)
    loader = BatchLoader(images, order, batch_size, workers=workers, on_corrupt=on_corrupt)
    content = torch.empty(len(images), *images.shape, dtype=torch.uint8)
    labels = torch.empty(len(images), dtype=torch.int64)
    usable = 0
    for batch_images, batch_labels in loader:
        end = usable + len(batch_labels)
        content[usable:end], labels[usable:end] = batch_images, batch_labels
        usable = end
    failed.update(loader.skipped)
    if not usable:
        kind = "recording" if isinstance(source, EventSource) else "image"
        raise DataError(f"{source.name}: every {kind} is corrupt; repair the data set")
    return ArraySource(content[:usable], labels[:usable], source.classes, source.name)


def usual_workers(asked: int | None, cheap: bool) -> int:
    """Processes that read: as many as asked for, else none if it is cheap, else up to four."""
    if asked is not None:
        return asked
    known = hasattr(os, "sched_getaffinity")
    processors = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    return 0 if cheap else min(4, processors)


def report_skipped(skipped: dict[str, str]) -> None:
    """Logs how many images were skipped and the first of their names."""
    names = list(skipped)
    more = ", ..." if len(names) > 3 else ""
    logger.warning("skipped %d corrupt images: %s%s", len(names), ", ".join(names[:3]), more)

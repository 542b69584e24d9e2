"""The errors that the data room raises, each naming the item and the remedy."""

from __future__ import annotations

from spikesight.errors import UserError


class DataError(UserError):
    """A data set cannot be used as asked; the message names the item and what to do."""


class CorruptImageError(DataError):
    """One image cannot be decoded; `on_corrupt="skip"` leaves it out and counts it."""


class CorruptRecordingError(CorruptImageError):
    """One recording of an event camera cannot be read; it is skipped as a corrupt image is."""

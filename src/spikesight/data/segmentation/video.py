"""Frames of video files, read and written with PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikesight.data.errors import CorruptImageError, DataError
from spikesight.files.own_pictures import OWN_MARK

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v"})

_FINEST = 65535


def _av(path: Path) -> Any:
    try:
        import av
    except ImportError as error:
        raise DataError(
            f"{path}: reading a video needs PyAV; pip install spikesight[video], or pass its "
            "frames as images"
        ) from error
    return av


def read_frames(path: Path, every: int = 1) -> Iterator[Tensor]:
    """Frames of a video, uint8 [3, H, W], upright as the file says.

    Args:
        path: A video file.
        every: Take every so-manieth frame, from the first.

    Raises:
        CorruptImageError: It cannot be decoded.
        DataError: PyAV is not installed.
    """
    av = _av(path)
    try:
        with av.open(str(path)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number % every == 0:
                    array = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                    yield torch.from_numpy(array.copy()).permute(2, 0, 1).contiguous()
    except (av.error.FFmpegError, IndexError) as error:
        raise CorruptImageError(
            f"{path}: not a readable video ({error}); convert it, or pass its frames as images"
        ) from error


def is_own_video(path: Path) -> bool:
    """Whether a video is marked as written by predict."""
    if not path.stem.endswith("_overlay"):
        return False
    av = _av(path)
    try:
        with av.open(str(path)) as container:
            return OWN_MARK in container.metadata.values()
    except av.error.FFmpegError:
        return False


def frame_rate(path: Path) -> Fraction:
    """Frames per second; 25 where the file does not say it."""
    av = _av(path)
    try:
        with av.open(str(path)) as container:
            rate = container.streams.video[0].average_rate
    except (av.error.FFmpegError, IndexError) as error:
        raise CorruptImageError(
            f"{path}: not a readable video ({error}); convert it, or pass its frames as images"
        ) from error
    return Fraction(rate) if rate else Fraction(25)


class VideoWriter:
    """Writes frames of one size into an MP4 file, within a with block.

    Args:
        path: The file.
        rate: Frames per second.
    """

    def __init__(self, path: Path, rate: Fraction) -> None:
        self._av = _av(path)
        # MPEG-4 counts time in parts of at most 1 / 65535 s.
        self._rate = rate.limit_denominator(min(max(int(_FINEST / rate), 1), _FINEST))
        # MP4 states durations in milliseconds unless told otherwise.
        ticks = self._rate.numerator * -(-1000 // self._rate.numerator)
        options = {"movie_timescale": str(ticks)}
        self._container = self._av.open(str(path), "w", options=options)
        self._container.metadata["comment"] = OWN_MARK
        self._stream: Any = None

    def write(self, frame: Tensor) -> None:
        """Appends a frame, uint8 [3, H, W]; odd sides lose a pixel, which MP4 wants."""
        frame = frame[:, : frame.shape[1] // 2 * 2, : frame.shape[2] // 2 * 2]
        if self._stream is None:
            codec = "libx264" if "libx264" in self._av.codecs_available else "mpeg4"
            self._stream = self._container.add_stream(codec, rate=self._rate)
            self._stream.height, self._stream.width = frame.shape[1:]
            self._stream.pix_fmt = "yuv420p"
        array = frame.permute(1, 2, 0).contiguous().numpy()
        shown = self._av.VideoFrame.from_ndarray(array, format="rgb24")
        self._container.mux(self._stream.encode(shown))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *error: object) -> None:
        if self._stream is not None:
            self._container.mux(self._stream.encode())
        self._container.close()

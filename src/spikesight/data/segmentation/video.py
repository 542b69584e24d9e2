"""Frames of video files, read and written with PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikesight.data.errors import CorruptImageError, DataError
from spikesight.errors import installing
from spikesight.files.limits import VIDEO_FRAME_PIXELS
from spikesight.files.names import show
from spikesight.files.opening import open_regular
from spikesight.files.own_pictures import OWN_MARK

# Others of FFmpeg's many formats read further files or addresses that a file names.
_CONTAINER_OPTIONS = {"format_whitelist": "mov,mp4,avi,matroska,webm,mpeg,mpegts,mpegvideo"}
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v"})

_FINEST = 65535


def _av(path: Path) -> Any:
    try:
        import av
    except ImportError as error:
        raise DataError(
            f"{path}: reading a video needs the package av; {installing('video')}, or pass its "
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
    with _opened(av, path) as stream:
        for number, frame in enumerate(stream.container.decode(stream)):
            if number % every == 0:
                _check_size(frame.width, frame.height, path)
                array = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                yield torch.from_numpy(array.copy()).permute(2, 0, 1).contiguous()


def is_own_video(path: Path) -> bool:
    """Whether a video is marked as written by predict."""
    if not path.stem.endswith("_overlay"):
        return False
    try:
        with _opened(_av(path), path) as stream:
            return OWN_MARK in stream.container.metadata.values()
    except CorruptImageError:  # whoever reads it says what is wrong with it
        return False


def frame_rate(path: Path) -> Fraction:
    """Frames per second; 25 where the file does not say it."""
    with _opened(_av(path), path) as stream:
        rate = stream.average_rate
    return Fraction(rate) if rate else Fraction(25)


@contextmanager
def _opened(av: Any, path: Path) -> Iterator[Any]:
    """The first video stream of a file."""
    # Handed over as an open file: FFmpeg takes some names for addresses or commands.
    with open_regular(path, CorruptImageError) as file:
        try:
            with av.open(file, container_options=_CONTAINER_OPTIONS) as container:
                stream = container.streams.video[0]
                if stream.codec_context is None:
                    raise CorruptImageError(
                        f"{show(path)}: its coding is unknown; convert it, or pass its frames as "
                        "images"
                    )
                _check_size(stream.width, stream.height, path)
                yield stream
        except (av.error.FFmpegError, IndexError, ValueError, MemoryError) as error:
            if isinstance(error, DataError):
                raise
            raise CorruptImageError(
                f"{show(path)}: not a readable video ({error}); convert it, or pass its frames as "
                "images"
            ) from error


def _check_size(width: int, height: int, path: Path) -> None:
    VIDEO_FRAME_PIXELS.check(width * height, show(path), CorruptImageError)


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

"""The command line's view of recordings of event cameras: call, then print."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from spikesight.files.names import show
from spikesight.files.writing import place_for_file, place_for_folder
from spikesight.lazy_names import TYPE_CHECKING
from spikesight.reports.text_table import text_table

if TYPE_CHECKING:
    from spikesight.data.events import Events


def events_command(
    recording: Path,
    gif: Path | None = None,
    frames: int = 16,
    slicing: Literal["count", "time"] = "time",
    size: int | None = None,
    sensor: tuple[int, int] | None = None,
) -> None:
    """Says what an event camera recorded, and draws it.

    Args:
        recording: A file ending in .es, .raw, .dat, .aedat, .aedat4, .bin or .npz.
        gif: Also write frames as this GIF: orange became brighter, blue darker.
        frames: Number of frames.
        slicing: Whether frames have equal durations ("time") or equally many events ("count").
        size: Height and width of the frames; the sensor's if omitted.
        sensor: Width and height where the file does not state them, as --sensor=[346,260].
    """
    from spikesight.data.events import event_frames, read_events, save_gif

    if gif is not None:
        place_for_file(gif, "gif", (".gif",))
    events = read_events(recording, sensor)
    print(text_table((str(recording), ""), _describe(events)))
    if gif is not None:
        counts = event_frames(events, frames, slicing, size=size)
        print(f"{frames} frames in {show(save_gif(counts, gif))}")


def _describe(events: Events) -> list[tuple[str, str]]:
    rows = [
        ("sensor", f"{events.width} x {events.height} pixels"),
        ("events", f"{len(events):,}"),
    ]
    if len(events):
        brighter = int(events.polarity.sum())
        share = brighter / len(events)
        rows += [
            ("brighter", f"{brighter:,} ({share:.1%})"),
            ("darker", f"{len(events) - brighter:,} ({1 - share:.1%})"),
            ("first event", f"{int(events.t[0]):,} us"),
            ("duration", f"{events.duration:,} us"),
        ]
    if events.duration:
        rate = len(events) / events.duration * 1e6
        rows += [
            ("events per second", f"{rate:,.0f}"),
            ("per pixel and second", f"{rate / (events.width * events.height):,.2f}"),
        ]
    return rows


def saccades_command(
    output: Path,
    data: dict[str, Any] | None = None,
    size: int = 34,
    threshold: float = 0.25,
    limit: int | None = None,
) -> None:
    """Turns photos into recordings of an event camera that makes three small saccades before each.

    The folder can be trained on with --data.format=event_folders. Training on photos with
    --data.events.saccades=true needs no such folder; the events are the same.

    Args:
        output: Folder to write: one folder per class, below train/, val/ and test/ if the photos
            are divided.
        data: Which photos, as in a training: --data.format=idx --data.path=…; scikit-learn's
            digits if omitted.
        size: Height and width of the sensor, in pixels.
        threshold: Step of the log brightness that makes an event.
        limit: Most photos of each part.
    """
    from spikesight.data import DataConfig
    from spikesight.data.events.conversion import convert_photos
    from spikesight.training.config import from_mapping

    place_for_folder(output, "output")
    config = from_mapping(DataConfig, data or {})
    recordings, events = convert_photos(config, output, size, threshold, limit)
    print(f"{recordings:,} recordings with {events / max(recordings, 1):,.0f} events on average")
    print(f"in {show(output)}")

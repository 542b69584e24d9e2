"""Event cameras: recordings, frames, pictures, and photos turned into events.

events = read_events("recording.raw")
frames = event_frames(events, frames=8, size=128)  # [T, 2, 128, 128]: negative, positive
logits = model(frames[None].float())  # a model with steps=8, in_channels=2
"""

from spikesight.data.events.frames import event_frames, sum_pool
from spikesight.data.events.pictures import draw_frames, save_gif
from spikesight.data.events.reading import RECORDING_SUFFIXES, read_events
from spikesight.data.events.recording import Events
from spikesight.data.events.saccades import saccade_events
from spikesight.data.events.stored import save_events

__all__ = [
    "RECORDING_SUFFIXES",
    "Events",
    "draw_frames",
    "event_frames",
    "read_events",
    "saccade_events",
    "save_events",
    "save_gif",
    "sum_pool",
]

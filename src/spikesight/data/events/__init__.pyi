from .frames import event_frames, sum_pool
from .pictures import draw_film, draw_frames, save_gif
from .reading import RECORDING_SUFFIXES, read_events
from .recording import Events
from .saccades import saccade_events
from .stored import save_events

__all__ = [
    "RECORDING_SUFFIXES",
    "Events",
    "draw_film",
    "draw_frames",
    "event_frames",
    "read_events",
    "saccade_events",
    "save_events",
    "save_gif",
    "sum_pool",
]

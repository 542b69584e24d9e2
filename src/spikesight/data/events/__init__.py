"""Event cameras: recordings, frames, pictures, and photos turned into events.

events = read_events("recording.raw")
frames = event_frames(events, frames=8, size=128)  # [T, 2, 128, 128]: negative, positive
logits = model(frames[None].float())  # a model with steps=8, in_channels=2
"""

from spikesight.lazy_names import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)

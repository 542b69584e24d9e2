"""Spiking vision transformers: train, compress, prove and deploy."""

from spikesight.data.events import Events, event_frames, read_events, save_gif
from spikesight.deployment.audit_report import audit
from spikesight.deployment.deploying import deploy
from spikesight.deployment.network import Deployed
from spikesight.deployment.network_energy import energy
from spikesight.graph import trace
from spikesight.interop import load_official
from spikesight.models import SpikingModel, Stream, stream
from spikesight.neurons import create_neuron, run_with_state
from spikesight.passes import fold, quantize, unroll, verify
from spikesight.pretrained import load
from spikesight.registry import create_model, list_models, register_model

__version__ = "0.1.0"

__all__ = [
    "Deployed",
    "Events",
    "SpikingModel",
    "Stream",
    "audit",
    "create_model",
    "create_neuron",
    "deploy",
    "energy",
    "event_frames",
    "fold",
    "list_models",
    "load",
    "load_official",
    "quantize",
    "read_events",
    "register_model",
    "run_with_state",
    "save_gif",
    "stream",
    "trace",
    "unroll",
    "verify",
]

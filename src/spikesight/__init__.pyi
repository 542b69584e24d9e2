from . import (
    analysis as analysis,
    attention as attention,
    data as data,
    deployment as deployment,
    errors as errors,
    graph as graph,
    inference as inference,
    interop as interop,
    losses as losses,
    metrics as metrics,
    models as models,
    neurons as neurons,
    passes as passes,
    pretrained as pretrained,
    registry as registry,
    reports as reports,
    synapses as synapses,
    training as training,
)
from .data.events import Events, event_frames, read_events, save_gif
from .deployment.audit_report import audit
from .deployment.deploying import deploy
from .deployment.network import Deployed
from .deployment.network_energy import energy
from .graph import trace
from .interop import load_official
from .models import SpikingModel, Stream, stream
from .neurons import create_neuron, run_with_state
from .passes import fold, quantize, unroll, verify
from .pretrained import load
from .registry import create_model, list_models, register_model

__version__: str
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

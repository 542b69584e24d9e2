"""Spiking vision transformers: train, compress, prove and deploy."""

from spikesight.deployment.audit_report import audit
from spikesight.deployment.deploying import deploy
from spikesight.deployment.network import Deployed
from spikesight.deployment.network_energy import energy
from spikesight.graph import trace
from spikesight.interop import load_official
from spikesight.models import SpikingModel
from spikesight.neurons import create_neuron, run_with_state
from spikesight.passes import fold, quantize, unroll, verify
from spikesight.pretrained import load
from spikesight.registry import create_model, list_models, register_model

__version__ = "0.1.0"

__all__ = [
    "Deployed",
    "SpikingModel",
    "audit",
    "create_model",
    "create_neuron",
    "deploy",
    "energy",
    "fold",
    "list_models",
    "load",
    "load_official",
    "quantize",
    "register_model",
    "run_with_state",
    "trace",
    "unroll",
    "verify",
]

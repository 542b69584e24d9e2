import spikesight.attention as attention
import spikesight.checks as checks
import spikesight.costs as costs
import spikesight.data as data
import spikesight.deployment as deployment
import spikesight.errors as errors
import spikesight.files as files
import spikesight.graph as graph
import spikesight.inference as inference
import spikesight.interop as interop
import spikesight.losses as losses
import spikesight.memory as memory
import spikesight.metrics as metrics
import spikesight.models as models
import spikesight.neurons as neurons
import spikesight.passes as passes
import spikesight.pretrained as pretrained
import spikesight.registry as registry
import spikesight.reports as reports
import spikesight.synapses as synapses
import spikesight.training as training

from .attention import (
    AttentionProduct,
    CurrentProduct,
    Gate,
    NeuronConvNorm,
    SpikeDrivenCrossAttention,
    SpikeDrivenDeformableAttention,
    SpikeDrivenRepConv,
    SpikeDrivenSelfAttention,
    SpikeSum,
    SpikingSelfAttention,
)
from .checks import check
from .costs.audit import audit
from .costs.networks import energy
from .data import register_dataset, register_objects, register_scenes
from .data.events import Events, event_frames, read_events, save_gif
from .deployment.deploying import deploy
from .deployment.network import Deployed
from .graph import trace
from .interop import load_official, register_official
from .memory import low_memory
from .models import (
    Classifier,
    DropPath,
    GlobalPool,
    Presentation,
    Readout,
    SpikeDrivenFeedForward,
    SpikingFeedForward,
    SpikingModel,
    Stream,
    stream,
)
from .neurons import (
    Dynamics,
    Neuron,
    create_neuron,
    list_neurons,
    register_neuron,
    run_with_state,
)
from .passes import fold, fused_kernels, quantize, spike_from, unroll, verify
from .pretrained import load
from .registry import create_model, list_models, register_model
from .synapses import (
    BilinearResize,
    BorderNorm,
    ConvNorm,
    DepthwiseSeparableConvNorm,
    EnergyEfficientSeparableConv,
    LayerScale,
    Linear,
    MembraneRectifier,
    RepConv,
    Synapse,
)
from .training import pipeline, register_task

__version__: str
__all__ = [
    "AttentionProduct",
    "BilinearResize",
    "BorderNorm",
    "Classifier",
    "ConvNorm",
    "CurrentProduct",
    "Deployed",
    "DepthwiseSeparableConvNorm",
    "DropPath",
    "Dynamics",
    "EnergyEfficientSeparableConv",
    "Events",
    "Gate",
    "GlobalPool",
    "LayerScale",
    "Linear",
    "MembraneRectifier",
    "Neuron",
    "NeuronConvNorm",
    "Presentation",
    "Readout",
    "RepConv",
    "SpikeDrivenCrossAttention",
    "SpikeDrivenDeformableAttention",
    "SpikeDrivenFeedForward",
    "SpikeDrivenRepConv",
    "SpikeDrivenSelfAttention",
    "SpikeSum",
    "SpikingFeedForward",
    "SpikingModel",
    "SpikingSelfAttention",
    "Stream",
    "Synapse",
    "audit",
    "check",
    "create_model",
    "create_neuron",
    "deploy",
    "energy",
    "event_frames",
    "fold",
    "fused_kernels",
    "list_models",
    "list_neurons",
    "load",
    "load_official",
    "low_memory",
    "pipeline",
    "quantize",
    "read_events",
    "register_dataset",
    "register_model",
    "register_neuron",
    "register_objects",
    "register_official",
    "register_scenes",
    "register_task",
    "run_with_state",
    "save_gif",
    "spike_from",
    "stream",
    "trace",
    "unroll",
    "verify",
]

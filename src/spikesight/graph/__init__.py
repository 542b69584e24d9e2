"""The graph of neurons and synapses that every pass works on."""

from spikesight.graph.execution import execute, execute_all
from spikesight.graph.tracing import trace
from spikesight.graph.vocabulary import (
    Add,
    Affine,
    AttentionProduct,
    Embedding,
    Graph,
    Input,
    MaskProduct,
    Neuron,
    Node,
    Output,
    Pool,
    Position,
    Rearrange,
    Resize,
    Sample,
    Synapse,
)

__all__ = [
    "Add",
    "Affine",
    "AttentionProduct",
    "Embedding",
    "Graph",
    "Input",
    "MaskProduct",
    "Neuron",
    "Node",
    "Output",
    "Pool",
    "Position",
    "Rearrange",
    "Resize",
    "Sample",
    "Synapse",
    "execute",
    "execute_all",
    "trace",
]

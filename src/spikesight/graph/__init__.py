"""The graph of neurons and synapses that every pass works on."""

from spikesight.graph.execution import execute
from spikesight.graph.tracing import trace
from spikesight.graph.vocabulary import (
    Add,
    Affine,
    AttentionProduct,
    Graph,
    Input,
    MaxPool,
    Neuron,
    Node,
    Output,
    Pool,
    Synapse,
)

__all__ = [
    "Add",
    "Affine",
    "AttentionProduct",
    "Graph",
    "Input",
    "MaxPool",
    "Neuron",
    "Node",
    "Output",
    "Pool",
    "Synapse",
    "execute",
    "trace",
]

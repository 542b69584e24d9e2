"""The graph of neurons and synapses that every pass works on."""

from spikesight.graph.execution import execute as execute, execute_all as execute_all
from spikesight.graph.tracing import trace as trace
from spikesight.graph.vocabulary import (
    Add as Add,
    Affine as Affine,
    AttentionProduct as AttentionProduct,
    CurrentProduct as CurrentProduct,
    Embedding as Embedding,
    Gate as Gate,
    Graph as Graph,
    Input as Input,
    MaskProduct as MaskProduct,
    MaxPool as MaxPool,
    Neuron as Neuron,
    Node as Node,
    Output as Output,
    Pool as Pool,
    Position as Position,
    Rearrange as Rearrange,
    Resize as Resize,
    Sample as Sample,
    SpikeSum as SpikeSum,
    Synapse as Synapse,
)

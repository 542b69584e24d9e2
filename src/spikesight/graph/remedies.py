"""What a model is built from in the place of an operation that the vocabulary cannot say."""

from __future__ import annotations

_PARTS = (
    (("batchnorm", "batch_norm"), "ss.ConvNorm, or ss.Synapse around it and its convolution"),
    (("conv",), "ss.ConvNorm, or ss.Synapse around it"),
    (("linear",), "ss.Linear, or ss.ConvNorm with kernels of 1 on a map"),
    (("interpolate", "upsample"), "ss.BilinearResize"),
    (("avgpool", "avg_pool", "mean"), "ss.GlobalPool, the mean over all pixels"),
    (("maxpool", "max_pool"), "nn.MaxPool2d as a module"),
    (("dropout",), "ss.DropPath"),
    (
        ("softmax", "matmul", "bmm", "einsum", "attention"),
        "ss.AttentionProduct, or a block such as ss.SpikeDrivenSelfAttention",
    ),
    (("elu", "silu", "mish", "sigmoid", "tanh", "relu6"), "a neuron of ss.create_neuron"),
    (("mul",), "ss.Gate between two maps of spikes, ss.LayerScale in a synapse for a factor"),
    (("flatten", "reshape", "view", "permute"), "ss.GlobalPool before ss.Linear"),
    (("add", "sub"), "the sum of two maps, a + b, and for a constant or factor a synapse,"),
    (("norm",), "ss.ConvNorm, whose normalisation folds into its kernel"),
)
_ANY = (
    "neurons (ss.create_neuron), synapses (ss.ConvNorm, ss.Linear, ss.RepConv), attention "
    "products (ss.AttentionProduct, ss.CurrentProduct), gates (ss.Gate), sums (ss.SpikeSum), "
    "additions and pools (ss.GlobalPool)"
)


def remedy(operation: str) -> str:
    """What to use instead, by the public names of spikesight.

    Args:
        operation: Name of a function, method or module.
    """
    words = operation.lower()
    found = (part for signs, part in _PARTS if any(sign in words for sign in signs))
    return f"use {next(found, _ANY)} instead"

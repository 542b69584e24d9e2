import pytest
import torch

import spikesight as ss
from spikesight.deployment.ann_runtime import compile_ann, convert_ann, in_pytorch, twin_forms
from spikesight.errors import UserError
from spikesight.models.outputs import tensors_of

pytest.importorskip("openvino")


def test_a_converted_twin_computes_what_it_does_in_pytorch() -> None:
    torch.manual_seed(0)
    twin = ss.create_model("spike_fpn_nano", num_classes=5, neuron="relu").eval()
    x = torch.randn(1, 3, 64, 64)
    results = compile_ann(convert_ann(twin, x), threads=1)(x)
    (expected,) = tensors_of(in_pytorch(twin)(x))
    (logits,) = (torch.from_numpy(value) for value in results.values())  # type: ignore[attr-defined]
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)


def test_a_spiking_model_is_no_twin() -> None:
    model = ss.create_model("spike_fpn_nano", num_classes=5)
    with pytest.raises(UserError, match="no ANN; pass a run that was trained with"):
        twin_forms(model, torch.randn(1, 3, 64, 64), threads=1)

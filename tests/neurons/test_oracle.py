"""The authors' released neurons, run once with every tie."""

from __future__ import annotations

import pytest
import torch

from spikesight.neurons import LIF, create_neuron

PRESETS = {
    "cls_Multispike": "qsd_classification",
    "cls_Multispike_att": "qsd_classification_attention",
    "seg_MultiSpike_norm4": "qsd_segmentation",
    "det_fpn": "qsd_detection_fpn",
    "det_rpn": "qsd_detection_rpn",
    "det_bbox": "qsd_detection_bbox",
    "det_mask": "qsd_detection_mask",
}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("official", PRESETS)
def test_qsd_neurons(official, mode, read_oracle):
    data = read_oracle("metaspikformer", "neurons")
    neuron = create_neuron(PRESETS[official]).train(mode == "train")
    x = data["x"].clone().requires_grad_()
    y = neuron(x)
    y.sum().backward()
    expected, slope = data[f"{official}.{mode}"]
    assert torch.equal(y, expected)
    if slope.any():  # the detector's eval forward is cut off from autograd
        assert torch.equal(x.grad, slope)


def test_lif_over_four_steps(read_oracle):
    data = read_oracle("metaspikformer", "lif_T4")
    x = data["x"].clone().requires_grad_()
    y = LIF(steps=4)(x.reshape(-1)).reshape(x.shape)
    (y * data["cot"]).sum().backward()
    assert torch.equal(y, data["y"])
    torch.testing.assert_close(x.grad, data["gx"], rtol=1e-9, atol=1e-12)


def test_spike2former_neuron_and_its_membrane(read_oracle):
    data = read_oracle("spike2former", "neurons")
    neuron = create_neuron("spike2former")
    x1, x2 = (data["in"][f"{name}"].clone().requires_grad_() for name in ("x", "x2"))
    first, membrane = neuron.forward_with_state(x1)
    assert torch.equal(first, data["out"]["qif_y"])
    assert torch.equal(membrane, data["out"]["qif_v"])
    fresh = torch.autograd.grad((first * data["in"]["w"]).sum(), x1, retain_graph=True)[0]
    torch.testing.assert_close(fresh, data["grad"]["qif_x"], rtol=1e-9, atol=0)
    second, last = neuron.forward_with_state(x2, membrane)
    assert torch.equal(second, data["out"]["qif_y_call2_noreset"])
    torch.testing.assert_close(last, data["out"]["qif_v_call2"], rtol=1e-9, atol=1e-12)
    grads = torch.autograd.grad((second * data["in"]["w"]).sum(), (x1, x2))
    for grad, name in zip(grads, ("x1", "x2"), strict=True):
        torch.testing.assert_close(grad, data["grad"][f"qif_call2_wrt_{name}"], rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("official", "name"),
    [("MultiSpike_norm4", "ni_lif"), ("MultiSpike_4", "i_lif"), ("Multispike_norm", "ni_lif")],
)
def test_spike2former_four_level_neurons(official, name, read_oracle):
    data = read_oracle("spike2former", "neurons")
    x = data["in"]["x"].clone().requires_grad_()
    y = create_neuron(name, levels=4)(x)
    (y * data["in"]["w"]).sum().backward()
    assert torch.equal(y, data["out"][f"{official}_y"])
    torch.testing.assert_close(x.grad, data["grad"][f"{official}_x"], rtol=1e-9, atol=0)

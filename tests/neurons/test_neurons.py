from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from spikesight.neurons import (
    IELIF,
    ILIF,
    LIF,
    NILIF,
    Arctan,
    Dynamics,
    Neuron,
    Rectangular,
    ReLU,
    Sigmoid,
    binary_spikes,
    charge,
    create_neuron,
    integrate,
    list_neurons,
    reset,
    run_with_state,
    use_kernels,
)


def test_integer_neurons_by_hand():
    x = torch.tensor([-0.5, 0.0, 0.5, 0.6, 1.5, 2.5, 4.0, 5.0], requires_grad=True)
    assert ILIF()(x).tolist() == [0, 0, 0, 1, 2, 2, 4, 4]
    assert IELIF()(x).tolist() == [0, 0, 0, 1, 2, 2, 4, 4]
    y = NILIF()(x)
    assert y.tolist() == [0, 0, 0, 0.25, 0.5, 0.5, 1, 1]
    y.sum().backward()
    assert x.grad.tolist() == [0, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0]


def test_qsd_classification_by_hand():
    x = torch.tensor([0.0, 0.125, 0.375, 0.3, 1.0, 2.0], requires_grad=True)
    y = create_neuron("qsd_classification")(x)
    assert y.tolist() == [0, 0.25, 0.5, 0.25, 1, 1]  # ties up
    y.sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0, 0]  # open mask
    assert create_neuron("qsd_classification_attention")(x).tolist() == [0, 0.5, 1, 0.5, 2, 2]


def test_lif_by_hand():
    x = torch.tensor([[1.0], [2.0], [2.0], [-1.0]])
    assert LIF(steps=4)(x).flatten().tolist() == [0, 1, 1, 0]
    # Soft reset without input decay: U = 1, 1.5, 2.25 -> spikes remove 1 each.
    soft = LIF(steps=3, reset="soft", decay_input=False)
    assert soft(torch.tensor([[1.0], [0.5], [0.25]])).flatten().tolist() == [1, 0, 0]
    assert soft(torch.tensor([[2.0], [0.5], [0.5]])).flatten().tolist() == [1, 1, 0]


def test_surrogates_by_hand():
    x = torch.tensor([-0.5, 0.0, 0.25])
    assert Rectangular(1.0).derivative(x).tolist() == [0, 1, 1]
    assert Rectangular(2.0).derivative(x).tolist() == [0.5, 0.5, 0.5]
    assert Sigmoid(4.0).derivative(torch.zeros(1)).item() == 1.0
    assert Arctan(2.0).derivative(torch.zeros(1)).item() == 1.0
    wide = torch.linspace(-400, 400, 800_001, dtype=torch.float64)
    for surrogate in (Sigmoid(), Rectangular(), Arctan()):
        area = torch.trapezoid(surrogate.derivative(wide), wide).item()
        assert area == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", sorted(set(list_neurons()) - {"relu"}))
@pytest.mark.parametrize("mode", [True, False])
def test_published_dynamics_give_the_module_bit_for_bit(name, mode):
    neuron = create_neuron(name, steps=3).train(mode)
    x = torch.randn(12, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    dynamics = neuron.dynamics
    counts, _ = integrate(x.unflatten(0, (3, -1)), dynamics)
    assert torch.equal(neuron(x), (counts * dynamics.unit).flatten(0, 1))
    membrane, total = torch.zeros(4, 30, dtype=x.dtype), []
    for current in x.unflatten(0, (3, -1)):
        potential = charge(current, membrane, dynamics)
        spikes = binary_spikes(potential, dynamics)
        total.append(sum(spikes))
        membrane = reset(potential, total[-1], dynamics)
    assert torch.equal(torch.stack(total), counts)
    assert counts.any()


def test_learned_tau_is_published_bit_for_bit():
    neuron = LIF(steps=4, tau=3.0, learnable_tau=True)
    assert [name for name, _ in neuron.named_parameters()] == ["decay"]
    assert neuron.dynamics.retain == pytest.approx(2 / 3)
    x = torch.randn(8, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    counts, _ = integrate(x.unflatten(0, (4, -1)), neuron.dynamics)
    assert torch.equal(neuron(x), counts.flatten(0, 1))


def test_attributes_and_relu_twin():
    neuron = create_neuron("ni_lif", steps=2, levels=8)
    assert (neuron.steps, neuron.levels, neuron.unit, neuron.threshold) == (2, 8, 0.125, 1.0)
    assert "levels=8" in repr(neuron)
    twin = create_neuron("relu", steps=2, levels=8)
    assert isinstance(twin, ReLU)
    assert (twin.steps, twin.levels, twin.dynamics) == (2, 0, None)
    assert twin(torch.tensor([-1.0, 2.0])).tolist() == [0, 2]
    assert "steps=2" in repr(twin)
    assert copy.deepcopy(neuron).dynamics == neuron.dynamics


def test_detector_neuron_has_one_level_in_eval():
    neuron = create_neuron("qsd_detection_fpn")
    assert (neuron.train().levels, neuron.eval().levels) == (4, 1)


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="i_lif, ie_lif, lif"):
        create_neuron("izhikevich")
    with pytest.raises(ValueError, match="tau"):
        LIF(tau=0.5)
    with pytest.raises(ValueError, match="surrogate"):
        LIF(surrogate="spline")
    with pytest.raises(ValueError, match="does not take"):
        create_neuron("i_lif", tau=2.0)
    with pytest.raises(ValueError, match="divide by steps=4"):
        LIF(steps=4)(torch.zeros(6, 3))
    with pytest.raises(ValueError, match="divide by steps=4"):
        ReLU(steps=4)(torch.zeros(6, 3))
    with pytest.raises(ValueError, match="membrane"):
        LIF(steps=2)(torch.zeros(4, 3), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="float"):
        ILIF()(torch.zeros(4, 3, dtype=torch.long))
    with pytest.raises(ValueError, match="kernels"):
        use_kernels("fast")


def test_no_state_hides_between_calls():
    neuron = ILIF(steps=2)
    x = torch.full((4, 5), 0.4)
    assert torch.equal(neuron(x), neuron(x))
    assert not neuron.state_dict()


def small_model(steps: int) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 8), LIF(steps), nn.Linear(8, 8), create_neuron("i_lif", steps), ReLU(steps)
    )
    for layer in (model[0], model[2]):
        layer.weight.data *= 3
    return model


def test_stream_in_pieces_equals_one_run():
    x = torch.randn(4, 3, 6, generator=torch.Generator().manual_seed(0)) * 3
    whole = small_model(4)(x.flatten(0, 1)).unflatten(0, (4, 3))
    piece = small_model(2)
    first, state = run_with_state(piece, x[:2].flatten(0, 1))
    second, state = run_with_state(piece, x[2:].flatten(0, 1), state)
    assert torch.equal(torch.cat([first, second]), whole.flatten(0, 1))
    assert whole.any()
    assert set(state) == {"1", "3"}
    assert state["1"].shape == (3, 8)


def test_streams_leave_nothing_behind():
    model = small_model(2)
    x = torch.randn(6, 6) * 3
    rest = model(x)
    _, state = run_with_state(model, x)
    assert torch.equal(model(x), rest)
    with pytest.raises(ValueError, match="does not fit"):
        run_with_state(model, x, {"1": state["1"]})
    with pytest.raises(RuntimeError):
        run_with_state(model, torch.randn(6, 7))
    assert all("forward" not in module.__dict__ for module in model.modules())
    shared = nn.Sequential(model[1], model[1])
    with pytest.raises(ValueError, match="twice"):
        run_with_state(shared, torch.randn(6, 8))


def test_output_may_be_changed_in_place():
    x = torch.randn(6, 4, requires_grad=True)
    for neuron in (LIF(steps=2), ILIF()):
        y = neuron(x)
        y += 1
        y.sum().backward()


def test_autocast_keeps_the_input_dtype():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert LIF(steps=2)(torch.randn(4, 3)).dtype == torch.float32
        assert LIF(steps=2)(torch.randn(4, 3).bfloat16()).dtype == torch.bfloat16


def test_empty_batch():
    assert ILIF(steps=2)(torch.zeros(0, 3, 4, 4)).shape == (0, 3, 4, 4)
    assert ILIF()(torch.zeros(0, 3, 4, 4)).shape == (0, 3, 4, 4)


@pytest.mark.parametrize("name", ["lif", "i_lif", "ni_lif", "qsd_classification"])
@pytest.mark.parametrize("steps", [1, 3])
def test_exported_graph_holds_standard_operators_only(name, steps):
    neuron = create_neuron(name, steps=steps)
    x = torch.randn(6, 3, 4, 4) * 2
    dynamic = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(neuron, (x,), dynamic_shapes=dynamic)
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert all(target.startswith("aten.") or "getitem" in target for target in targets)
    assert not any("to.dtype" in target for target in targets if name != "lif" and steps == 1)
    wider = torch.randn(12, 3, 4, 4) * 2
    assert torch.equal(program.module()(wider), neuron(wider))


@pytest.mark.parametrize("name", ["lif", "i_lif"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_model_compiles_as_one_graph(name, channels_last):
    # aot_eager traces forward and backward as Inductor does, without calling a C++ compiler.
    torch.manual_seed(0)
    neuron = LIF(2, surrogate="arctan") if name == "lif" else create_neuron(name)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), neuron)
    x = torch.randn(4, 3, 5, 5) * 3
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    results = []
    for function in (compiled, model):
        model.zero_grad()
        y = function(x)
        (y * y.detach() + y).sum().backward()
        results.append((y, model[0].weight.grad.clone()))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])
    assert results[1][1].any()


def test_learned_tau_compiles_with_state():
    neuron = LIF(2, learnable_tau=True)
    x, start = torch.randn(4, 9) * 2, torch.randn(2, 9, requires_grad=True)
    results = []
    for function in (
        torch.compile(neuron.forward_with_state, fullgraph=True, backend="aot_eager"),
        neuron.forward_with_state,
    ):
        neuron.zero_grad()
        start.grad = None
        spikes, membrane = function(x, start)
        (spikes.sum() + (membrane * membrane).sum()).backward()
        results.append((spikes, membrane, neuron.decay.grad.clone(), start.grad.clone()))
    for compiled, eager in zip(*results, strict=True):
        torch.testing.assert_close(compiled, eager)


def test_custom_operator_is_declared_correctly():
    from spikesight.neurons import firing

    for neuron in (LIF(2), ILIF(1)):
        x = (torch.randn(4, 3, 2, 2) * 2).requires_grad_()
        torch.library.opcheck(
            firing._fire_operator, (x, None, None, neuron.rule.code, neuron.steps == 2)
        )


def test_base_class_runs_any_rule():
    assert isinstance(create_neuron("lif"), Neuron)
    assert create_neuron("lif").dynamics == Dynamics(
        offset=1.0, decay_input=True, reset="hard", ties="up"
    )

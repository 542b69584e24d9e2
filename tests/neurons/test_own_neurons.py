"""Neurons of a user: other constants pass everywhere, other equations train and are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.errors import UserError
from spikesight.graph.tracing import UntraceableError
from spikesight.losses.firing_rate import recorded_firing_rates
from spikesight.models import families, metaspikformer, spike2former, spike_fpn, spikformer
from spikesight.neurons import ILIF, LIF, Dynamics, Neuron, create_neuron, list_neurons
from spikesight.neurons.presets import neuron_argument_names
from spikesight.passes.integerisation import NotDeployableError


class CalmILIF(ILIF):
    def __init__(self, steps: int = 1, levels: int = 4, threshold: float = 0.5) -> None:
        super().__init__(steps, levels, threshold=threshold, retain=0.75)


class Eager(Neuron):
    """Other constants on the base class itself: a binary neuron with a soft reset."""

    def __init__(self, steps: int = 1) -> None:
        super().__init__(Dynamics(steps=steps, offset=1.0, ties="up", threshold=0.75, retain=0.75))


class _Heaviside(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, potential: Tensor) -> Tensor:
        ctx.save_for_backward(potential)
        return (potential >= 0).to(potential.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (potential,) = ctx.saved_tensors
        return grad * (potential.abs() < 0.5).to(grad.dtype)


class Adaptive(Neuron):
    """The threshold rises with every spike, which `Dynamics` cannot say."""

    def __init__(self, steps: int = 1, rise: float = 0.5) -> None:
        super().__init__(Dynamics(steps=steps))
        self.rise = rise
        self.leak = nn.Parameter(torch.tensor(0.5))

    def forward(self, current: Tensor) -> Tensor:
        membrane, barrier, spikes = 0.0, 1.0, []
        for current_t in current.unflatten(0, (self.steps, -1)):
            potential = self.leak * membrane + current_t
            spikes.append(_Heaviside.apply(potential - barrier))
            membrane, barrier = potential * (1 - spikes[-1]), barrier + self.rise * spikes[-1]
        return torch.cat(spikes)


@ss.register_neuron(name="hasty_lif")
def build_hasty(steps: int = 1, tau: float = 4.0) -> Neuron:
    return LIF(steps, tau=tau, threshold=0.5)


def _model(neuron: Any, name: str = "metaspikformer_nano", **arguments: Any) -> Any:
    torch.manual_seed(0)
    return ss.create_model(name, num_classes=5, steps=2, neuron=neuron, **arguments)


def _images(count: int = 3) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_names() -> None:
    assert {"calm_i_lif", "eager", "adaptive", "hasty_lif"} <= set(list_neurons())
    assert {"i_lif", "lif", "ni_lif", "ie_lif", "relu"} <= set(list_neurons())

    class ILIF(LIF):
        pass

    assert type(create_neuron("i_lif")).__module__ == "spikesight.neurons.i_lif"
    with pytest.raises(UserError, match="'i_lif' is a neuron of spikesight"):
        ss.register_neuron(ILIF)
    with pytest.raises(UserError, match="'<lambda>' is no name"):
        ss.register_neuron(lambda: LIF())
    with pytest.raises(UserError, match="class or function"):
        ss.register_neuron(nn.ReLU())  # type: ignore[call-overload]
    with pytest.raises(UserError, match="did you mean 'calm_i_lif'"):
        create_neuron("calm_ilif")


def test_the_last_definition_of_a_name_counts() -> None:
    @ss.register_neuron
    def fickle(steps: int = 1) -> Neuron:
        return LIF(steps)

    assert create_neuron("fickle").threshold == 1.0

    @ss.register_neuron("fickle")
    def another(steps: int = 1) -> Neuron:
        return LIF(steps, threshold=0.5)

    assert create_neuron("fickle").threshold == 0.5


@pytest.mark.parametrize(
    ("neuron", "arguments"),
    [
        ("calm_i_lif", {}),
        (CalmILIF, {}),
        (lambda **options: CalmILIF(**options), {}),
        (lambda: CalmILIF(), {}),
        (CalmILIF(), {}),
        ("i_lif", {"neuron_arguments": {"threshold": 0.5, "retain": 0.75}}),
        ("i_lif", {"threshold": 0.5, "retain": 0.75}),
        (None, {"neuron_arguments": {"threshold": 0.5, "retain": 0.75}}),
    ],
)
def test_all_ways_to_say_a_neuron_build_the_same_model(neuron: Any, arguments: Any) -> None:
    model = _model(neuron, **arguments).eval()
    places = [module for module in model.modules() if isinstance(module, Neuron)]
    assert len({id(place) for place in places}) == len(places) > 20
    assert {place.dynamics for place in places} == {CalmILIF(steps=2).dynamics}
    assert torch.equal(model(_images()), _model("calm_i_lif").eval()(_images()))


def test_timm_takes_neurons_too() -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model("metaspikformer_nano", num_classes=5, steps=2, neuron=CalmILIF)
    assert isinstance(model.head_neuron, CalmILIF)


def test_levels_that_must_be_passed_are_four_unless_said() -> None:
    neuron = create_neuron(lambda steps, levels: CalmILIF(steps, levels), steps=2)
    assert (neuron.steps, neuron.levels) == (2, 4)


def test_a_name_in_capitals_is_known_without_underscores_too() -> None:
    class PLIF(CalmILIF):
        pass

    assert type(create_neuron("plif")) is type(create_neuron("p_lif")) is PLIF


def test_levels_are_passed_as_far_as_they_are_taken() -> None:
    assert _model(CalmILIF, levels=6).head_neuron.levels == 6
    with pytest.warns(UserWarning, match="binary"):
        assert _model(Eager, levels=6).head_neuron.levels == 1
    assert _model(CalmILIF(1, 3)).head_neuron.levels == 3
    assert _model(CalmILIF(1, 3)).head_neuron.steps == 2


@pytest.mark.parametrize(
    ("neuron", "arguments", "said"),
    [
        ("i_lif", {"treshold": 1.0}, "did you mean 'threshold'"),
        ("i_lif", {"threshold": "high"}, "threshold is 'high'"),
        ("i_lif", {"threshold": -1.0}, "threshold must be positive"),
        ("i_lif", {"tau": 2.0}, "does not take 'tau'"),
        ("lif", {"reset": "none"}, "reset"),
        ("i_lif", {"levels": 3}, "pass levels to the model"),
        ("lif", {"name": 3}, "does not take 'name'"),
        ("relu", {"threshold": 1.0}, "does not take 'threshold'"),
        (CalmILIF(), {"threshold": 1.0}, "is built"),
        (nn.ReLU, {}, "subclass of spikesight.Neuron"),
        (nn.ReLU(), {}, "unknown neuron"),
        (3, {}, "unknown neuron 3"),
        ("i_lif", {"threshold": 1e6}, None),
    ],
)
def test_mistakes_are_named(neuron: Any, arguments: Any, said: str | None) -> None:
    if said is None:
        with pytest.raises(UserError, match="never fires"):
            _model(neuron, "spike_fpn_nano", neuron_arguments=arguments)
        return
    with pytest.raises(UserError, match=said):
        _model(neuron, neuron_arguments=arguments)


def test_an_own_builder_that_lacks_the_argument_is_told_of_neuron_arguments() -> None:
    @ss.register_model
    def plain_net(
        num_classes: int,
        in_channels: int,
        steps: int,
        levels: Any,
        neuron: Any,
        drop_path_rate: Any,
    ) -> nn.Module:
        return ss.create_model("metaspikformer_nano", num_classes=num_classes, neuron=neuron)

    with pytest.raises(UserError, match=r"neuron_arguments=\{'threshold': 0.5\}"):
        ss.create_model("plain_net", num_classes=5, threshold=0.5)
    model = ss.create_model("plain_net", num_classes=5, neuron_arguments={"threshold": 0.5})
    assert model.head_neuron.threshold == 0.5


def test_no_size_of_a_family_is_called_as_an_argument_of_a_neuron() -> None:
    assert families
    for family in (metaspikformer, spikformer, spike_fpn, spike2former.sizes):
        assert not neuron_argument_names(None) & set(vars(family.Sizes)["__annotations__"])


@pytest.mark.parametrize("neuron", ["calm_i_lif", "eager", "hasty_lif"])
def test_own_constants_go_through_every_pass(neuron: str, tmp_path: Path) -> None:
    model = _model(neuron).eval()
    x = _images()
    assert ss.verify(model, x).equal
    assert ss.energy(model, x).table()
    network = ss.deploy(model, x)
    assert network.verify(x, against=("spikes", "onnx")).equal
    assert ss.audit(network, x).table()
    model.save_pretrained(tmp_path)
    assert torch.equal(ss.load(tmp_path)(x), model(x))
    quantized = ss.quantize(model, bits=4).eval()
    quantized.save_pretrained(tmp_path / "quantized")
    assert torch.equal(ss.load(tmp_path / "quantized")(x), quantized(x))


@pytest.mark.parametrize("name", ["spikformer_nano", "spike_fpn_nano", "spike2former_nano"])
def test_every_family_takes_own_neurons(name: str, tmp_path: Path) -> None:
    model = _model(CalmILIF, name, neuron_arguments={"threshold": 0.75}).eval()
    assert {m.threshold for m in model.modules() if isinstance(m, CalmILIF)} == {0.75}
    model.save_pretrained(tmp_path)
    for expected, loaded in zip(
        model.state_dict().values(), ss.load(tmp_path).state_dict().values(), strict=True
    ):
        assert torch.equal(expected, loaded)


def test_learned_tau_trains_and_its_value_is_proved() -> None:
    model = _model("lif", neuron_arguments={"learnable_tau": True}).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=5.0)
    before = model.head_neuron.dynamics.retain
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(_images()), torch.tensor([0, 1, 2])).backward()
        optimizer.step()
    model.eval().double()
    assert model.head_neuron.dynamics.retain != before
    assert ss.verify(model, _images().double()).equal
    with pytest.raises(NotDeployableError, match=r"trunk.1.0.neuron retains 0.*deployable are"):
        ss.deploy(model, _images())


def test_own_equations_train_are_measured_and_saved(tmp_path: Path) -> None:
    model = _model(Adaptive, neuron_arguments={"rise": 0.25}).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with recorded_firing_rates(model) as rates:
        loss = nn.functional.cross_entropy(model(_images()), torch.tensor([0, 1, 2]))
        seen = rates.take()
    assert len(seen) == len(rates.names) > 20
    assert ((seen >= 0) & (seen <= 1)).all()
    assert seen.any()
    loss.backward()
    leak = model.trunk[1][0].neuron.leak
    assert leak.grad is not None
    optimizer.step()
    model.eval()
    model.save_pretrained(tmp_path)
    loaded = ss.load(tmp_path)
    assert loaded.head_neuron.rise == 0.25
    assert torch.equal(loaded(_images()), model(_images()))
    ss.quantize(model, bits=4, recipe="official")(_images())


@pytest.mark.parametrize("act", [ss.trace, ss.verify, ss.energy, ss.deploy])
def test_passes_refuse_own_equations_by_name(act: Any) -> None:
    model = _model(Adaptive).eval()
    with pytest.raises(UntraceableError, match=r"trunk.1.0.neuron is a Adaptive.*Dynamics") as said:
        act(model, _images())
    assert isinstance(said.value, UserError)
    with pytest.raises(UntraceableError, match="Adaptive"):
        ss.quantize(model, bits=4)


def test_a_house_neuron_with_another_forward_is_not_taken_for_one() -> None:
    class Noisy(ILIF):
        def forward(self, current: Tensor, membrane: Tensor | None = None) -> Tensor:
            return super().forward(current + 0.25, membrane)

    assert Noisy().dynamics is None
    with pytest.raises(UntraceableError, match="Noisy"):
        ss.trace(_model(Noisy), _images())
    with pytest.raises(UserError, match=r"Noisy keeps no membrane.*forward_with_state"):
        ss.run_with_state(_model(Noisy), _images())


def test_own_equations_stream_with_a_state_of_their_own() -> None:
    class Leaky(Neuron):
        def __init__(self, steps: int = 1) -> None:
            super().__init__(Dynamics(steps=steps))

        def forward(self, current: Tensor) -> Tensor:
            return self.forward_with_state(current)[0]

        def forward_with_state(
            self, current: Tensor, membrane: Tensor | None = None
        ) -> tuple[Tensor, Tensor]:
            state = torch.zeros_like(current[: len(current) // self.steps])
            state, spikes = state if membrane is None else membrane, []
            for current_t in current.unflatten(0, (self.steps, -1)):
                state = state.abs() / 2 + current_t
                spikes.append((state > 1).to(state.dtype))
            return torch.cat(spikes), state

    model = _model(Leaky).eval()
    frames = torch.rand(2, 4, 3, 32, 32)
    stream = ss.stream(model)
    pieces = [stream(frames[:, :1]), stream(frames[:, 1:])]
    assert len(pieces) == 2
    whole = ss.create_model("metaspikformer_nano", num_classes=5, steps=4, neuron=Leaky).eval()
    whole.load_state_dict(model.state_dict())
    assert torch.allclose(stream.average, whole(frames), atol=1e-6)


def test_only_registered_neurons_are_saved(tmp_path: Path) -> None:
    for neuron in (lambda **options: LIF(options["steps"]), ILIF(threshold=0.5)):
        with pytest.raises(UserError, match="register_neuron"):
            _model(neuron).save_pretrained(tmp_path / "m")
    assert not (tmp_path / "m").exists()
    _model(build_hasty).save_pretrained(tmp_path / "m")
    assert ss.load(tmp_path / "m").recipe["arguments"]["neuron"] == "hasty_lif"
    _model(CalmILIF()).save_pretrained(tmp_path / "m")
    assert ss.load(tmp_path / "m").recipe["arguments"]["neuron"] == "calm_i_lif"


def test_keywords_that_a_class_hands_on_are_those_of_its_base() -> None:
    class LearnedLIF(LIF):
        def __init__(self, steps: int = 1, tau: float = 2.0, **options: Any) -> None:
            super().__init__(steps, tau=tau, learnable_tau=True, **options)

    assert create_neuron(LearnedLIF, 2, 4, threshold=0.5).threshold == 0.5
    with pytest.raises(UserError, match="did you mean 'threshold'"):
        create_neuron(LearnedLIF, treshold=0.5)


def test_a_neuron_that_does_not_say_what_it_emits_is_refused() -> None:
    class Bare(ss.Neuron):
        def __init__(self, steps: int = 1) -> None:
            torch.nn.Module.__init__(self)

    class InOrder(ss.Neuron):
        def __init__(self, steps: int = 1, levels: int = 4) -> None:
            super().__init__(steps, levels)  # type: ignore[arg-type]

    for kind in (Bare, InOrder):
        with pytest.raises(UserError, match=r"super\(\).__init__\(Dynamics\(steps, levels\)\)"):
            ss.create_neuron(kind)

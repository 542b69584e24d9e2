"""Making a network's integers: what has none, and that no range is proved twice."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import spikesight as ss
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes import integerisation, ranges, weight_rounding
from spikesight.passes.integerisation import NotDeployableError


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_have_no_integers(value: float) -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=5).eval()
    with torch.no_grad():
        next(model.parameters()).flatten()[0] = value
    with pytest.raises(NotDeployableError, match=r"trunk\.0\.0.* not finite"):
        ss.deploy(model, torch.rand(1, 3, 16, 16))


def test_a_synapse_is_proved_once_whatever_grids_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    proved: list[Tensor] = []
    tried: list[int] = []

    def counted(node: integer.Synapse, source: integer.Interval) -> integer.Interval:
        proved.append(node.weight)
        return original(node, source)

    class Counted(integerisation._Integeriser):
        def run(self) -> integer.Graph:
            tried.append(self.stream_bits)
            return super().run()

    original = ranges.accumulator
    for module in (ranges, weight_rounding):
        monkeypatch.setattr(module, "accumulator", counted)
    monkeypatch.setattr(integerisation, "_Integeriser", Counted)
    model = ss.create_model("metaspikformer_nano", num_classes=5).eval()
    net = ss.deploy(model, torch.rand(1, 3, 32, 32), max_size=(2048, 2048))
    assert tried[:2] == [10, 9]
    assert len({id(weight) for weight in proved}) == len(proved)
    kept = {id(node.weight) for node in net.graph.nodes if isinstance(node, integer.Synapse)}
    assert kept <= {id(weight) for weight in proved}
    before = len(proved)
    net(torch.rand(1, 3, 32, 32))
    net.to("cpu").verify(torch.rand(1, 3, 32, 32))
    assert len(proved) == before


def test_what_a_graph_has_proved_is_what_the_pass_proves_of_its_equal() -> None:
    model = ss.create_model("spikformer_nano", num_classes=5).eval()
    graph = ss.deploy(model, torch.rand(1, 3, 32, 32)).graph
    again = ranges.prove_ranges(integer.Graph(graph.nodes, graph.max_size))
    assert again.keys() == graph.proved.keys()
    for name, reach in ranges.prove_ranges(graph).items():
        assert reach.shape == again[name].shape
        assert reach.interval.magnitude == again[name].interval.magnitude
        assert torch.equal(reach.interval.low, again[name].interval.low)
        assert torch.equal(reach.interval.high, again[name].interval.high)

import pytest
import torch
from torch import nn

from spikesight.losses import (
    FiringRateConfig,
    FiringRates,
    build_classification_loss,
    cost_weighted_penalty,
    firing_rate_penalty,
    nonzero_share,
    recorded_firing_rates,
    spiking_neurons,
    weighted_rate,
)
from spikesight.neurons import create_neuron


def network(levels: int = 4) -> nn.Sequential:
    return nn.Sequential(
        create_neuron("i_lif", steps=1, levels=levels),
        nn.Linear(3, 3),
        create_neuron("ni_lif", steps=1, levels=levels),
        create_neuron("relu", steps=1, levels=levels),
    )


def test_rate_is_the_share_of_possible_spikes() -> None:
    model = network()
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.tensor([0.0, 2.0, 9.0]))
    currents = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 7.0]])
    assert list(spiking_neurons(model)) == ["0", "2"]
    with recorded_firing_rates(model) as rates:
        output = model(currents)
        recorded = rates.take()
        assert rates.take().numel() == 0
    ni_lif = model[2]
    expected = output.detach().mean() / (ni_lif.unit * ni_lif.levels)
    assert recorded.tolist() == pytest.approx([14 / 24, float(expected)])
    assert float(expected) == pytest.approx((0 + 2 + 4) / 12)
    model(currents)
    assert rates.take().numel() == 0, "the hooks are gone"


def test_penalty_lowers_firing() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 20), create_neuron("i_lif", steps=1, levels=4))
    currents = torch.randn(64, 6) * 3
    rates = FiringRates(model, only_in_training=True)
    config = FiringRateConfig(weight=1.0, target=0.05)
    optimizer = torch.optim.SGD(model.parameters(), lr=2.0)
    history = []
    for _ in range(60):
        model(currents)
        measured = rates.take()
        history.append(float(measured.detach()))
        optimizer.zero_grad()
        firing_rate_penalty(measured, config).backward()
        optimizer.step()
    assert history[0] > 0.15
    assert 0.03 < history[-1] < 0.5 * history[0]
    model.eval()
    model(currents)
    assert rates.take().numel() == 0, "evaluation is not watched"


def test_nothing_to_pay_below_the_target() -> None:
    rates = torch.tensor([0.1, 0.3], requires_grad=True)
    penalty = firing_rate_penalty(rates, FiringRateConfig(weight=2.0, target=0.2))
    assert float(penalty.detach()) == pytest.approx(2 * 0.1**2 / 2)
    penalty.backward()
    assert rates.grad is not None
    assert rates.grad[0] == 0
    assert rates.grad[1] == pytest.approx(2 * 2 * 0.1 / 2)
    twin = firing_rate_penalty(torch.zeros(0), FiringRateConfig(weight=2.0))
    assert float(twin) == 0


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match=r"firing_rate\.weight is -1"):
        FiringRateConfig(weight=-1)


def test_losses_agree_where_they_overlap() -> None:
    logits, labels = torch.randn(8, 5), torch.arange(8) % 5
    smoothing = 0.2
    soft = nn.functional.one_hot(labels, 5) * (1 - smoothing) + smoothing / 5
    hard = build_classification_loss(smoothing, soft_targets=False)(logits, labels)
    torch.testing.assert_close(build_classification_loss(0, True)(logits, soft), hard)
    plain = build_classification_loss(0, soft_targets=False)(logits, labels)
    torch.testing.assert_close(plain, nn.functional.cross_entropy(logits, labels))
    assert not torch.isclose(plain, hard)


def test_nonzero_share_pushes_counts_down_that_could_be_zero() -> None:
    neuron = create_neuron("i_lif", levels=8)  # the cap of the gradient is at a count of 2
    currents = torch.tensor([-3.0, 0.2, 1.0, 1.6, 2.4, 5.0, 9.0, 0.0], requires_grad=True)
    share = nonzero_share(neuron, neuron(currents))
    assert float(share.detach()) == 5 / 8
    share.backward()
    assert currents.grad is not None
    # Counts 0 0 1 2 2 5 8 0; a slope of 1 / cap / 8, where the surrogate's slope is 1.
    assert (currents.grad * 16).tolist() == [0, 1, 1, 1, 1, 0, 0, 1]


@pytest.mark.parametrize("name", ["lif", "i_lif", "ni_lif", "ie_lif"])
def test_nonzero_share_over_time_in_any_unit(name: str) -> None:
    neuron = create_neuron(name, steps=4, levels=None if name == "lif" else 4)
    currents = (torch.rand(4 * 3, 5) * 3).requires_grad_()
    output = neuron(currents)
    share = nonzero_share(neuron, output)
    assert float(share.detach()) == pytest.approx(float(output.ne(0).float().mean()))
    assert 0 < float(share.detach()) < 1
    (gradient,) = torch.autograd.grad(share, currents)
    assert float(gradient[:3].sum()) > 0, "the first time step pays for what follows of it"


def test_every_operation_has_one_price_above_the_target() -> None:
    rates = torch.tensor([0.5, 0.1, 0.9], requires_grad=True)
    costs = torch.tensor([6.0, 2.0, 0.0])
    assert float(weighted_rate(rates.detach(), costs)) == pytest.approx((3.0 + 0.2) / 8)
    penalty = cost_weighted_penalty(rates, costs, FiringRateConfig(weight=2.0, target=0.3))
    assert float(penalty.detach()) == pytest.approx(2 * 0.1)
    penalty.backward()
    assert rates.grad is not None
    assert rates.grad.tolist() == pytest.approx([2 * 0.75, 2 * 0.25, 0.0])
    free = cost_weighted_penalty(rates, costs, FiringRateConfig(weight=2.0, target=0.41))
    assert float(free.detach()) == 0
    assert float(weighted_rate(torch.zeros(0), torch.zeros(0))) == 0

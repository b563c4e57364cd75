"""What the weights of a model say, against numpy, torch and scipy's tests."""

import numpy as np
import pytest
import torch
from torch import nn

from landscape import he, predict, trace
from lattice import AssumptionError


def test_the_scale_of_a_factory_is_known_as_well_as_it_says():
    """V[w] = 1 / (3 fan_in) is known: maps from drawn weights miss it by as many standard errors as normal variables."""
    errors = []
    for channels in range(1, 13):

        def factory(channels=channels):
            return nn.Sequential(nn.Conv1d(2, channels, 3), nn.Flatten(), nn.Linear(4 * channels, 3))

        drawn, known = predict(factory, (2, 6)), predict(factory, (2, 6), initialisation="torch_default")
        assert (drawn.guarantee.name, known.scale_error) == ("EXACT", 0)
        assert f"scale known to {drawn.scale_error:.1%}" in repr(drawn)
        assert "scale known" not in repr(known)
        errors.append(np.log(drawn.squared.sum() / known.squared.sum()) / drawn.scale_error)
    # chi squared with 12 degrees of freedom lies between these but once in 10,000
    assert 1.5 < np.sum(np.square(errors)) < 42


def test_after_vector_to_parameters_nothing_is_tied():
    model = nn.Sequential(nn.Conv1d(1, 8, 5), nn.Conv1d(8, 8, 5))
    vector = nn.utils.parameters_to_vector(model.parameters())
    nn.utils.vector_to_parameters(vector, model.parameters())
    assert model[0].weight.untyped_storage().data_ptr() == model[1].weight.untyped_storage().data_ptr()
    assert len(trace(model, (1, 9)).variances) == 2


def test_parts_of_one_weight_are_tied_where_they_overlap_and_nowhere_else():
    def layers(first, second):
        whole = torch.randn(16, 8, 5)
        model = nn.Sequential(nn.Conv1d(8, 8, 5, padding=2), nn.Conv1d(8, 8, 5))
        model[0].weight, model[1].weight = nn.Parameter(whole[first]), nn.Parameter(whole[second])
        return model

    for first, second in ((slice(0, 8), slice(8, 16)), (slice(0, 16, 2), slice(1, 16, 2))):
        assert len(trace(layers(first, second), (8, 9)).variances) == 2
    for first, second in ((slice(0, 8), slice(4, 12)), (slice(0, 16, 2), slice(0, 8)), (slice(0, 8), slice(0, 8))):
        with pytest.raises(AssumptionError, match="0, 1: tied weights"):
            trace(layers(first, second), (8, 9), initialisation=he)


def test_a_norm_that_is_drawn_is_averaged_over_draws_and_it_is_said():
    def model():
        norm = nn.BatchNorm1d(16)
        nn.init.normal_(norm.weight)
        return nn.Sequential(nn.Conv1d(1, 16, 3), norm, nn.Conv1d(16, 16, 3))

    land = predict(model, (1, 9))
    assert np.mean(land.traced.factors["1"]) == pytest.approx(1, rel=0.15)  # 1,600 squares of normal numbers: 3.5 %
    assert land.guarantee.name == "APPROXIMATE"
    assert "(1)" in land.reasons[0]
    assert "changes from draw to draw" in land.reasons[0]


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_any_precision_have_their_second_moment(kind):
    model = nn.Conv1d(2, 64, 3, bias=False)
    nn.init.normal_(model.weight, generator=torch.Generator().manual_seed(0))
    model = model.to(kind)
    truth = model.weight.detach().double().square().mean().item()
    assert trace(model, (2, 9)).variances["conv1d"] == pytest.approx(truth, rel=1e-6)


@pytest.mark.parametrize(("value", "shifted"), [(0.0, False), (0.4, True), (-0.4, True)])
def test_a_bias_that_is_not_zero_on_average_shifts_its_layer(value, shifted):
    model = nn.Sequential(nn.Conv1d(1, 8, 3), nn.Flatten(), nn.Linear(56, 4))
    torch.manual_seed(0)
    nn.init.normal_(model[0].bias)
    nn.init.constant_(model[2].bias, value)
    assert trace(model, (1, 9)).shifted == (frozenset({"2"}) if shifted else frozenset())
    assert trace(model, (1, 9), initialisation="he").shifted == trace(model, (1, 9)).shifted


def test_a_batch_norm_multiplies_by_gamma_squared_over_its_variance():
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(5, eps=0.3), nn.BatchNorm1d(5, affine=False, eps=0.1))
    for layer in model:
        layer.running_var = torch.rand(5) + 0.5
    model[0].weight.data = torch.randn(5)
    found = trace(model, (5, 4))
    gamma, variance = model[0].weight.detach().numpy(), model[0].running_var.numpy()
    np.testing.assert_allclose(found.factors["0"], gamma**2 / (variance + 0.3), rtol=1e-6)
    np.testing.assert_allclose(found.factors["1"], 1 / (model[1].running_var.numpy() + 0.1), rtol=1e-6)
    assert found.shifted == frozenset()
    trained = trace(model, (5, 4), train=True).factors
    np.testing.assert_allclose(trained["0"], gamma**2, rtol=1e-6)
    assert trained["1"] == 1


def test_a_batch_norm_shifts_by_beta_minus_gamma_mean_over_sigma():
    model = nn.BatchNorm1d(3, eps=0.0)
    model.running_var.fill_(4.0)
    model.weight.data.fill_(6.0)
    for mean, beta, shifted, in_training in ((0, 0, 0, 0), (1, 0, 1, 0), (0, 1, 1, 1), (1, 3, 0, 1), (-1, 3, 1, 1)):
        model.running_mean.fill_(mean)
        model.bias.data.fill_(beta)
        model.eps = 0.0
        assert len(trace(model, (3, 4)).shifted) == shifted
        model.eps = 1e-5  # torch takes no zero in training mode
        assert len(trace(model, (3, 4), train=True).shifted) == in_training
    model.bias.data = torch.tensor([0.0, 0.0, 1.0])
    model.running_mean.fill_(0)
    assert len(trace(model, (3, 4)).shifted) == 1


def test_one_factor_for_all_channels_is_one_number():
    model = nn.GroupNorm(1, 4)
    nn.init.constant_(model.weight, 3.0)
    assert list(trace(model, (4, 5)).factors.values()) == [9.0]
    model.weight.data[1] = 2.0
    (factor,) = trace(model, (4, 5)).factors.values()
    assert factor.tolist() == [9, 4, 9, 9]


def test_a_norm_with_broken_numbers_is_refused():
    for name in ("weight", "bias", "running_mean", "running_var"):
        model = nn.Sequential(nn.BatchNorm1d(3))
        getattr(model[0], name).data[1] = float("nan") if name != "bias" else float("inf")
        with pytest.raises(AssumptionError, match=f"0: its {name} has NaN or infinite"):
            trace(model, (3, 4))


def test_every_problem_is_listed():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv1d(1, 1, 3, padding=1), nn.Conv1d(1, 1, 3)
            self.two.weight.data[0, 0, 0] = float("inf")

        def forward(self, x):
            return self.two(self.one(self.one(self.one(x))))

    with pytest.raises(
        AssumptionError, match=r"(?s)one, one_2, one_3: tied weights \(one tensor used 3 times.*two: its weight"
    ):
        trace(Twice(), (1, 9))


def test_layers_without_memory_are_tied_by_their_names():
    with torch.device("meta"):
        one, two = nn.Conv1d(1, 1, 3, padding=1), nn.Conv1d(1, 1, 3, padding=1)
    assert len(trace(nn.Sequential(one, two), (1, 9), initialisation=he).variances) == 2
    with pytest.raises(AssumptionError, match="tied weights"):
        trace(nn.Sequential(one, nn.Tanh(), one), (1, 9), initialisation=he)


def test_skewed_layers_are_named_where_they_are_taken_as_they_are():
    model = nn.Sequential(nn.Conv1d(1, 40, 3), nn.Conv1d(40, 40, 3), nn.Conv1d(40, 40, 3))
    torch.manual_seed(0)
    for layer in model:
        nn.init.normal_(layer.weight)
    model[1].weight.data.add_(0.5)
    model[2].weight.data[..., 1].mul_(3)
    found = trace(model, (1, 9), initialisation="weights")
    assert found.skewed == ("1", "2")
    for name in "012":
        assert found.variances[name] == pytest.approx(model[int(name)].weight.detach().square().mean().item(), rel=1e-5)
    assert trace(model, (1, 9), initialisation=he).skewed == ()


def test_biases_are_those_of_all_draws_where_the_variances_are_given():
    def factory():
        return nn.Sequential(nn.Conv1d(1, 1, 1), nn.Flatten(), nn.Linear(6, 1))

    drawn, known = trace(factory, (1, 6)), trace(factory, (1, 6), initialisation="torch_default")
    assert known.shifts == drawn.shifts
    assert known.shifts[known.lattice.names[1]].variance == pytest.approx(1 / 3, rel=0.3)  # uniform from -1 to 1

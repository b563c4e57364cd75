"""What an estimate says follows from its blocks; errors and influences are derivatives, here taken numerically."""

from dataclasses import replace

import numpy as np
import pytest

from lattice import SpecificationError
from lattice.results.files import read_arrays, write_arrays
from validation import Estimate


def blocks(number=5, shape=(2, 3), seed=0):
    rng = np.random.default_rng(seed)
    return rng.gamma(2, size=(number, *shape)), rng.integers(1, 5, number)


def estimate(**facts):
    means, counts = blocks()
    return Estimate.of_blocks(
        means * counts[:, None, None],
        counts,
        **{"seed": 4, "batched": True, "energies": np.linspace(1, 2, int(counts.sum())), **facts},
    )


def test_the_mean_weighs_each_block_by_its_draws_and_drops_the_empty_ones():
    means, counts = blocks()
    sums = np.concatenate([means * counts[:, None, None], np.zeros((2, 2, 3))])
    found = Estimate.of_blocks(sums, np.concatenate([counts, [0, 0]]), seed=4, batched=True)
    draws = np.concatenate([np.repeat(mean[None], count, axis=0) for mean, count in zip(means, counts, strict=True)])
    np.testing.assert_allclose(found.mean, draws.mean(axis=0))
    np.testing.assert_allclose(found.blocks, means)
    assert found.draws == len(draws)
    assert (found.block_draws == counts).all()
    assert (found.interrupted, found.mode, found.device) == (False, "eval", "cpu")


def test_with_equal_blocks_the_standard_error_is_the_textbooks():
    draws = np.random.default_rng(1).gamma(2, size=(9, 4))
    found = Estimate.of_blocks(3 * draws, np.full(9, 3), seed=0, batched=False)
    np.testing.assert_allclose(found.standard_error, draws.std(axis=0, ddof=1) / 3)
    assert Estimate.of_blocks(np.ones((3, 1)), np.ones(3), seed=0, batched=False).standard_error == 0


def test_the_standard_error_of_unequal_blocks_is_their_spread():
    """Over 20 000 repetitions the mean squared error is known to 0.4 %, the variance of the mean to 1 %: here to 5 sigma."""
    rng, counts = np.random.default_rng(2), np.array([1, 1, 2, 2, 3, 3, 4, 4])
    means = rng.normal(size=(8, 20_000)) / np.sqrt(counts)[:, None]
    found = Estimate.of_blocks(means * counts[:, None], counts, seed=0, batched=False)
    # S = sum s_b^2 (m_b - m)^2 n / (n - 1), whose expectation is not quite 1 / 20 where the weights differ
    shares = counts / 20
    expected = sum(s**2 * (1 / c - 1 / 20) for s, c in zip(shares, counts, strict=True)) * 8 / 7
    assert np.mean(found.standard_error**2) == pytest.approx(expected, rel=0.02)
    assert np.var(found.mean) == pytest.approx(1 / 20, rel=0.05)
    assert expected == pytest.approx(1 / 20, rel=0.05)


def test_the_influence_of_a_block_is_a_derivative_of_the_relative_map():
    found = estimate()
    shares = found.block_draws / found.block_draws.sum()

    def relative(weights):
        mean = np.tensordot(weights, found.blocks, 1)
        return mean / mean.mean()

    np.testing.assert_allclose(found.relative, relative(shares))
    pieces = []
    for block in range(5):
        step = 1e-6 * np.eye(5)[block]
        slope = (relative(shares + step) - relative(shares - step)) / 2e-6
        np.testing.assert_allclose(found.influence[block], slope, rtol=1e-6, atol=1e-9)
        pieces.append((shares[block] * slope) ** 2)
    np.testing.assert_allclose(found.relative_error, np.sqrt(5 / 4 * np.sum(pieces, axis=0)), rtol=1e-6)
    np.testing.assert_allclose(np.tensordot(shares, found.influence, 1), 0, atol=1e-12)


def test_a_map_of_any_scale_has_a_shape_one_without_gradients_none():
    found = estimate()
    tiny = replace(found, mean=found.mean * 1e-30)
    np.testing.assert_allclose(tiny.relative, found.relative)
    for scale in (0, np.inf, np.nan, -1):
        with pytest.raises(SpecificationError, match="no shape"):
            assert replace(found, mean=np.full((2, 3), float(scale))).relative.any()


def test_draws_without_any_gradient_are_worth_nothing():
    silent = Estimate.of_blocks(np.zeros((4, 3)), np.ones(4, dtype=int), seed=0, batched=False, energies=np.zeros(4))
    assert (silent.effective_draws, silent.largest_share) == (0, 1)
    assert str(silent) == "measured map over (3,): zero in all of 4 draws"
    one = replace(estimate(), energies=np.array([0.0, 0.0, 3.0]))
    assert (one.effective_draws, one.largest_share) == (1, 1)
    assert replace(one, energies=np.array([1.0, 2.0, 1.0])).effective_draws == pytest.approx(16 / 6)
    assert replace(one, energies=np.array([1.0, 2.0, 1.0])).largest_share == 0.5
    assert np.isnan(Estimate.of_blocks(np.ones((2, 1)), np.ones(2), seed=0, batched=False).largest_share)  # not recorded


def test_its_words_are_its_numbers():
    found = estimate()
    typical = np.sqrt(np.mean(found.relative_error**2))
    assert str(found).startswith(f"measured map over (2, 3): {found.draws} draws, seed 4, error {typical:.1%} a pixel")
    assert "draws (interrupted), seed 4" in str(estimate(interrupted=True))


@pytest.mark.parametrize(
    "wrong",
    [
        {"standard_error": np.ones((3, 2))},
        {"blocks": np.ones((5, 2, 2))},
        {"blocks": np.ones((4, 2, 3))},
        {"block_draws": np.ones((5, 1))},
        {"energies": np.ones((3, 2))},
        {"mean": np.ones((2, 3), dtype=complex)},
        {"energies": np.ones(3, dtype=bool)},
        {"draws": 2.5},
        {"seed": "4"},
        {"mode": 3},
        {"device": None},
    ],
)
def test_a_file_whose_parts_do_not_fit_together_is_no_estimate(wrong, tmp_path):
    path = replace(estimate(), **wrong).save(tmp_path / "wrong.npz")
    with pytest.raises(SpecificationError, match="no estimate"):
        Estimate.load(path)


def test_a_file_of_another_kind_or_version_is_no_estimate(tmp_path):
    header, arrays = read_arrays(estimate().save(tmp_path / "right.npz"))
    assert Estimate.load(tmp_path / "right.npz").draws == estimate().draws
    less = {name: array for name, array in arrays.items() if name != "energies"}
    for number, (other, kept) in enumerate(
        [
            (header | {"format": "another"}, arrays),
            (header | {"more": 1}, arrays),
            ({name: value for name, value in header.items() if name != "mode"}, arrays),
            (header, less),
            (header, arrays | {"more": np.ones(1)}),
            (header | {"versions": "2.0"}, arrays),
        ]
    ):
        write_arrays(tmp_path / f"{number}.npz", other, kept)
        with pytest.raises(SpecificationError, match="no estimate"):
            Estimate.load(tmp_path / f"{number}.npz")
    with pytest.raises(SpecificationError, match="does not exist"):
        estimate().save(tmp_path / "nowhere" / "estimate.npz")

"""Studies: known slopes and floors are found, exact nets show none, and results carry where they come from."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from landscape import predict
from lattice import Activation, Conv, Lattice, SpecificationError, residual
from validation import compare, measure
from validation.cli.commands.networks.study import Study
from validation.studies import gallery as gallery_module
from validation.studies import study
from validation.studies.gallery import classifier, gallery
from validation.studies.ladders import (
    chain_net,
    contrast,
    depth_ladder,
    exact_scale,
    ladder,
    pooled_net,
    preactivation_net,
    width_ladder,
)
from validation.studies.lemma import correlated_inputs, lemma_net, lemma_table, train_briefly
from validation.studies.study import error_against_draws
from validation.studies.table import Series, Table, fit_power, provenance

RELU = Activation("relu")


def tiny_residual(width):
    """Two pre-activation blocks, few enough weights to enumerate: 5 at width 1, 18 at width 2."""
    body = [residual([RELU, Conv(width, 2, padding=(0, 1))]) for _ in range(2)]
    return Lattice.chain((1, 3), [Conv(width, 1), *body])


def test_a_fitted_exponent_is_off_by_as_much_as_it_says():
    rng, x = np.random.default_rng(0), np.array([2.0, 4, 8, 16, 32])
    truth = 0.5 / x
    error = np.full(5, 0.02)  # noise that pushes the last values below zero in many runs
    fits = [fit_power(x, truth + error * rng.normal(size=5), error) for _ in range(400)]
    z = np.array([(fit.exponent + 1) / fit.exponent_error for fit in fits])
    assert abs(np.mean(z)) < 0.3
    assert 0.8 < np.std(z) < 1.25
    assert 0.2 < np.mean([fit.probability < 0.5 for fit in fits]) < 0.8


def test_noise_alone_has_no_exponent():
    """A fit of nothing says so by its error, where taking logarithms of the positive values would give a slope."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        y = rng.normal(size=4)
        y[0] = abs(y[0])
        fit = fit_power([2, 4, 8, 16], y, np.ones(4))
        assert not fit.exponent_error < abs(fit.exponent) / 5, fit


@pytest.mark.parametrize(("y", "error"), [([1.0], [1.0]), ([1.0, 2.0], [1.0, 0.0]), ([-1.0, -2.0], [1.0, 1.0])])
def test_a_power_law_needs_something_to_fit(y, error):
    with pytest.raises(SpecificationError, match="two values at least"):
        fit_power(range(1, len(y) + 1), y, error)


def test_contrast_is_zero_for_the_truth_and_known_for_a_planted_error():
    """Contrast is zero for the truth known for a planted error and its error is its spread."""
    net = chain_net(3)
    p = predict(net).squared
    runs = [measure(net, draws=300, seed=seed) for seed in range(24)]
    values, errors = np.array([contrast(p, run) for run in runs]).T
    assert abs(values.mean()) < 5 * values.std() / np.sqrt(24)
    assert 0.6 < errors.mean() / values.std(ddof=1) < 1.6
    faded = p.mean() + (p - p.mean()) / 2  # half of the contrast: the truth has 100 % more
    planted = np.array([contrast(faded, run)[0] for run in runs])
    np.testing.assert_allclose(planted, 2 * values + 1)
    assert np.isnan(contrast(np.ones_like(p), runs[0])).all()


def test_enumeration_finds_a_scale_error_in_wide_limit_nets_only():
    assert np.abs(exact_scale(Lattice.chain((1, 3), [Conv(2, 2), RELU, Conv(2, 2)]), inputs=5)).max() < 1e-12
    assert predict(tiny_residual(1)).guarantee.name == "WIDE_LIMIT"
    value, error = exact_scale(tiny_residual(1), inputs=80)
    assert value > 5 * error > 0
    estimate = measure(tiny_residual(1), draws=6000, initialisation=1.0, distribution="rademacher")
    ratio = estimate.mean.mean() / predict(tiny_residual(1), initialisation=1.0).squared.mean() - 1
    blocks = estimate.blocks.mean(axis=1)
    assert abs(ratio - value) < 5 * np.hypot(error, blocks.std(ddof=1) / blocks.mean() / np.sqrt(len(blocks)))


def test_a_wide_limit_net_comes_to_its_prediction_as_one_over_the_width():
    table = width_ladder(widths=(2, 4, 8, 32), draws=4000, seed=3)
    fit = table.fits["scale - 1"]
    assert abs(fit.exponent + 1) < 4 * fit.exponent_error
    assert fit.exponent < -4 * fit.exponent_error
    assert fit.probability > 1e-4
    assert set(table.column("guarantee")) == {"WIDE_LIMIT"}


def test_the_error_of_an_exponent_is_right_for_adjacent_values():
    """Of values y1 and y2 that lie h apart in log x, it is |error of log y2 / y1| / h, however small h."""
    fit = fit_power([1e6, 1e6 * (1 + 2e-6)], [1, 1], [0.01, 0.01])
    assert fit.exponent_error == pytest.approx(0.01 * 2**0.5 / 2e-6, rel=1e-4)


def test_an_exact_net_has_nothing_to_approach():
    """The negative control of the width ladder: the same measurement of a net that is exact at every width."""
    table = ladder("width", {width: chain_net(3, width) for width in (2, 8)}, draws=4000, seed=3)
    for name, error in (("scale - 1", "scale error"), ("contrast", "contrast error")):
        assert (np.abs(table.column(name)) < 5 * np.array(table.column(error))).all()


def test_a_rung_of_a_ladder_is_predict_measure_and_compare_of_its_net():
    table = depth_ladder(depths=(1, 3), draws=100, seed=5)
    for step, depth in enumerate((1, 3)):
        agreement = compare(predict(pooled_net(depth)), measure(pooled_net(depth), draws=100, seed=5 + 1000 * (step + 1)))
        row = dict(zip(table.columns, table.rows[step], strict=True))
        assert row["depth"] == depth
        assert row["error"] == agreement.error
        assert (row["error low"], row["error high"]) == agreement.error_interval
        assert (row["scale - 1"] + 1, row["scale error"]) == (agreement.scale_ratio, agreement.scale_ratio_error)
        assert row["verdict"] == agreement.verdict.name.replace("_", " ")


def test_noise_falls_as_one_over_the_square_root_of_the_draws(monkeypatch):
    net = chain_net(2)
    table = error_against_draws(net, (50, 200, 800), repeats=12, seed=1)
    (fit,) = table.fits.values()
    assert abs(fit.exponent + 0.5) < 4 * fit.exponent_error
    assert fit.exponent_error < 0.1
    stated = np.array(table.column("stated noise")) / np.array(table.column("rms error"))
    assert (stated > 0.7).all()
    assert (stated < 1.4).all()

    # a planted error of known size is the floor
    land = predict(net)
    tilted = land.squared * (1 + 0.5 * np.linspace(-1, 1, 10))
    monkeypatch.setattr(study, "predicted", lambda _: replace(land, squared=tilted))
    floor = np.sqrt(np.mean((tilted / tilted.mean() - land.relative) ** 2))
    wrong = error_against_draws(net, (50, 200, 800), repeats=12, seed=1)
    (shallow,) = wrong.fits.values()
    assert shallow.exponent > fit.exponent + 4 * fit.exponent_error
    assert wrong.column("debiased error")[-1] == pytest.approx(floor, rel=0.15)
    square, error = (float(text) for text in wrong.notes[0].split(" = ")[1].split(" (")[0].split(" +- "))
    assert abs(square - floor**2) < 4 * error


def test_the_gallery_measures_what_is_supported_and_says_why_not_the_rest():
    pytest.importorskip("torchvision")
    table = gallery(("squeezenet1_1", "alexnet"), 32, draws=20)
    assert table.column("network") == ["squeezenet1_1", "alexnet"]
    assert table.column("guarantee") == ["APPROXIMATE", "refused"]
    assert table.column("verdict")[1] is None
    assert table.column("predicted in (ms)")[0] > 0
    assert table.markdown().splitlines()[5].endswith("|  |")
    assert table.notes[0].startswith("refused: alexnet: ")
    assert "torchvision" in table.origin.versions
    with pytest.raises(SpecificationError, match="no model resnet19"):
        gallery(("resnet19",), 32, draws=20)


def test_a_gallery_goes_on_from_its_folder(tmp_path, monkeypatch):
    pytest.importorskip("torchvision")
    built, stop = [], 25

    def counted(name):
        def build():
            built.append(name)
            if len(built) == stop:
                raise KeyboardInterrupt
            return classifier(name)()

        return build

    def drawn(names, draws=20, folder=tmp_path):
        built.clear()
        table = gallery(names, 32, draws=draws, folder=folder)
        return [table.column(name) for name in ("network", "error", "scale", "verdict")], len(built)

    monkeypatch.setattr(gallery_module, "classifier", counted)
    monkeypatch.setattr("landscape.warrant.drawn_networks.WORK", 0)  # which would be built too
    with pytest.raises(KeyboardInterrupt):  # no row of the few draws that there are by then
        drawn(("squeezenet1_1", "mnasnet0_5"))
    assert [path.name for path in tmp_path.iterdir()] == ["squeezenet1_1-32"]
    stop = None
    whole, builds = drawn(("squeezenet1_1", "mnasnet0_5"), folder=None)
    resumed, fewer = drawn(("squeezenet1_1", "mnasnet0_5"))
    finished, fewest = drawn(("squeezenet1_1", "mnasnet0_5"))
    assert whole == resumed == finished
    # in the end no draw is made again, but draw 0 twice a network, by whose answer a folder knows its model
    assert (fewer < builds, fewest) == (True, builds - 40 + 4)
    with pytest.raises(SpecificationError, match="mnasnet0_5-32 holds the draws of another call: "):
        drawn(("mnasnet0_5",), draws=30)


def test_the_lemma_holds_on_linear_nets_and_fails_past_the_kinks():
    random = torch.get_rng_state()
    table = lemma_table((0.03, 3.0), (0.0,), samples=150, replacements=4)
    assert torch.equal(torch.get_rng_state(), random)
    rows = {(row[0], row[1]): dict(zip(table.columns, row, strict=True)) for row in table.rows}
    for deviation in (0.03, 3.0):
        assert rows["linear", deviation]["Eq. 7 / gradient"] == pytest.approx(1, abs=1e-10)
        row = rows["linear", deviation]
        assert abs(row["shuffled / gradient"] - 2) < 5 * row["shuffled error"]
    near, far = rows["relu", 0.03], rows["relu", 3.0]
    assert abs(near["shuffled / gradient"] - 2) < 5 * near["shuffled error"]
    assert far["shuffled / gradient"] < 2 - 5 * far["shuffled error"]
    assert "accuracy" in table.notes[0]


def test_the_trained_net_of_the_lemma_is_trained_and_the_same_every_time():
    def trained():
        generator = torch.Generator().manual_seed(0)
        net = lemma_net(True, generator)
        return net, train_briefly(net, correlated_inputs(200, 1.0, 0.5, generator), steps=150)

    (first, accuracy), (second, _) = trained(), trained()
    assert accuracy > 0.9
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_correlated_inputs_have_the_law_that_was_asked_for():
    x = correlated_inputs(20_000, 2.0, 0.6, torch.Generator().manual_seed(0))[:, 0].numpy()
    expected = 4 * (0.6 + 0.4 * np.eye(8))
    assert np.abs(np.cov(x.T) - expected).max() < 6 * 4 * np.sqrt(2 / 20_000)
    assert np.abs(x.mean(axis=0) - np.linspace(-1, 1, 8)).max() < 6 * 2 / np.sqrt(20_000)


SMALL = Table(
    "A | title", ("x", "y"), ((1, 0.5), (2, 0.25)), provenance(7, 30, "cpu", "pilcro study width"),
    (Series("y", (1, 2), (0.5, 0.25), (0.4, 0.2), (0.6, 0.3)), Series("line", (1, 2), (0.5, 0.2), line=True)),
    {"y": fit_power([1, 2], [0.5, 0.25], [0.1, 0.1])},
)  # fmt: skip


def test_a_figure_draws_the_slopes_that_are_known_and_no_others():
    def lines(fit):
        return [text.get_text() for text in replace(SMALL, fits={"y": fit}).plot().get_legend().get_texts()]

    known = replace(SMALL.fits["y"], exponent=-1.0, exponent_error=0.1)
    assert any("x^(-1.00 ± 0.1)" in text for text in lines(known))
    assert not any("x^" in text for text in lines(replace(known, exponent_error=0.9)))
    assert not any("x^" in text for text in lines(replace(known, exponent_error=float("inf"))))


def test_a_table_is_written_with_its_provenance_and_nothing_else(tmp_path):
    text, figure = SMALL.write(tmp_path / "out.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.md", "out.png"]
    words = text.read_text()
    assert "| 1 | 0.5 |" in words
    assert "exponent" in words
    for part in ("`pilcro study width`", "seed 7", "30 draws", "cpu", f"torch {torch.__version__.split('+')[0]}"):
        assert part in words
    assert figure.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SpecificationError, match="does not exist"):
        SMALL.write(tmp_path / "nowhere" / "out")
    with pytest.raises(SpecificationError, match="no column 'z'; it has x, y"):
        SMALL.column("z")


def test_the_command_writes_prints_and_says_how_to_run_it_again(tmp_path, capsys):
    result = Study("depth", draws=20, seed=4, out=tmp_path / "depth").run()
    (entry,) = result["tables"]
    assert entry["origin"]["command"] == "pilcro study depth --draws 20 --seed 4"
    assert (tmp_path / "depth.md").read_text() in capsys.readouterr().out + "\n"
    assert [path.rsplit("/")[-1] for path in entry["files"]] == ["depth.md", "depth.png"]
    assert json.loads(json.dumps(result))["tables"][0]["columns"][0] == "depth"
    Study("width", draws=20, json=True).run()
    assert capsys.readouterr().out == ""
    with pytest.raises(SpecificationError, match="does not exist"):
        Study("width", out=tmp_path / "nowhere" / "out").run()
    with pytest.raises(SpecificationError, match="--draws -1"):
        Study("width", draws=-1).run()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: error_against_draws(chain_net(1), (100,)), "two numbers of draws"),
        (lambda: error_against_draws(chain_net(1), (100, 200), repeats=2), "three repeats"),
        (lambda: ladder("width", {}), "one net per width"),
        (lambda: lemma_table(correlations=(1.0,)), r"correlations lie in \[0, 1\)"),
        (lambda: gallery((), 32), "none was named"),
    ],
)
def test_bad_requests_are_refused(call, message):
    with pytest.raises(SpecificationError, match=message):
        call()


def test_the_named_nets_have_the_guarantees_that_the_studies_speak_of():
    assert predict(chain_net(3)).guarantee.name == "EXACT"
    assert predict(preactivation_net(4)).guarantee.name == "WIDE_LIMIT"
    assert predict(pooled_net(2)).guarantee.name == "APPROXIMATE"

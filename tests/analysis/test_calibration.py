"""The calibration's shortcuts against the tables themselves, and bounds on the measured rates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from frames import runs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from tidy import is_tidy

from analysis import cells, comparisons
from analysis.calibration import figure, measure
from analysis.calibration import page as calibration_page
from analysis.comparisons import LEVEL
from analysis.drawing import style
from analysis.stats import paired, simulation
from analysis.study import frozen

numbers = st.integers(-512, 512).map(lambda i: i / 256)
REAL = np.random.default_rng(7).normal(0.42, 0.01, size=40).round(3)  # with ties, as real scores have them


@given(st.integers(1, 9).flatmap(lambda n: st.lists(st.lists(numbers, min_size=n, max_size=n), min_size=1, max_size=5)))
def test_all_rows_at_once_have_the_p_of_each(rows):
    assert simulation.p_values(rows).tolist() == [paired.sign_flip_p(row) for row in rows]


def test_equal_sums_count_in_floating_point_and_chunks_do_not_show(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(50, 7)).round(1)
    rows[0, :3], rows[0, 3:] = [0.1, 0.2, -0.3], 0  # 5.6e-17 in floating point and zero on paper
    whole = simulation.p_values(rows)
    assert whole[0] == 1.0 and whole.tolist() == [paired.sign_flip_p(row) for row in rows]
    monkeypatch.setattr(simulation, "_SUMS", 200)  # 3 rows a chunk
    assert (simulation.p_values(rows) == whole).all()


@pytest.mark.parametrize("pairs, family", [(6, 1), (7, 2), (10, 3)])
def test_the_verdicts_are_those_of_the_tables(pairs, family):
    """Some dozens of studies, of which some have an effect, through comparisons.compare."""
    draw = simulation.planted(simulation.heavy_tailed, 0.8, 1.0)
    scores = draw(np.random.default_rng(pairs), (8, family + 1, pairs))
    called = measure.verdicts(scores)
    assert 0 < called.sum() < len(called)
    for one, said in zip(scores, called, strict=True):
        result = measure.through_the_tables(one)
        assert [c.p for c in result] == [paired.sign_flip_p(method - one[0]) for method in one[1:]]
        assert {(c.n, c.family) for c in result} == {(pairs, family)}
        assert any(c.p_holm <= LEVEL for c in result) == said == any(c.reading in ("better", "worse") for c in result)


def test_divided_runs_are_read_by_the_tables_as_they_are_by_the_shortcut():
    """The same draw, made by giving the rows of real runs another method and seed."""
    table = runs(*[("none", "none", seed, value) for seed, value in enumerate(REAL)])
    scores = simulation.divided(REAL)(np.random.default_rng(3), (4, 2, 10))
    for study, p in zip(scores, simulation.p_values(scores[:, 1] - scores[:, 0]), strict=True):
        places = pd.Series(range(20), index=draws_of(study, table))
        rows = table[table["seed"].isin(places.index)]
        place = rows["seed"].map(places)
        rows = rows.assign(adversary=place.map(lambda i: "again" if i >= 10 else "none"), seed=place % 10)
        (comparison,) = comparisons.compare(rows)
        assert (comparison.p, comparison.n) == (p, 10)
        assert comparison.mean == pytest.approx((study[1] - study[0]).mean())


def draws_of(study, table):
    """Runs with these scores, none twice."""
    left = table.set_index("seed")["value"].to_dict()
    result = []
    for value in study.ravel():
        seed = next(seed for seed, score in left.items() if score == value)
        result.append(seed)
        del left[seed]
    return result


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(0, 99))
def test_no_run_is_used_twice(several, pairs, seed):
    scores = simulation.divided(np.arange(20.0))(np.random.default_rng(seed), (5, several, pairs))
    assert scores.shape == (5, several, pairs)
    assert all(len(set(study.ravel())) == several * pairs for study in scores)


def test_each_division_of_a_few_runs_by_hand():
    # 4 runs, 2 pairs: 0 1 3 7; the smallest p of 2 pairs is .5, so nothing is ever called
    scores = simulation.divided(np.array([0.0, 1, 3, 7]))(np.random.default_rng(0), (200, 2, 2))
    assert not measure.verdicts(scores).any()
    assert len({tuple(study.ravel()) for study in scores}) == 24  # 4! orders


def test_what_is_planted_is_there():
    size = (3, 4, 5)
    plain, better = (
        draw(np.random.default_rng(1), size)
        for draw in (simulation.normal, simulation.planted(simulation.normal, 0.5, 3.0))
    )
    assert (better[:, 0] == plain[:, 0]).all()
    assert better[:, 1:] - plain[:, 1:] == pytest.approx(0.5 * np.sqrt(2) * 3)
    scores = simulation.unlike(lambda rng, size: np.full(size, 9.0))(np.random.default_rng(1), size)
    assert (scores[:, 1:] == 9).all() and (scores[:, 0] != 9).all()


@pytest.mark.parametrize("name", simulation.NOISE)
def test_noise_has_mean_zero(name):
    scores = simulation.NOISE[name](np.random.default_rng(2), (1000, 10, 10))
    assert abs(scores.mean()) < 4 * scores.std() / np.sqrt(scores.size)


@pytest.fixture(scope="module")
def rates():
    patch = pytest.MonkeyPatch()
    patch.setattr(measure, "CHECKED", 0)  # the test above reads more of them
    yield measure.measured(REAL, studies=1000)
    patch.undo()


def test_the_level_is_kept_and_effects_are_found_as_often_as_theory_says(rates):
    aa = rates[rates["kind"] == "A/A"]
    assert len(aa) == 2 * (4 * 2 + 1)
    for row in aa.itertuples():
        assert binomtest(row.found, row.studies, LEVEL, alternative="greater").pvalue > 1e-3
        if row.family == 1 and row.noise != "40 real runs":  # which have ties
            exact = calibration_page.attainable_level(row.pairs)
            assert binomtest(row.found, row.studies, exact).pvalue > 1e-3
    planted = rates[rates["kind"] == "planted"]
    assert len(planted) == 2 * 2 * 3
    for row in planted[planted["noise"] == "normal"].itertuples():
        exact = calibration_page.sign_flip_power(row.effect, row.pairs)
        assert binomtest(row.found, row.studies, exact).pvalue > 1e-3
    unlike = rates[(rates["kind"] == "equal means") & rates["noise"].str.contains("fails")]
    assert (unlike["low"] > LEVEL).all()  # the limit that the page states


def test_rates_repeat_and_follow_their_seed(monkeypatch):
    monkeypatch.setattr(measure, "CHECKED", 0)
    first, again, other = (measure.measured(REAL, 50, seed) for seed in (0, 0, 1))
    assert first.equals(again) and not first.equals(other)


def test_intervals_are_clopper_and_pearson(rates):
    # none of 1000: 1 - (.025)^(1/1000) = .003682
    none = rates[(rates["family"] > 1) & (rates["pairs"] == 6)]
    assert (none["found"] == 0).all()
    assert none["high"].to_numpy() == pytest.approx(0.003682, abs=1e-6)


def test_the_page_says_what_was_measured(rates):
    page = calibration_page.page(rates, pd.Series(REAL))
    row = rates.iloc[0]
    assert f".{row['found'] * 10:04d} (" in page and "1,000 studies a number" in page
    assert "In 18 of 18 rows the interval covers 5% or lies below it" in page
    assert "| exact | .0312 | at most .0500 | .0488 | at most .0500 |" in page
    assert "| 10 | 1 | .8031 |" in page
    assert f"| 1 | {np.sqrt(2) * REAL.std(ddof=1):.3f} | 7 | 11 | 13 |" in page


def test_a_rate_above_the_level_is_not_passed_over(rates):
    worse = rates.assign(low=rates["low"].where(rates.index > 0, 0.051))
    assert "In 17 of 18 rows" in calibration_page.page(worse, pd.Series(REAL))


def test_the_figure_is_tidy_and_has_the_same_bytes(rates, tmp_path):
    is_tidy(figure.figure(rates))
    first = [path.read_bytes() for path in style.save(figure.figure(rates), tmp_path / "one")]
    assert first == [path.read_bytes() for path in style.save(figure.figure(rates), tmp_path / "two")]


@pytest.mark.parametrize(
    "table",
    [
        runs(*[("none", "none", seed, 0.4) for seed in range(19)]),
        runs(*[("none", adversary, seed, 0.4) for seed in range(20) for adversary in ("none", "fgm")]),
    ],
)
def test_what_is_not_one_cell_of_many_seeds_is_refused(table):
    with pytest.raises(cells.NotInTable, match="one cell with 20 seeds or more is needed, one run per seed, not"):
        measure.scores_of_one_cell(table)


@pytest.mark.parametrize(
    "given_, said", [(np.zeros((2, 17)), "17 pairs"), (np.zeros(3), r"not an array of shape \(3,\)")]
)
def test_what_is_no_table_of_differences_is_refused(given_, said):
    with pytest.raises(ValueError, match=said):
        simulation.p_values(given_)


def test_the_command_writes_what_it_prints(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure, "CHECKED", 0)
    study = tmp_path / "calibration"
    with pytest.raises(SystemExit):
        measure.main(["--experiments", str(tmp_path)])
    assert "adapt experiment=calibration" in capsys.readouterr().err
    frozen.save(runs(*[("none", "none", seed, value) for seed, value in enumerate(REAL)]), study / "results.csv")
    assert measure.main(["--experiments", str(tmp_path), "--studies", "40"]) == 0
    assert capsys.readouterr().out == (study / "calibration.md").read_text() + "\n"
    assert pd.read_csv(study / "calibration.csv").columns.tolist() == measure.COLUMNS
    assert sorted(path.name for path in (study / "figures").iterdir()) == ["calibration.pdf", "calibration.png"]
    with pytest.raises(SystemExit):
        measure.main(["--experiments", str(tmp_path), "--studies", "0"])
    assert "--studies 0: must be 1 or more" in capsys.readouterr().err

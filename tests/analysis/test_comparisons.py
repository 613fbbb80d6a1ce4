"""Which cells there are, what each is compared with, and what the verdict can say. Numbers by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from frames import runs
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import cells, comparisons
from analysis.cells import NotInTable


def paired(treated, baseline, pretrain="dapt", adversary="none", changes=lambda seed: {}):
    """A baseline and one method with the given scores by seed."""
    return runs(
        *[("none", "none", seed, value) for seed, value in enumerate(baseline)],
        *[(pretrain, adversary, seed, value, changes(seed)) for seed, value in enumerate(treated)],
    )


def test_differences_are_paired_by_seed_not_by_order():
    table = paired([0.51, 0.62, 0.73, 0.84, 0.55, 0.66], [0.5, 0.6, 0.7, 0.8, 0.5, 0.6])
    (comparison,) = comparisons.compare(table.sample(frac=1, random_state=1))
    assert comparison.differences.tolist() == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05, 0.06])
    assert (comparison.n, comparison.unpaired, comparison.p, comparison.p_holm, comparison.family) == (
        6,
        0,
        0.03125,
        0.03125,
        1,
    )
    assert comparison.mean == pytest.approx(0.035)
    # sd .0187083, t_5(.975) = 2.570582: half-width .0187083 * 2.570582 / sqrt(6) = .0196334
    assert comparison.t_interval == pytest.approx((0.0153666, 0.0546334), abs=1e-6)
    assert comparison.sign_flip_interval == pytest.approx((0.01, 0.06))
    assert comparison.verdict() == (
        "DAPT against not adapted: +0.035 macro-F1 (95% t interval +0.015 to +0.055, 6 pairs): better "
        "(sign-flip p = 0.031)."
    )


def test_seeds_of_one_side_only_are_left_out_and_counted():
    table = paired([0.6, 0.7, 0.8, 0.9], [0.5, 0.5])
    (comparison,) = comparisons.compare(table)
    assert comparison.differences.tolist() == pytest.approx([0.1, 0.2]) and comparison.unpaired == 2


def test_three_pairs_cannot_show_a_difference_and_the_verdict_says_so():
    (comparison,) = comparisons.compare(paired([0.9, 0.91, 0.92], [0.1, 0.1, 0.1]))
    assert not comparison.supported and comparison.reading == "not shown"
    assert "difference not shown (" in comparison.verdict()
    assert comparison.verdict().endswith("(sign-flip p = 0.25; 3 pairs cannot give less than 0.25).")


def test_one_seed_carries_no_test():
    (comparison,) = comparisons.compare(paired([0.9], [0.1]))
    assert np.isnan(comparison.p) and comparison.reading == "no test" and not comparison.supported
    assert comparison.verdict() == "DAPT against not adapted: +0.800 macro-F1 from one pair of seeds: no test."


def test_the_family_is_corrected_by_holm():
    scores = {("dapt", "none"): 0.05, ("tapt", "none"): 0.05, ("none", "fgm"): -0.05}
    base = [0.5, 0.52, 0.54, 0.56, 0.58, 0.6]
    table = runs(
        *[("none", "none", s, b) for s, b in enumerate(base)],
        *[(*m, s, b + gain * (s + 1)) for m, gain in scores.items() for s, b in enumerate(base)],
    )
    compared = {c.label: c for c in comparisons.compare(table)}
    assert list(compared) == ["DAPT, plain", "TAPT, plain", "not adapted, FGM"]
    assert all(c.p == 0.03125 and c.p_holm == pytest.approx(3 * 0.03125) and c.family == 3 for c in compared.values())
    assert compared["not adapted, FGM"].reading == "worse (taken alone)"
    ending = "worse (taken alone) (sign-flip p = 0.031; 0.094 by Holm over 3 comparisons, which 6 pairs cannot pass)."
    assert compared["not adapted, FGM"].verdict().endswith(ending)


@pytest.mark.parametrize(
    "adaptations, scope",
    [
        (["a"] * 6, "given this adaptation"),
        (list("aaabbb"), "given these 2 adaptations"),
        (list("aabbcc"), "given these 3 adaptations"),
        (list("abcdef"), ""),
    ],
)
def test_the_verdict_is_given_the_adaptations_that_seeds_share(adaptations, scope):
    def adaptation(seed):
        return {"adaptation": adaptations[seed], "adaptation_seed": str(ord(adaptations[seed]))}

    (comparison,) = comparisons.compare(paired([0.6] * 6, [0.5] * 6, changes=adaptation))
    assert comparison.scope == scope and (scope in comparison.verdict())
    assert ("given" in comparison.verdict()) == bool(scope) == comparison.conditional
    assert np.isnan(comparison.p) == bool(scope) == ("about these adapted models only" in comparison.verdict())
    assert comparison.supported == (not scope)
    assert comparison.reading == (comparisons.NO_CLAIM if scope else "better")
    assert comparison.reading_in_full == (f"{comparisons.NO_CLAIM}; better, {scope}" if scope else "better")
    assert comparisons.scopes_in_words([comparison]) == (f"{comparisons.NO_TEST} {scope}." if scope else "")


def test_one_shared_stage_of_a_chain_is_enough_to_be_conditional():
    def adaptation(seed):
        return {"adaptation": f"k{seed}", "adaptation_seed": f"0+{seed}"}  # one DAPT, a TAPT for each seed

    (comparison,) = comparisons.compare(paired([0.6] * 6, [0.5] * 6, pretrain="dapt+tapt", changes=adaptation))
    assert comparison.scope == "given this adaptation"


def test_a_seed_on_several_adaptations_counts_once_with_its_mean():
    table = pd.concat(
        [
            paired([0.6, 0.7], [0.5, 0.5]),
            runs(*[("dapt", "none", s, 0.9, {"adaptation": "b", "adaptation_seed": "1"}) for s in (0, 1)]),
        ]
    )
    (comparison,) = comparisons.compare(table)
    assert comparison.differences.tolist() == pytest.approx([0.25, 0.3])
    assert comparison.scope == "given these 2 adaptations"
    assert comparison.units.nunique() == 1  # both seeds have both adaptations: nothing is independent


def test_any_setting_that_varies_makes_cells_and_seeds_do_not():
    lrs = [("dapt", "none", s, 0.6, {"lr": lr, "pretrain.dapt.seed": s}) for s in range(2) for lr in (1e-4, 1e-3)]
    table = runs(*[("none", "none", s, 0.5, {"lr": 1e-4}) for s in range(2)], *lrs)
    assert cells.cell_columns(table) == ["model", "task", "pretrain", "adversary", "lr"]
    compared = comparisons.compare(table)
    assert [c.label for c in compared] == ["DAPT, lr 0.0001", "DAPT, lr 0.001"]
    assert {c.baseline_label for c in compared} == {"not adapted, lr 0.0001"}


def test_a_setting_that_another_implies_makes_no_cells():
    table = paired([0.6, 0.6], [0.5, 0.5], changes=lambda seed: {"pretrain.dapt.steps": 100})
    assert cells.cell_columns(table) == cells.MAIN_COLUMNS


def test_the_baseline_shares_the_other_settings():
    cell = [("none", "none", "a"), ("none", "none", "b"), ("none", "fgm", "a"), ("none", "fgm", "b")]
    value = dict(zip(cell, (0.1, 0.2, 0.3, 0.5), strict=True))
    table = runs(*[(p, a, s, value[p, a, x], {"corpus": x}) for p, a, x in cell for s in range(2)])
    compared = {c.label: (c.baseline_label, round(c.mean, 6)) for c in comparisons.compare(table)}
    assert compared == {"FGM, a": ("plain, a", 0.2), "FGM, b": ("plain, b", 0.3)}


def test_models_are_never_compared_with_each_other():
    table = pd.concat([paired([0.6], [0.5]), paired([0.9], [0.7]).assign(model="minilm", run_id=["m1", "m2"])])
    assert [round(c.mean, 6) for c in comparisons.compare(table)] == [0.2, 0.1]  # minilm, tiny


def test_reference_models_are_no_methods(table):
    labels = [c.label for c in comparisons.compare(table)]
    assert len(labels) == 4 * 3 - 1 and not any("probe" in label or "TF-IDF" in label for label in labels)


@pytest.mark.parametrize("rows", [slice(0, 0), slice(0, 1)])
def test_nothing_to_compare_is_said(rows):
    with pytest.raises(NotInTable):
        comparisons.compare(paired([0.6], [0.5]).iloc[rows])


def test_the_metric_is_the_tasks_own_and_accuracy_under_attack_where_measured(table):
    assert set(cells.scores(table)["metric"]) == {"macro_f1"}
    assert set(cells.scores(table, 0.1)["metric"]) == {"accuracy"}
    assert set(cells.scores(table.assign(**{"task.metric": "accuracy"}))["metric"]) == {"accuracy"}
    assert set(cells.scores(table.drop(columns="task.metric"))["metric"]) == {"macro_f1"}
    only_f1 = table[~((table["attack"] == "pgd") & (table["metric"] == "accuracy"))]
    f1 = table[table["attack"] == "pgd"].assign(metric="macro_f1")
    assert set(cells.scores(pd.concat([only_f1, f1]), 0.1)["metric"]) == {"macro_f1"}
    assert set(cells.scores(pd.concat([table, f1]), 0.1)["metric"]) == {"accuracy"}
    assert cells.epsilons(table) == [0.05, 0.1, 0.2, 0.4] and cells.reference_epsilon(table) == 0.1


def test_a_share_of_words_is_no_radius(table):
    text = table[(table["attack"] == "pgd") & (table["attack_epsilon"] == 0.1)]
    both = pd.concat([table, text.assign(attack="text:bae", attack_epsilon=0.3, value=0.0)])
    assert cells.epsilons(both) == cells.epsilons(table)
    also = pd.concat([table, text.assign(attack="text:bae", value=0.0)])
    pd.testing.assert_frame_equal(cells.scores(also, 0.1), cells.scores(table, 0.1))
    with pytest.raises(NotInTable):
        cells.scores(text.assign(attack="text:bae"), 0.1)


def test_the_ensemble_stands_for_its_members_and_a_check_for_none(table):
    pgd = table[table["attack"] == "pgd"]
    ensemble = pgd.assign(attack="ensemble", attack_steps=5, value=pgd["value"] / 2)
    more_radii = pgd[pgd["attack_epsilon"] == 0.1].assign(attack_epsilon=0.8)
    members = [pgd.assign(attack=name, attack_steps=99, value=1.0) for name in ("apgd_ce", "minimal_norm")]
    check = pgd.assign(attack="check:unbounded", attack_epsilon=100.0, metric="passed", value=1.0)
    norm = ensemble.assign(metric="median_minimal_norm", attack_epsilon=0.0, value=0.07)
    both = pd.concat([table, ensemble, more_radii, *members, check, norm])
    assert cells.study_attack(both) == "ensemble" and cells.study_attack(table) == "pgd"
    assert cells.epsilons(both) == cells.epsilons(table) and cells.reference_epsilon(both) == 0.1
    for epsilon in (0.0, 0.1, 0.4):
        expected = cells.scores(table, epsilon)
        pd.testing.assert_frame_equal(cells.scores(both, epsilon), expected.assign(value=expected["value"] / 2))
    with pytest.raises(NotInTable):  # a radius of a member alone is none of the ensemble
        cells.scores(both, 0.8)


def test_a_run_without_the_ensemble_has_no_robust_score(table):
    pgd = table[table["attack"] == "pgd"]
    some = pgd[pgd["seed"] < 3].assign(attack="ensemble")
    rows = cells.scores(pd.concat([table, some]), 0.1)
    assert set(rows["run_id"]) == set(some["run_id"])


def test_a_check_alone_is_no_attack(table):
    clean = table[table["attack"] == "none"]
    checks = table[table["attack"] == "pgd"].assign(attack="check:unbounded", metric="passed")
    assert cells.epsilons(pd.concat([clean, checks])) == []
    with pytest.raises(NotInTable, match="no rows under attack"):
        cells.reference_epsilon(pd.concat([clean, checks, checks.assign(attack="checks", metric="attack_seconds")]))


@pytest.mark.parametrize(
    "name, shown",
    [
        ("none_x2", "plain x2"),
        ("freelb_plus_plus", "FreeLB++"),
        ("smart_as_released", "SMART as released"),
        ("rdrop", "R-Drop"),
        ("dapt+tapt", "DAPT+TAPT"),
        ("none", "plain"),
        ("none_xl", "none xl"),
    ],
)
def test_names_as_a_reader_writes_them(name, shown):
    assert cells.adversary_label(name) == shown


def test_longer_plain_training_stands_after_plain_training():
    names = ["pgd", "none_x10", "awp", "none_x2", "none"]
    result = cells.ordered(pd.DataFrame({"adversary": names}), ["adversary"])["adversary"].tolist()
    assert result == ["none", "none_x2", "none_x10", "awp", "pgd"]


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(12)), st.floats(-1, 0.125))  # a score above 1 would be no share
def test_a_shift_of_both_sides_and_the_order_of_rows_change_nothing(order, shift):
    table = paired([0.51, 0.62, 0.73, 0.84, 0.55, 0.56], [0.5, 0.6, 0.7, 0.8, 0.6, 0.5]).iloc[order]
    (before,) = comparisons.compare(table)
    (after,) = comparisons.compare(table.assign(value=table["value"] + shift))
    assert after.differences.tolist() == pytest.approx(before.differences.tolist(), abs=1e-12)
    assert after.p == before.p


def nested(adaptations, each, effect=lambda adaptation, seed: 0.1):
    """Fine-tuning seeds nested in adaptations of one method, each beside a baseline run of its own."""
    places = [(a, a * each + s) for a in range(adaptations) for s in range(each)]
    name = {"pretrain": "dapt", "adversary": "none"}
    return runs(
        *[("none", "none", seed, 0.5) for _, seed in places],
        *[
            (*name.values(), seed, 0.5 + effect(a, seed), {"adaptation": f"k{a}", "adaptation_seed": str(a)})
            for a, seed in places
        ],
    )


def test_nested_seeds_are_one_unit_and_six_adaptations_carry_a_verdict():
    (comparison,) = comparisons.compare(nested(6, 3, lambda a, seed: 0.01 * (a + 1) + 0.001 * (seed % 3)))
    assert comparison.n == 18 and comparison.p == 2 / 64 and comparison.reading == "better" and not comparison.scope
    assert comparison.tested.tolist() == pytest.approx([0.01 * (a + 1) + 0.001 for a in range(6)])
    assert comparison.pairs == "6 adaptations"  # in tables too: what interval and p are over
    # means .011 ... .061: mean .036, sd .0187083, half-width 2.570582 * .0187083 / sqrt(6) = .0196334
    assert comparison.t_interval == pytest.approx((0.0163666, 0.0556334), abs=1e-6)
    assert comparison.verdict() == (
        "DAPT against not adapted: +0.036 macro-F1 (95% t interval +0.016 to +0.056, 6 adaptations): better "
        "(sign-flip p = 0.031)."
    )


@pytest.mark.parametrize("adaptations", [1, 2, 3, 5])
def test_too_few_adaptations_carry_none_however_many_seeds(adaptations):
    (comparison,) = comparisons.compare(nested(adaptations, 6))
    assert comparison.conditional and np.isnan(comparison.p) and np.isnan(comparison.p_holm)
    assert not comparison.supported and comparison.verdict().endswith("a claim about these adapted models only.")


def test_one_conditional_comparison_leaves_the_family_of_the_others():
    fgm = runs(*[("none", "fgm", seed, 0.6) for seed in range(6)])
    compared = {c.label: c for c in comparisons.compare(pd.concat([nested(1, 6), fgm]))}
    assert compared["not adapted, FGM"].family == 1 and compared["not adapted, FGM"].reading == "better"
    assert compared["DAPT, plain"].reading == comparisons.NO_CLAIM


def test_an_adversary_on_the_same_adapted_models_is_tested_over_their_seeds():
    shared = {"adaptation": "k", "adaptation_seed": "0"}
    table = runs(*[("dapt", m, s, v, shared) for m, v in (("none", 0.5), ("fgm", 0.6)) for s in range(6)])
    (comparison,) = comparisons.compare(table)
    assert comparison.p == 2 / 64 and comparison.reading_in_full == "better, given this adaptation"

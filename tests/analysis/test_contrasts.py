"""Chains against what isolates their last step. Numbers by hand."""

import pytest
from frames import runs

from analysis import comparisons
from analysis.cells import NotInTable
from analysis.comparisons import SAME
from analysis.pages import contrasts

SCORES = {"none": 0.50, "tapt": 0.52, "rand_tapt": 0.53, "knn_tapt_50": 0.56, "dapt": 0.55, "dapt+tapt": 0.6}


def table(chains, seeds=6, shared=False):
    """Six seeds a chain; ``shared``: over one adaptation, else each seed over an adaptation of its own."""
    rows = []
    for chain in chains:
        for seed in range(seeds):
            own = {"adaptation": f"{chain} of seed 0", "adaptation_seed": "0"} if shared else {}
            rows.append((chain, "none", seed, SCORES[chain] + 0.001 * seed * (chain == "knn_tapt_50"), own))
    return runs(*rows)


def test_each_pair_is_compared_with_its_own_reference_and_holm_counts_the_pairs_of_the_page():
    compared = comparisons.contrast(table(SCORES), contrasts.CONTRASTS)
    by_pair = {(c.cell["pretrain"], c.baseline["pretrain"]): c for c in compared}
    assert set(by_pair) == {
        *{("dapt+tapt", "dapt"), ("dapt+tapt", "tapt"), ("knn_tapt_50", "rand_tapt")},
        *{("knn_tapt_50", "tapt"), ("rand_tapt", "tapt")},
    }
    knn = by_pair["knn_tapt_50", "rand_tapt"]
    assert knn.mean == pytest.approx(0.03 + 0.001 * 2.5)
    assert (knn.n, knn.p, knn.family, knn.p_holm) == (6, 0.03125, 5, pytest.approx(5 * 0.03125))
    assert knn.baseline_mean == pytest.approx(0.53)


def test_pairs_differ_in_nothing_but_the_chain():
    both = runs(
        *[(chain, adversary, seed, value) for chain, adversary, value in
          [("dapt", "none", 0.5), ("dapt", "fgm", 0.6), ("dapt+tapt", "fgm", 0.7)] for seed in (0, 1)]
    )  # fmt: skip
    (only,) = comparisons.contrast(both, contrasts.CONTRASTS)
    assert only.baseline["adversary"] == "fgm" and only.mean == pytest.approx(0.1)


def test_the_page_says_what_a_difference_isolates_and_what_it_is_conditional_on():
    page = contrasts.report(table(["dapt", "dapt+tapt"], shared=True))
    assert "task text after domain text" in page and "given this adaptation" in page and "+0.050" in page
    assert "| 6 |  |  | no claim about the method; better, given this adaptation |" in page
    assert "given" not in contrasts.report(table(["dapt", "dapt+tapt"]))


def test_a_table_without_such_a_pair_is_refused():
    with pytest.raises(NotInTable, match="no two chains"):
        contrasts.report(table(["none", "tapt"]))


def test_two_chains_that_are_one_model_are_said_to_be_the_same_not_to_show_no_difference():
    same = runs(
        *[(chain, "none", seed, 0.5 + 0.01 * seed) for chain in ("knn_tapt_500", "rand_tapt_500") for seed in range(6)],
        *[("dapt", "none", seed, 0.5) for seed in range(6)],
        *[("dapt+tapt", "none", seed, 0.5 + 0.01 * (-1) ** seed) for seed in range(6)],
    )
    readings = [line.split(" | ")[-1] for line in contrasts.report(same).splitlines() if line.startswith("| ")][2:]
    assert [reading.partition(",")[0].removesuffix(" |") for reading in readings] == ["not shown", SAME]
    (one,) = comparisons.contrast(same, [("knn_tapt_500", "rand_tapt_500")])
    assert f"6 pairs): {SAME} (sign-flip p = 1)." in one.verdict()
    (alone,) = comparisons.contrast(same[same["seed"] == 0], [("knn_tapt_500", "rand_tapt_500")])
    assert alone.reading == "no test"


def test_tasks_and_models_stand_under_their_own_names():
    page = contrasts.report(table(["dapt", "dapt+tapt"]).assign(task="jsonl:acl_arc"))
    assert "## ACL-ARC, tiny: macro-F1" in page.splitlines()

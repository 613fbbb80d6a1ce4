"""Which setting is kept, from hand-made frames: only by dev, and over equal grids."""

from __future__ import annotations

import pandas as pd
import pytest

from adapt import results
from analysis import cells, report, tables, tuning
from analysis.pages import tuning as tuning_report
from analysis.tuning import LEARNING_RATE


def runs(*given) -> pd.DataFrame:
    """Runs from (pretrain, learning rate, seed, dev, test) and a dict of further columns."""
    rows = []
    for pretrain, rate, seed, dev, test, *more in given:
        base = dict(source="ours", model="tiny", corpus="none", task="t", pretrain=pretrain, peft="none")
        base |= dict(adversary="none", budget="quick", seed=seed, adaptation=f"{pretrain}-0", attack="none")
        base |= dict(adaptation_seed="0", attack_epsilon=0.0, attack_steps=0, metric="macro_f1", n=10)
        base |= {LEARNING_RATE: rate, "task.metric": "macro_f1"} | (more[0] if more else {})
        base["run_id"] = "-".join(str(base[c]) for c in ("model", "pretrain", LEARNING_RATE, "seed", "adaptation_seed"))
        rows += [base | {"split": "dev", "value": dev}, base | {"split": "test", "value": test}]
        rows += [base | {"split": "dev", "metric": "accuracy", "value": 1 - dev}]
    return results.typed(pd.DataFrame(rows))


GRID = runs(
    ("none", 1e-4, 0, 0.50, 0.90), ("none", 1e-4, 1, 0.52, 0.90), ("none", 1e-3, 0, 0.60, 0.10),
    ("none", 1e-3, 1, 0.58, 0.10), ("dapt", 1e-4, 0, 0.70, 0.20), ("dapt", 1e-4, 1, 0.72, 0.20),
    ("dapt", 1e-3, 0, 0.65, 0.95), ("dapt", 1e-3, 1, 0.73, 0.95),
)  # fmt: skip


def rates(tuned: tuning.Tuned) -> dict[str, float]:
    return tuned.choices.set_index("pretrain")[LEARNING_RATE].to_dict()


def test_the_best_mean_on_dev_is_kept_whatever_test_says() -> None:
    tuned = tuning.chosen(GRID)
    assert rates(tuned) == {"none": 1e-3, "dapt": 1e-4}
    assert set(tuned.rows["run_id"]) == {f"tiny-{p}-{lr}-{s}-0" for p, lr in rates(tuned).items() for s in (0, 1)}
    assert set(tuned.rows["split"]) == {"dev", "test"}  # what is reported afterwards
    by_arm = tuned.choices.set_index("pretrain")
    assert by_arm.loc["none", "dev"] == pytest.approx(0.59) and by_arm.loc["none", "margin"] == pytest.approx(0.08)
    assert by_arm.loc["dapt", "dev"] == pytest.approx(0.71) and by_arm.loc["dapt", "margin"] == pytest.approx(0.02)
    assert by_arm["settings"].tolist() == [2, 2] and by_arm["trials"].tolist() == [4, 4]
    assert list(tuned.choices["pretrain"]) == ["none", "dapt"]
    assert by_arm["end"].to_dict() == {"none": "highest", "dapt": "lowest"}


def test_the_choice_never_looks_at_test() -> None:
    changed = GRID.assign(value=GRID["value"].mask(GRID["split"] == "test", 1 - GRID["value"]))
    assert tuning.chosen(changed).choices.equals(tuning.chosen(GRID).choices)
    assert tuning.chosen(GRID[GRID["split"] == "dev"]).choices.equals(tuning.chosen(GRID).choices)


def test_of_equal_means_the_smaller_setting() -> None:
    table = runs(("none", 1e-3, 0, 0.5, 0.0), ("none", 1e-4, 0, 0.5, 0.0), ("none", 1e-2, 0, 0.4, 0.0))
    assert rates(tuning.chosen(table.sample(frac=1, random_state=0))) == {"none": 1e-4}


def test_another_metric_chooses_by_it() -> None:
    assert rates(tuning.chosen(GRID, metric="accuracy")) == {"none": 1e-4, "dapt": 1e-3}  # accuracy = 1 - macro-F1


def test_what_is_kept_is_one_cell_an_arm() -> None:
    scores = cells.scores(tuning.chosen(GRID).rows)
    assert LEARNING_RATE not in cells.cell_columns(tuning.chosen(GRID).rows)
    assert scores.groupby("pretrain")["value"].mean().to_dict() == pytest.approx({"none": 0.1, "dapt": 0.2})


def test_a_seed_with_several_adaptations_counts_once() -> None:
    second = {"adaptation_seed": "1", "adaptation": "dapt-1"}
    table = runs(
        ("dapt", 1e-4, 0, 0.2, 0.0), ("dapt", 1e-4, 0, 0.4, 0.0, second), ("dapt", 1e-4, 1, 0.9, 0.0),
        ("dapt", 1e-3, 0, 0.5, 0.0), ("dapt", 1e-3, 0, 0.5, 0.0, second), ("dapt", 1e-3, 1, 0.69, 0.0),
    )  # fmt: skip
    # by seeds: 1e-4 (.3 + .9) / 2 = .6, 1e-3 .595; by runs it would be .5 against .563
    assert rates(tuning.chosen(table)) == {"dapt": 1e-4}


def test_two_tuned_settings() -> None:
    rows = [("none", rate, 0, dev, 0.0, {"finetune.epochs": e, "run": f"{rate}-{e}"})
            for rate, e, dev in ((1e-4, 3, 0.1), (1e-4, 6, 0.7), (1e-3, 3, 0.6), (1e-3, 6, 0.2))]  # fmt: skip
    table = runs(*rows)
    table["run_id"] = table.pop("run")
    choice = tuning.chosen(table, by=(LEARNING_RATE, "finetune.epochs")).choices.iloc[0]
    assert (choice[LEARNING_RATE], choice["finetune.epochs"], choice["settings"]) == (1e-4, 6, 4)


def test_baseline_models_are_kept_as_they_are() -> None:
    table = pd.concat([GRID, runs(("none", 1e-3, 0, 0.3, 0.4, {"model": "tfidf"}))])
    tuned = tuning.chosen(results.typed(table))
    assert "tfidf" in set(tuned.rows["model"]) and set(tuned.choices["trials"]) == {4}


def test_arms_with_unequal_grids_are_refused_by_name() -> None:
    table = GRID[~((GRID["pretrain"] == "dapt") & (GRID[LEARNING_RATE] == 1e-3))]
    with pytest.raises(tuning.UnequalBudgets, match=r"not adapted: 0\.0001, 0\.001; DAPT: 0\.0001$"):
        tuning.chosen(table)


def test_settings_with_unequal_seeds_are_refused_by_name() -> None:
    table = GRID[GRID["run_id"] != "tiny-dapt-0.001-1-0"]
    with pytest.raises(tuning.UnequalBudgets, match=r"DAPT: .*\(0\.0001: 2, 0\.001: 1\)"):
        tuning.chosen(table)


def test_a_setting_that_was_not_swept_and_a_missing_dev_score() -> None:
    with pytest.raises(cells.NotInTable, match="no column finetune.dropout"):
        tuning.chosen(GRID, by="finetune.dropout")
    with pytest.raises(cells.NotInTable, match="no dev score of 1 runs, such as .'tiny-none-0.0001-0-0'"):
        tuning.chosen(GRID[(GRID["run_id"] != "tiny-none-0.0001-0-0") | (GRID["split"] == "test")])


def test_a_table_is_settled_where_the_rate_was_swept_and_left_alone_elsewhere() -> None:
    rows, note = tuning.settled(GRID)
    assert rows["run_id"].tolist() == tuning.chosen(GRID).rows["run_id"].tolist()
    assert note == (
        "Learning rate chosen on dev for each arm, among 2 rates in 4 trials each: 0.0001 for DAPT; 0.001 for not "
        "adapted; at an end of the grid, so not shown to be tuned: not adapted, DAPT."
    )
    one_rate = GRID[GRID[LEARNING_RATE] == 1e-4]
    assert tuning.settled(one_rate)[0].equals(one_rate) and not tuning.settled(one_rate)[1]


def test_what_is_trained_is_a_part_of_an_arm_and_of_its_name() -> None:
    def trained(rate: float, dev: float, method: str) -> tuple:
        more = {"peft": method, "peft.learning_rate_factor": 10.0} if method != "none" else {}
        return ("none", rate, 0, dev, 0.0, more)

    table = pd.concat(
        runs(*(trained(*tried, method) for tried in tries)).assign(run_id=lambda t, m=method: t["run_id"] + m)
        for method, tries in {"none": [(1e-4, 0.5), (1e-3, 0.4)], "lora": [(1e-4, 0.5), (1e-3, 0.6)]}.items()
    )
    choices = tuning.chosen(table).choices
    assert choices.set_index("peft")[LEARNING_RATE].to_dict() == {"none": 1e-4, "lora": 1e-3}
    assert "0.0001 for (not adapted, all weights); 0.001 for (not adapted, LoRA); " in tuning.settled(table)[1]
    with pytest.raises(tuning.UnequalBudgets, match="LoRA: 0.001"):
        tuning.chosen(table[(table["peft"] == "none") | (table[LEARNING_RATE] == 1e-3)])


MIDDLE = {"none": (0.1, 0.3, 0.2), "dapt": (0.4, 0.3, 0.2), "tapt": (0.2, 0.3, 0.45)}  # dev at 1e-4, 1e-3, 1e-2


def tasks(count: int) -> pd.DataFrame:
    """Three chains of each task at three rates, two seeds; what DAPT reads follows from the task and the chain."""
    result = []
    for task in range(count):
        rows = [
            (chain, rate, seed, dev, 0.5, {"task": f"t{task}", "corpus": f"c{task}" if chain == "dapt" else "none"})
            for chain, scores in MIDDLE.items()
            for rate, dev in zip((1e-4, 1e-3, 1e-2), scores, strict=True)
            for seed in (0, 1)
        ]
        result.append(runs(*rows).assign(run_id=lambda t, task=task: t["run_id"] + f"-{task}"))
    return pd.concat(result, ignore_index=True)


def test_of_few_arms_each_is_named_by_what_tells_it_apart() -> None:
    note = tuning.settled(tasks(2))[1]
    assert "0.0001 for (t0, DAPT), (t1, DAPT); 0.001 for (t0, not adapted), (t1, not adapted); 0.01 for" in note
    ends = note.partition("at an end of the grid, so not shown to be tuned: ")[2]
    assert sorted(ends.strip("().").split("), (")) == ["t0, DAPT", "t0, TAPT", "t1, DAPT", "t1, TAPT"]
    assert "c0" not in note and "corpus" not in note


def test_of_many_arms_their_numbers_are_said_and_where_they_stand() -> None:
    assert tuning.settled(tasks(5))[1] == (
        "Learning rate chosen on dev for each arm, among 3 rates in 6 trials each: 0.0001 for 5 of 15 arms; 0.001 for "
        "5; 0.01 for 5; at an end of the grid, so not shown to be tuned: 10 arms (each arm's: tuning.md)."
    )
    lower = tasks(5)[lambda t: t["pretrain"] != "tapt"]
    lower = pd.concat([lower, lower.assign(task=lower["task"] + "b", run_id=lower["run_id"] + "b")])
    assert "0.0001 for 10 of 20 arms; 0.001 for 10; 0.01 for none; " in tuning.settled(lower)[1]


def test_the_page_of_rates_has_a_line_an_arm_with_its_margin_and_end() -> None:
    page = tuning_report.report(tasks(5))
    lines = page.splitlines()
    assert "| task | chain | rate | metric | dev | margin | settings | trials | end of the grid |" in lines
    assert "| t0 | not adapted | 0.001 | macro-F1 | 0.300 | 0.100 | 3 | 6 |  |" in lines
    assert "| t4 | DAPT | 0.0001 | macro-F1 | 0.400 | 0.100 | 3 | 6 | lowest |" in lines
    assert "| t4 | TAPT | 0.01 | macro-F1 | 0.450 | 0.150 | 3 | 6 | highest |" in lines
    assert "10 of 15 arms keep the lowest or the highest" in page and len(lines) == 6 + 2 + 15
    one_rate = GRID[GRID[LEARNING_RATE] == 1e-4]
    with pytest.raises(cells.NotInTable, match="one learning rate"):
        tuning_report.report(one_rate)
    with pytest.raises(cells.NotInTable, match="not chosen yet"):
        tuning_report.report(GRID[GRID["run_id"] != "tiny-dapt-0.001-1-0"])


def test_the_page_of_rates_is_among_the_pages_and_in_the_report() -> None:
    table = tasks(2)
    assert dict(tables.pages(table))["tuning.md"] == tuning_report.report(table)
    assert "tuning" in [name for name, _, _ in report.pages.sections(table)]
    assert "tuning.md" not in dict(tables.pages(tuning.settled(table)[0]))


def test_an_unfinished_sweep_is_shown_whole_and_says_so() -> None:
    unfinished = GRID[~((GRID["pretrain"] == "dapt") & (GRID["seed"] == 1) & (GRID[LEARNING_RATE] == 1e-3))]
    rows, note = tuning.settled(unfinished)
    assert rows.equals(unfinished) and "not chosen yet" in note and "different seeds" in note


SEARCH = {results.TUNING: "2 trials of tpe, seed 0, over finetune.optimizer.learning_rate 0.0001 to 0.01 (log)"}
SEARCHED = runs(
    ("none", 1.2e-4, 0, 0.5, 0.9, SEARCH), ("none", 1.2e-4, 1, 0.6, 0.9, SEARCH), ("none", 2e-3, 0, 0.7, 0.1, SEARCH),
    ("none", 2e-3, 1, 0.7, 0.1, SEARCH), ("dapt", 1.2e-4, 0, 0.8, 0.2, SEARCH), ("dapt", 1.2e-4, 1, 0.8, 0.2, SEARCH),
    ("dapt", 5e-3, 0, 0.3, 0.2, SEARCH), ("dapt", 5e-3, 1, 0.3, 0.2, SEARCH), ("none", 1e-3, 0, 0.99, 0.9),
)  # fmt: skip


def test_a_search_has_settings_of_its_own_for_each_arm_and_other_runs_do_not_count() -> None:
    tuned = tuning.chosen(SEARCHED)
    assert rates(tuned) == {"none": 2e-3, "dapt": 1.2e-4}  # not the untuned 1e-3
    assert tuned.choices["settings"].tolist() == [2, 2] and "tuning" not in tuned.choices.columns
    assert set(cells.scores(tuned.rows).groupby("pretrain").size()) == {2}
    assert SEARCH[results.TUNING] in tuning.settled(SEARCHED)[1]
    failed = SEARCHED[~SEARCHED["run_id"].str.startswith("tiny-dapt-0.005")]  # counted in the budget, and has no rows
    assert rates(tuning.chosen(failed)) == {"none": 2e-3, "dapt": 1.2e-4}


def test_arms_that_were_not_searched_alike_are_refused() -> None:
    other = SEARCHED.assign(**{results.TUNING: SEARCHED[results.TUNING].where(SEARCHED["pretrain"] == "none", "9")})
    with pytest.raises(tuning.UnequalBudgets, match="searched differently: 2 trials .* | 9"):
        tuning.chosen(other)
    with pytest.raises(tuning.UnequalBudgets, match="DAPT: was not searched, or not completely"):
        tuning.chosen(other.replace({results.TUNING: {"9": None}}))
    fewer = SEARCHED[(SEARCHED["pretrain"] == "none") | (SEARCHED["seed"] == 0)]
    with pytest.raises(tuning.UnequalBudgets, match="different seeds: not adapted: 0, 1; DAPT: 0"):
        tuning.chosen(fewer)

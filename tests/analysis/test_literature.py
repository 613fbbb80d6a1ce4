"""Published rows, and a study beside them. Numbers by hand."""

import pandas as pd
import pytest
from frames import runs

from adapt import results
from analysis import literature
from analysis.cells import NotInTable
from analysis.stats import paired


def test_published_rows_have_the_schema():
    published = literature.published()
    assert list(published.columns[: len(results.COLUMNS)]) == list(results.COLUMNS)
    assert set(published.columns[len(results.COLUMNS) :]) == {"sd", "n_seeds", "where"}
    assert set(published["source"]) == {"gururangan2020", "beltagy2019_repo_csv"}
    assert published["value"].notna().all() and published["where"].notna().all()
    assert published.loc[published["metric"] != "mlm_loss", "value"].between(0, 1).all()
    assert len(published) == 106 + 25 + 10
    assert not published.duplicated(["source", "model", "corpus", "task", "pretrain", *results.MEASUREMENT_KEY]).any()


def test_a_published_number_by_hand():
    rows = literature.published().query("task == 'chemprot' and pretrain == 'dapt+tapt' and split == 'test'")
    # Gururangan et al. 2020, table 5: ChemProt, DAPT+TAPT, 84.4 (.4)
    assert rows[["value", "sd", "n_seeds", "n"]].to_numpy().tolist() == [[0.844, 0.004, 5, 3469]]


def test_every_citation_key_is_explained():
    text = (literature.PUBLISHED / "README.md").read_text()
    assert all(f"| {key} |" in text for key in literature.published()["source"].unique())


def test_welch_s_interval_by_hand():
    # sd 1 and 2, 4 seeds each: variances .25 and 1, 1.25^2 / (.25^2 / 3 + 1 / 3) = 4.4118 degrees, t = 2.6774
    low, high = paired.welch_interval((10.0, 1.0, 4), (7.0, 2.0, 4))
    assert (low + high) / 2 == pytest.approx(3.0)
    assert (high - low) / 2 == pytest.approx(2.6774 * 1.25**0.5, abs=1e-3)


def test_a_published_difference_is_that_of_the_means():
    rows = literature.differences(literature.published()).set_index(["task", "pretrain"])
    dapt = rows.loc["acl_arc", "dapt"]
    assert dapt["difference"] == pytest.approx(0.754 - 0.630) and dapt["low"] < dapt["difference"] < dapt["high"]
    assert rows.loc["acl_arc", "irrelevant_dapt"]["difference"] == pytest.approx(0.664 - 0.630)
    assert ("rct_500", "knn_tapt_50") not in rows.index  # its model without adaptation was not published


def study(task: str):
    scores = {"none": 0.40, "dapt": 0.46, "knn_tapt_150": 0.43, "dsir": 0.44}
    table = runs(*[(chain, "none", seed, value + 0.001 * seed * (chain == "dapt")) for chain, value in scores.items()
                   for seed in range(3)])  # fmt: skip
    return table.assign(task=task)


def test_a_study_stands_beside_what_was_published_for_its_task():
    lines = [line for line in literature.report(study("jsonl:acl_arc")).splitlines() if line.startswith("| ")][2:]
    assert [line.split(" | ")[0] for line in lines] == ["| DAPT", "| 150NN-TAPT"]  # of DSIR nothing was published
    published, ours, pairs = lines[0].removesuffix(" |").split(" | ")[2:]
    assert published.startswith("+0.124 (") and ours.startswith("+0.061 (") and pairs == "3"
    assert "roberta-base (gururangan2020, Tables 3, 5)" in lines[0]


def test_a_study_of_other_tasks_has_no_such_page():
    with pytest.raises(NotInTable, match="none of the study's tasks"):
        literature.report(study("pydoc_topic"))


def domain_study():
    """Two adaptations of two seeds each; losses stand in every run that was fine-tuned from one."""
    rows = [("none", "none", seed, 0.4) for seed in range(2)]
    rows += [("dapt", "none", seed, 0.5, {"adaptation": f"a{seed % 2}"}) for seed in range(4)]
    table = runs(*rows)
    after = {"a0": 2.75, "a1": 2.25}
    for domain, before in (("corpus", 3.0), ("general", 2.0)):
        losses = table["adaptation"].map(after).fillna(before) + (0 if domain == "corpus" else 0.5)
        losses = losses.where(table["pretrain"] == "dapt", before)
        measured = table[table["metric"] == "macro_f1"].assign(split=f"domains/{domain}", metric="mlm_loss", n=100)
        table = pd.concat([table, measured.assign(value=losses.iloc[:6])], ignore_index=True)
    words = table.iloc[:6].assign(split="words/corpus+general", metric="vocabulary_overlap", value=0.25, n=1234)
    return pd.concat([table, words], ignore_index=True)


def test_losses_and_words_of_domains_stand_beside_the_published_ones():
    lines = [line for line in literature.report(domain_study()).splitlines() if line.startswith("| ")]
    assert "| ours | tiny | domain | domain | 3.00 | 2.50 | -0.50 | 2 |" in lines  # an adaptation counts once
    assert "| ours | tiny | domain | general | 2.00 | 3.00 | +1.00 | 2 |" in lines
    # Gururangan et al. 2020, table 12: biomedical text 1.32 before, .99 after
    assert "| gururangan2020 | roberta-base | biomed | biomed | 1.32 | 0.99 | -0.33 |  |" in lines
    assert "| ours | domain, general | 1,234 | 25.0% |" in lines
    assert "| gururangan2020 | pretraining, news | 10,000 | 54.1% |" in lines
    assert len(lines) == 2 + 2 + 20 + 2 + 1 + 10


def test_domains_of_several_tasks_are_told_apart_by_task_and_corpus():
    files = {"corpus.name": "files", "general.name": "general text"}
    one = domain_study().assign(task="jsonl:acl_arc", **files, **{"corpus.path": "texts/ml.jsonl"})
    other = domain_study().assign(task="u", run_id="u" + one["run_id"], **files, **{"corpus.path": "texts/bio.jsonl"})
    lines = [line for line in literature.report(pd.concat([one, other])).splitlines() if line.startswith("| ")]
    assert "| ours | ACL-ARC | tiny | domain (ml) | domain (ml) | 3.00 | 2.50 | -0.50 | 2 |" in lines
    assert "| ours | u | tiny | domain (bio) | general (general text) | 2.00 | 3.00 | +1.00 | 2 |" in lines
    assert "| gururangan2020 |  | roberta-base | biomed | biomed | 1.32 | 0.99 | -0.33 |  |" in lines
    # as many words are shared in both tasks, and neither line is dropped for it
    assert "| ours | ACL-ARC | domain (ml), general (general text) | 1,234 | 25.0% |" in lines
    assert "| ours | u | domain (bio), general (general text) | 1,234 | 25.0% |" in lines


def test_a_published_task_is_headed_by_its_own_name():
    assert "## ACL-ARC: macro-F1" in literature.report(study("jsonl:acl_arc")).splitlines()


def test_every_number_that_was_handed_over_is_there():
    published = literature.published()
    counts = published.groupby(["source", "metric", "split"]).size().groupby(["source", "metric"]).sum().to_dict()
    assert counts["gururangan2020", "mlm_loss"] == 25 and counts["gururangan2020", "vocabulary_overlap"] == 10
    scores = published[published["metric"].str.endswith("_f1")]
    # sums over the files that were handed over, which are in percent
    assert len(scores) == scores["sd"].count() == 106 and scores["n_seeds"].sum() == 522
    assert 100 * scores["value"].sum() == pytest.approx(8733.4) and 100 * scores["sd"].sum() == pytest.approx(165.45)
    sums = published.groupby("metric")["value"].sum()
    assert (sums["mlm_loss"], 100 * sums["vocabulary_overlap"]) == pytest.approx((44.05, 269.7))

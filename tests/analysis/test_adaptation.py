"""What is read from a study about adaptation, and its figures: planted numbers appear where a reader looks for them."""

from __future__ import annotations

import importlib
import io
import math

import numpy as np
import pandas as pd
import pytest
from adaptation_study import DOMAINS, OVERLAPS, PLANTED, study
from tidy import is_tidy

from analysis import adaptation, cells
from analysis.cells import NotInTable
from analysis.drawing import heat_maps, style
from analysis.figures import learning_vs_forgetting
from analysis.figures.loss_matrix import NOT_SHOWN
from analysis.study import frozen

FIGURES = ["loss_matrix", "vocabulary_overlap", "learning_vs_forgetting", "trajectories"]
MORE = [
    "transfer_tapt",
    "curated_tapt",
    "knn_tapt_50",
    "knn_tapt_150",
    "knn_tapt_500",
    "rand_tapt",
    "dsir",
    "rand_dsir",
]
MANY = {**PLANTED, **{name: (2.9 - i / 20, 2.7 - i / 15, 2.5 + i / 25, 0.6 + i / 150) for i, name in enumerate(MORE)}}
EXTENDED = "vocabulary.new_tokens"


def drawn(name: str, table: pd.DataFrame):
    return importlib.import_module(f"analysis.figures.{name}").figure(table)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return study()


def two_tasks() -> pd.DataFrame:
    return pd.concat([study(MANY, task) for task in ("chemprot", "acl_arc")], ignore_index=True)


# --- what is read ------------------------------------------------------------------------------------------------


def test_an_adapted_model_counts_once_whatever_was_fine_tuned_from_it(table) -> None:
    rows = adaptation.losses(table)
    assert len(rows) == 3 * (1 + 4 * 2)  # domains; the base model, and 4 chains of 2 adaptations
    dapt = rows[(rows["chain"] == "dapt") & (rows["domain"] == "general")]
    assert sorted(dapt["value"]) == pytest.approx([2.9, 2.91]) and (dapt["n"] == 5000).all()


def test_changes_are_against_the_model_that_is_not_adapted(table) -> None:
    rows = adaptation.changes(adaptation.losses(table))
    means = rows.groupby(["chain", "domain"])["change"].mean()
    assert means["tapt", "task"] == pytest.approx(2.1 + 0.005 - 2.8)
    assert means["irrelevant_dapt", "general"] == pytest.approx(2.2 + 0.005 - 2.5)
    assert (rows[rows["pretrain"] == "none"]["change"] == 0).all()


def test_without_a_loss_of_the_base_model_there_is_no_change(table) -> None:
    headless = table[~((table["pretrain"] == "none") & table["split"].str.startswith("domains/"))]
    with pytest.raises(NotInTable, match="no loss of the unadapted model"):
        adaptation.changes(adaptation.losses(headless))


def test_score_gains_are_paired_by_seed(table) -> None:
    rows = adaptation.score_gains(table)
    assert len(rows) == 4 * 2 * 3
    assert rows[rows["chain"] == "dapt+tapt"]["gain"].to_numpy() == pytest.approx(0.06)
    one_seed_less = table[~((table["pretrain"] == "none") & (table["seed"] == 2))]
    assert sorted(adaptation.score_gains(one_seed_less)["seed"].unique()) == [0, 1]


def test_adversarial_fine_tuning_is_no_other_chain_and_no_gain_of_adaptation(table) -> None:
    attacked = table.assign(adversary="fgm", adversary_epsilon="0.1", run_id="a" + table["run_id"])
    moved = attacked.assign(value=attacked["value"].where(attacked["split"] != "test", 0.9))
    both = pd.concat([table, moved], ignore_index=True)
    assert adaptation.losses(both).equals(adaptation.losses(table))
    assert sorted(adaptation.score_gains(both)["gain"]) == pytest.approx(sorted(adaptation.score_gains(table)["gain"]))


def test_methods_of_fine_tuning_share_the_adapted_model_and_each_is_paired_with_its_own(table) -> None:
    moved = table.assign(
        value=table["value"] - 0.1 * (table["split"] == "test"), run_id="l" + table["run_id"], peft="lora"
    )
    both = pd.concat([table, moved], ignore_index=True)
    assert adaptation.losses(both).equals(adaptation.losses(table))
    gains = adaptation.score_gains(both)
    assert len(gains) == 2 * len(adaptation.score_gains(table))
    assert gains[gains["chain"] == "dapt+tapt"]["gain"].to_numpy() == pytest.approx(0.06)
    figure = drawn("learning_vs_forgetting", both)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert any(name.endswith("  DAPT") for name in names) and any(name.endswith("  DAPT, LoRA") for name in names)
    domain, _, score = figure.axes
    assert [len([line for line in panel.get_lines() if _is(line, 4.2)]) for panel in (domain, score)] == [4, 8]


def test_two_settings_of_one_chain_are_two_chains(table) -> None:
    rows = table[table["pretrain"] == "dapt"]
    key = "pretrain.dapt.steps"
    other = rows.assign(run_id="x" + rows["run_id"], adaptation="x" + rows["adaptation"], **{key: 900.0})
    result = adaptation.losses(pd.concat([table.assign(**{key: 800.0}), other], ignore_index=True))
    assert {"DAPT, steps 800", "DAPT, steps 900"} <= set(result["chain"])


def test_losses_over_new_tokens_do_not_stand_beside_others(table) -> None:
    extended = table.assign(**{EXTENDED: np.where(table["pretrain"] == "dapt", 500.0, 0.0)})
    assert "dapt" not in set(adaptation.losses(extended)["chain"])
    only = extended[extended["pretrain"] == "dapt"]
    assert set(adaptation.losses(only)["chain"]) == {"dapt"}


def test_trajectories_of_a_chain_go_on_where_its_first_stage_ended(table) -> None:
    rows = adaptation.trajectories(table)
    chain = rows[(rows["chain"] == "dapt+tapt") & (rows["what"] == "corpus")]
    chain = chain[chain["adaptation"] == "dapt+tapt-0"].sort_values(["at", "stage"])
    assert chain["at"].tolist() == [200, 220, 240]  # its DAPT is that of the chain of DAPT alone
    assert chain["value"].tolist() == pytest.approx([2.2, 2.25, 2.3])
    alone = adaptation.trajectories(table[table["pretrain"] == "dapt+tapt"])
    chain = alone[(alone["what"] == "corpus") & (alone["adaptation"] == "dapt+tapt-0")].sort_values(["at", "stage"])
    assert chain["at"].tolist() == [0, 100, 200, 200, 220, 240]
    assert chain["value"].tolist() == pytest.approx([3.0, 2.6, 2.2, 2.2, 2.25, 2.3])
    assert set(rows[rows["what"] == "dev"]["metric"]) == {"probe_macro_f1"}


def test_words_are_read_once_for_a_task(table) -> None:
    rows = adaptation.overlaps(table)
    assert dict(zip(rows["a"] + "+" + rows["b"], rows["value"], strict=True)) == OVERLAPS
    cuts = adaptation.fertility(table).set_index("domain")
    assert cuts.loc["general", ["tokens_per_word", "whole_words", "n"]].tolist() == [1.2, 0.8, 90000]


@pytest.mark.parametrize("name", FIGURES)
def test_a_study_without_these_rows_has_no_such_figure(table, name) -> None:
    with pytest.raises(NotInTable):
        drawn(name, table[table["split"].isin(["test", "dev"])])


# --- the figures -------------------------------------------------------------------------------------------------


def test_every_cell_of_the_loss_matrix_has_its_number_and_its_colour(table) -> None:
    by_token, by_document = drawn("loss_matrix", table).axes[:2]
    rows = [label.get_text() for label in by_token.get_yticklabels()]
    columns = [label.get_text() for label in by_token.get_xticklabels()]
    assert rows == ["not adapted", "DAPT", "irrelevant DAPT", "TAPT", "DAPT+TAPT"]
    assert "means over 2 seeds of pretraining" in by_token.figure.get_supxlabel().replace("\n", " ")
    assert columns == ["domain text", "task text", "general text"]
    said = {text.get_position(): text.get_text() for text in by_token.texts}
    assert said[0, 0] == "3.000" and said[2, 1] == f"2.905 (+0.405){NOT_SHOWN}"  # two seeds: p is .5
    assert said[1, 3] == f"2.105 (\N{MINUS SIGN}0.695){NOT_SHOWN}"
    assert {text.get_text() for text in by_document.texts} >= {f"3.005 (+0.405){NOT_SHOWN}"}
    colours = np.asarray(by_token.collections[0].get_array()).reshape(5, 3)
    for row, (chain, planted) in enumerate(PLANTED.items()):
        more = 0.0 if chain == "none" else 0.005
        wanted = [planted[i] + more - PLANTED["none"][i] for i in range(len(DOMAINS))]
        assert colours[row] == pytest.approx(wanted)


def test_the_loss_matrix_without_a_trained_base_model_shows_losses_alone(table) -> None:
    headless = table[~((table["pretrain"] == "none") & table["split"].str.startswith("domains/"))]
    figure = drawn("loss_matrix", headless)
    assert len(figure.axes) == 2  # and no bar of colours
    assert all("(" not in text.get_text() for text in figure.axes[0].texts)
    assert "no trained head" in figure.get_supxlabel().replace("\n", " ")


def test_the_colours_of_a_heat_map_are_ordered_by_lightness_and_texts_can_be_read_on_them(table) -> None:
    image = drawn("loss_matrix", table).axes[0].collections[0]
    values = np.linspace(*image.get_clim(), 50)
    grey = image.to_rgba(values)[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(grey) > 0).all()
    linear = ((image.to_rgba(values)[:, :3] + 0.055) / 1.055) ** 2.4 @ [0.2126, 0.7152, 0.0722]
    white = np.array([heat_maps.on(image, value) == "#ffffff" for value in values])
    contrast = np.where(white, 1.05 / (linear + 0.05), (linear + 0.05) / 0.05)
    assert contrast.min() > 3.9  # 4.6 is the most that black or white can have on every grey


def test_overlaps_stand_below_the_diagonal_in_percent(table) -> None:
    left, right = drawn("vocabulary_overlap", table).axes
    said = {text.get_position(): text.get_text() for text in left.texts}
    assert said == {(0, 0): "70.0", (0, 1): "25.0", (1, 1): "20.0"}
    assert [label.get_text() for label in left.get_xticklabels()] == ["domain text", "task text"]
    assert [label.get_text() for label in left.get_yticklabels()] == ["task text", "general text"]
    bars = {round(bar.get_y() + 0.3): bar.get_width() for bar in right.patches}
    assert bars == {0: 1.6, 1: 1.5, 2: 1.2}  # in the order of the labels
    assert [label.get_text() for label in right.get_yticklabels()] == ["domain text", "task text", "general text"]
    assert right.texts[0].get_text() == "1.60, 55% of words whole"


def test_learning_stands_against_forgetting_with_every_seed(table) -> None:
    figure = drawn("learning_vs_forgetting", table)
    domain, _, score = figure.axes
    chains = [chain for chain in PLANTED if chain != "none"]
    for panel, gains, seeds in ((domain, [-0.795, 0.105, -0.195, -0.695], 2), (score, [0.04, -0.02, 0.03, 0.06], 6)):
        large = {line.get_xydata()[0][1]: line.get_xydata()[0][0] for line in panel.get_lines() if _is(line, 4.2)}
        wanted = [-gain for gain in gains] if panel is domain else gains
        assert sorted(large) == pytest.approx(sorted(wanted))
        forgotten = [PLANTED[chain][2] + 0.005 - PLANTED["none"][2] for chain in chains]
        assert sorted(large.values()) == pytest.approx(sorted(forgotten))
        small = [line for line in panel.get_lines() if _is(line, 2.2)]
        assert [len(line.get_xdata()) for line in small] == [seeds] * 4
        assert sorted(text.get_text() for text in panel.texts) == ["1", "2", "3", "4"]
    assert domain.get_xlabel() == "nats lost on general text"
    assert score.get_ylabel() == "macro-F1 gained on test"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "1  DAPT" in names and "4  DAPT+TAPT" in names
    note = figure.get_supxlabel().replace("\n", " ")
    assert "2 seeds of pretraining" in note and "3 seeds of fine-tuning" in note


def test_seeds_stand_behind_the_chains_where_they_differ(table) -> None:
    fewer = table[~((table["pretrain"] == "dapt") & (table["adaptation_seed"] == "1"))]
    for name in ("learning_vs_forgetting", "trajectories"):
        names = [text.get_text() for text in drawn(name, fewer).legends[0].get_texts()]
        assert any("DAPT (1" in one for one in names) and any("TAPT (2" in one for one in names)
    rows = [label.get_text() for label in drawn("loss_matrix", fewer).axes[0].get_yticklabels()]
    assert rows[:4] == ["not adapted", "DAPT (1)", "irrelevant DAPT (2)", "TAPT (2)"]


def test_a_change_that_the_test_does_not_show_is_hollow_and_marked() -> None:
    """Six seeds of pretraining, whose changes on general text all have one sign; on the domain DAPT's do not."""
    planted = {"none": (3.0, 2.8, 2.5, 0.60), "dapt": (3.0, 2.5, 2.9, 0.64)}
    parts = []
    for seed in range(6):
        one = study(planted)
        one = one[(one["adaptation_seed"].isin(["none", "0"])) & (one["seed"] == 0)]
        moved = (one["split"] == "domains/corpus") & (one["pretrain"] == "dapt")
        one = one.assign(value=one["value"] + moved * 0.1 * (-1) ** seed, run_id=one["run_id"] + f"s{seed}", seed=seed)
        of_model = one["pretrain"] != "none"
        parts.append(one.assign(adaptation=one["adaptation"].mask(of_model, f"dapt-{seed}"),
                                adaptation_seed=one["adaptation_seed"].mask(of_model, str(seed))))  # fmt: skip
    six = pd.concat(parts, ignore_index=True)
    said = {text.get_position(): text.get_text() for text in drawn("loss_matrix", six).axes[0].texts}
    assert said[0, 1].endswith(NOT_SHOWN) and not said[1, 1].endswith(NOT_SHOWN)
    domain, task, score = drawn("learning_vs_forgetting", six).axes
    faces = [next(line for line in panel.get_lines() if _is(line, 4.2)).get_markerfacecolor() for panel in
             (domain, task, score)]  # fmt: skip
    assert faces == ["white", style.USUAL["dapt"], style.USUAL["dapt"]]


@pytest.mark.parametrize(("adaptations", "shown"), [(6, True), (1, False), (3, False)])
def test_a_gain_in_score_is_shown_only_over_adaptations(adaptations: int, shown: bool) -> None:
    """Six seeds that all gain: seeds on one adapted model share its luck, and three adaptations are too few."""
    of = [str(seed % adaptations) for seed in range(6)]
    gains = {"seed": range(6), "gain": [0.01 * (seed + 1) for seed in range(6)]}
    points = pd.DataFrame(gains | {"adaptation": [f"dapt-{one}" for one in of], "adaptation_seed": of})
    assert learning_vs_forgetting._differs(points) == shown


def test_without_scores_learning_is_of_losses_alone(table) -> None:
    figure = drawn("learning_vs_forgetting", table[table["split"] != "test"])
    assert len(figure.axes) == 2
    assert "1  DAPT" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_trajectories_have_a_line_a_chain_and_stage_and_thin_ones_for_seeds(table) -> None:
    panels = drawn("trajectories", table).axes
    titles = [panel.get_title(loc="left") for panel in panels]
    assert titles == ["loss, domain text", "loss, task text", "loss, general text", "probe, dev macro-F1"]
    thick = [line for line in panels[2].get_lines() if line.get_linewidth() == 0.9]
    curves = sorted((list(line.get_xdata()), [round(y, 6) for y in line.get_ydata()]) for line in thick)
    assert ([0, 20, 40], [2.505, 2.555, 2.605]) in curves and ([200, 220, 240], [2.905, 2.955, 3.005]) in curves
    assert len(thick) == 4  # the first stage of DAPT+TAPT is drawn as DAPT
    assert len([line for line in panels[2].get_lines() if line.get_linewidth() == 0.4]) == 2 * 4
    shapes = {line.get_color(): line.get_marker() for line in thick}
    assert len(set(shapes.values())) == len(shapes) == 4  # told apart in grey too


def _is(line, size: float) -> bool:
    return line.get_marker() == "o" and line.get_markersize() == size


def one_seed(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["seed"] == 0) & table["adaptation_seed"].isin(["none", "0", "0+0"])]


STUDIES = {
    "five chains": study,
    "one seed": lambda: one_seed(study()),
    "many chains": lambda: study(MANY),
    "two tasks": two_tasks,
}


@pytest.mark.parametrize("made", STUDIES)
@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off_and_no_label_lies_on_another(name, made) -> None:
    is_tidy(drawn(name, STUDIES[made]()))


def test_the_same_bytes_from_the_csv_alone(table, tmp_path) -> None:
    frozen.save(table, tmp_path / "results.csv")
    read = frozen.load(tmp_path / "results.csv")
    for name in FIGURES:
        assert _bytes(drawn(name, table)) == _bytes(drawn(name, read))


def _bytes(figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="pdf", metadata={"CreationDate": None})
    return stream.getvalue()


def test_names_of_chains_stand_in_the_papers_way_and_order() -> None:
    names = sorted(["knn_tapt_500", "tapt", "knn_tapt_50", "none", "dapt+tapt", "knn_tapt_150"], key=cells.rank)
    assert [cells.display(name) for name in names] == [
        "none",
        "50NN-TAPT",
        "150NN-TAPT",
        "500NN-TAPT",
        "TAPT",
        "DAPT+TAPT",
    ]


def test_tasks_of_the_literature_have_their_names_and_a_folder_its_own() -> None:
    named = [cells.display(name) for name in ("jsonl:acl_arc", "chemprot", "jsonl:my_task", "pydoc_topic")]
    assert named == ["ACL-ARC", "ChemProt", "jsonl:my task", "pydoc topic"]


def test_an_option_is_told_apart_by_its_name_before_its_settings() -> None:
    runs = pd.DataFrame({name: ["x", "x"] for name in cells.MAIN_COLUMNS})
    settings = {"pretrain_peft.inherit": ["merge", "stack"], "pretrain_peft.name": ["lora", "prompt"]}
    table = runs.assign(run_id=["1", "2"], **settings)
    assert cells.cell_columns(table) == [*cells.MAIN_COLUMNS, "pretrain_peft.name"]
    assert cells.heading("pretrain_peft.name") == "pretrain_peft"
    assert cells.heading("finetune.optimizer.learning_rate") == "learning_rate"
    assert cells.cell_label(table.iloc[0], ["pretrain_peft.name"]) == "adapted by LoRA"
    whole = table.iloc[0].copy()
    whole["pretrain_peft.name"] = math.nan
    assert cells.cell_label(whole, ["pretrain_peft.name"]) == "adapted by all weights"
    whole["pretrain"] = "none"
    assert cells.cell_label(whole, ["pretrain", "pretrain_peft.name"]) == "not adapted"

"""A cell of a study: the runs that differ only in their seeds. And the scores by which cells are compared."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pandas as pd

from adapt.results import COLUMNS, TUNING, metrics

MAIN_COLUMNS = ["model", "task", "pretrain", "adversary"]
FURTHER = ["source", "corpus", "peft", "finetune.method", "budget", "adversary_epsilon", "adversary_steps"]
SEEDS = ["seed", "adaptation", "adaptation_seed"]
METRICS = list(metrics.METRICS)  # the first that a task has is the task's, where the table does not say

ADAPTED_BY = "pretrain_peft.name"  # the method that the pretraining stages trained; missing where all weights
_RELEASED = "_as_released"  # suffix of an adversary that follows its authors' code rather than their paper
_PLAIN = re.compile(r"none(?:_x(\d+))?")  # plain training, and plain training for several times the steps
_NONES = {"pretrain": "not adapted", "adversary": "plain", "peft": "all weights", "corpus": "no corpus"}

# How a reader writes the names of methods, chains, tasks and metrics.
NAMES = {"dapt": "DAPT", "tapt": "TAPT", "tfidf": "TF-IDF"}
NAMES |= {name: metric.title for name, metric in metrics.METRICS.items()}
NAMES |= {name: error.title for name, error in metrics.CALIBRATION.items()}
NAMES |= {"lora": "LoRA", "dora": "DoRA", "adalora": "AdaLoRA", "qlora": "QLoRA", "int8_lora": "LoRA, int8 base"}
NAMES |= {"vera": "VeRA", "ia3": "(IA)\N{SUPERSCRIPT THREE}", "bitfit": "BitFit", "llama_adapter": "LLaMA-Adapter"}
NAMES |= {"p_tuning_lstm": "P-tuning (LSTM)", "p_tuning_mlp": "P-tuning (MLP)"}
NAMES |= {"prefix_projection": "prefix (projected)", "bottleneck_houlsby": "bottleneck (Houlsby)"}
NAMES |= {"bottleneck_pfeiffer": "bottleneck (Pfeiffer)"}
NAMES |= {"fgm": "FGM", "fgsm": "FGSM", "pgd": "PGD", "vat": "VAT", "free_at": "FreeAT", "r3f": "R3F"}
NAMES |= {"freelb": "FreeLB", "freelb_plus_plus": "FreeLB++", "smart": "SMART", "alum": "ALUM", "sift": "SiFT"}
NAMES |= {"tavat": "TAVAT", "creat": "CreAT", "neftune": "NEFTune", "rdrop": "R-Drop", "awp": "AWP"}
NAMES |= {"pseudo_labelled": "pseudo-labelled", "random": "random direction"}
NAMES |= {"irrelevant_dapt": "irrelevant DAPT", "transfer_tapt": "transfer-TAPT", "curated_tapt": "curated-TAPT"}
NAMES |= {f"knn_tapt_{k}": f"{k}NN-TAPT" for k in (50, 150, 500)} | {"knn_tapt_states": "kNN-TAPT (states)"}
NAMES |= {"rand_tapt": "RAND-TAPT", "dsir": "DSIR", "rand_dsir": "RAND-DSIR"}
NAMES |= {f"rand_tapt_{k}": f"RAND-TAPT ({k})" for k in (150, 500)} | {"knn_tapt_sentences": "kNN-TAPT (sentences)"}
NAMES |= {"acl_arc": "ACL-ARC", "chemprot": "ChemProt", "sciie": "SciERC"}  # by the names of their files


class NotInTable(ValueError):
    """The table lacks the rows that were asked for: says which."""


def cell_columns(table: pd.DataFrame) -> list[str]:
    """The columns that tell the cells apart: MAIN_COLUMNS, and any other that splits the cells of those before it.

    Every setting of the config counts except seeds, so that two settings are never averaged by mistake.
    """
    runs = table.drop_duplicates("run_id")
    config = [c for c in set(table.columns) - {*COLUMNS, *FURTHER, TUNING} if not c.endswith("seed")]
    config.sort(key=lambda c: (not c.endswith(".name"), c))  # an option's name says more than one of its settings
    columns = list(MAIN_COLUMNS)
    cell = runs.groupby(columns, dropna=False).ngroup().to_numpy()
    for candidate in varying(runs, [c for c in FURTHER + config if c in runs.columns]):
        value = pd.factorize(runs[candidate], use_na_sentinel=False)[0]
        finer, parts = pd.factorize(cell * (value.max() + 1) + value)
        if len(parts) > len(np.unique(cell)):
            columns.append(candidate)
            cell = finer
    return columns


def is_baseline_model(table: pd.DataFrame) -> pd.Series:
    """Which rows belong to a reference rather than a method: TF-IDF, or a linear probe beside full training."""
    reference = table["model"] == "tfidf"
    if "finetune.method" in table.columns and table.loc[~reference, "finetune.method"].nunique() > 1:
        reference |= table["finetune.method"] == "linear_probe"
    return reference


def reference_names(rows: pd.DataFrame) -> pd.Series:
    """What to call each row of a baseline model: 'TF-IDF', 'linear probe', 'linear probe (DAPT)'."""
    names = rows["model"].map(display).where(rows["model"] == "tfidf", "linear probe")
    adapted = rows["pretrain"] != "none"
    return names.mask(adapted, names + " (" + rows["pretrain"].map(display) + ")").rename("reference")


def scores(
    table: pd.DataFrame, epsilon: float | None = None, metric: str | None = None, split: str = "test"
) -> pd.DataFrame:
    """One row per run: run_id, the cell's columns, SEEDS, metric, value, n; clean, or attacked with ``epsilon``.

    The default metric is the task's own if clean, and accuracy under attack (the task's own if there is none). Scores
    that are ``in_another_unit`` are left out. The rows are ordered. Raises NotInTable.
    """
    columns = cell_columns(table)
    shown = ["run_id", *columns, *SEEDS, "metric", "value", "n"]
    rows = table[[*shown, "split", "attack", "attack_epsilon", "attack_steps"]]
    rows = rows.assign(wanted=metric or _task_metric(table))[(rows["split"] == split) & ~in_another_unit(table)]
    rows = rows[rows["attack"] == "none"] if epsilon is None else _attacked(rows, epsilon)
    if epsilon is not None and metric is None and (rows["metric"] == "accuracy").any():
        rows = rows.assign(wanted="accuracy")
    rows = rows[rows["metric"] == rows["wanted"]]
    if rows.empty:
        what = "clean rows" if epsilon is None else f"rows under attack with epsilon {epsilon:g}"
        raise NotInTable(f"no {what} of split {split} with {metric or 'the metric of the task'}")
    return ordered(rows[shown], [*columns, "seed", "adaptation"])


def in_another_unit(table: pd.DataFrame) -> pd.Series:
    """Which rows hold one of METRICS in percent where other runs of their source and task hold it as a share.

    A run's scores in a metric are in percent if any is above 1. Where all runs agree, no row is in another unit.
    """
    above = table["metric"].isin(METRICS) & (table["value"] > 1)
    if not above.any():
        return above
    of_run = table["run_id"] + "|" + table["metric"]
    percent = of_run.isin(of_run[above].unique())
    context = table["source"] + "|" + table["task"] + "|" + table["metric"]
    return percent & context.isin(context[~percent].unique())


def epsilons(table: pd.DataFrame) -> list[float]:
    """The radii above 0 of the study's attack on embeddings on test, ascending."""
    radii = table.loc[(table["attack"] == study_attack(table)) & (table["split"] == "test"), "attack_epsilon"]
    return sorted(radii[radii > 0].unique().tolist())


def attack_steps(table: pd.DataFrame, epsilon: float) -> set[int]:
    """The numbers of steps that the study's attack has at one radius."""
    return {int(steps) for steps in _attacked(table[table["split"] == "test"], epsilon)["attack_steps"]}


def reference_epsilon(table: pd.DataFrame) -> float:
    """The radius to report where only one is reported: the (lower) middle of the grid. Raises NotInTable.

    It depends only on the grid, never on the scores.
    """
    grid = epsilons(table)
    if not grid:
        raise NotInTable("no rows under attack")
    return grid[(len(grid) - 1) // 2]


def radii(table: pd.DataFrame) -> list[float | None]:
    """Where methods are compared: clean (None) and, in a study with an attack, at the reference radius."""
    return [None, reference_epsilon(table)] if epsilons(table) else [None]


def study_attack(table: pd.DataFrame) -> str:
    """The attack whose rows are the robust scores: the ensemble (never its members' own rows), PGD, or the only one."""
    attacks = set(filter(_is_on_embeddings, table["attack"].unique()))
    return next((name for name in ("ensemble", "pgd") if name in attacks), min(attacks, default="none"))


def radius_label(table: pd.DataFrame) -> str:
    """The label of an axis of attack radii, with their unit where the table says it."""
    relative = table.get("evaluate.attack.ball.relative", pd.Series(dtype=object)).dropna()
    unit = " (median embedding norms)" if len(relative) and relative.astype(bool).all() else ""
    return f"attack radius $\\epsilon${unit}"


def plain_length(adversary: str) -> int | None:
    """The length of plain training, in multiples of its steps: 1 for 'none', 3 for 'none_x3', None for an adversary."""
    match = _PLAIN.fullmatch(adversary)
    return int(match[1] or 1) if match else None


def ordered(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The rows in display order: names by ``rank``, numbers by size."""

    def ranks(values: pd.Series) -> pd.Series:
        if pd.api.types.is_numeric_dtype(values):
            return values
        places, names = pd.factorize(values, use_na_sentinel=False)
        ranked = list(map(rank, names))
        order = {of: place for place, of in enumerate(sorted(set(ranked)))}
        return pd.Series(np.array([order[of] for of in ranked], dtype=np.intp)[places], index=values.index)

    return rows.sort_values(columns, key=ranks, kind="stable", ignore_index=True)


def rank(value: Any) -> tuple[int, int, str]:
    """A sort key for names: 'none', then plain training by its length, then by number of stages and by name.

    Numbers within names are compared as numbers: knn_tapt_50 comes before knn_tapt_150.
    """
    length = plain_length(str(value))
    name = re.sub(r"\d+", lambda digits: digits[0].zfill(9), str(value))
    return (1, name.count("+"), name) if length is None else (0, length, "")


def display(value: Any) -> str:
    """A name as a reader writes it: 'dapt+tapt' -> 'DAPT+TAPT', 'macro_f1' -> 'macro-F1', 100.0 -> '100'."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:g}"
    return "+".join(map(_name, str(value).split("+")))


def heading(column: str) -> str:
    """The short name of a column of settings: 'learning_rate', 'pretrain_peft' for the name of that option."""
    return column.removesuffix(".name").rpartition(".")[2]


def cell_label(cell: pd.Series, columns: list[str]) -> str:
    """A cell's label by the given columns: 'DAPT, FGM, steps 200'."""
    adapted = cell.get("pretrain", "none") != "none"
    values = {column: "none" if column == ADAPTED_BY and adapted else math.nan for column in columns}
    values |= {column: cell[column] for column in columns if not pd.isna(cell[column])}
    return ", ".join(_said(column, value) for column, value in values.items() if not pd.isna(value))


def keys(rows: pd.DataFrame) -> pd.Series:
    """The key of each row's cell, equal for rows of one cell; rows: as ``scores`` gives them."""
    return rows[cell_columns(rows)].apply(key, axis=1)


def key(cell: pd.Series) -> str:
    """A cell's key: a text that is equal for equal cells."""
    return "|".join(map(str, cell))


def varying(rows: pd.DataFrame, columns: list[str]) -> list[str]:
    """The columns in which the rows differ."""
    return [c for c in columns if rows[c].nunique(dropna=False) > 1]


def series(rows: pd.DataFrame) -> pd.Series:
    """The rest of each row's cell in words, for figures where the adversary has a shape or panel and this a colour.

    rows: as ``scores`` gives them. If only the chain varies, it is the chain's short name.
    """
    rest = varying(rows, [c for c in cell_columns(rows) if c not in {"model", "task", "adversary"}])
    return rows["pretrain"] if rest in ([], ["pretrain"]) else rows.apply(cell_label, axis=1, columns=rest)


def series_label(name: str) -> str:
    """A series as a legend writes it."""
    return _said("pretrain", name)


def method_label(name: str) -> str:
    """The fine-tuning method as a legend writes it: 'LoRA', or 'all weights' for 'none'."""
    return _said("peft", name)


def adversary_label(name: str) -> str:
    """An adversary as a legend writes it."""
    return _said("adversary", name)


def _name(part: str) -> str:
    length, name = plain_length(part), part.removesuffix(_RELEASED)
    if length is not None and part != "none":
        return f"plain x{length}"
    own = name.rpartition(":")[2]  # of 'jsonl:acl_arc', a task that is read from a folder
    return NAMES.get(own, name.replace("_", " ")) + (" as released" if part.endswith(_RELEASED) else "")


def _said(column: str, value: Any) -> str:
    if column == ADAPTED_BY:
        return f"adapted by {_said('peft', value)}"
    if value == "none" and column in _NONES:
        return _NONES[column]
    named = column in {*MAIN_COLUMNS, "corpus", "peft", "finetune.method"}  # their values speak for themselves
    return display(value) if named else f"{display(heading(column))} {display(value)}"


def _task_metric(table: pd.DataFrame) -> pd.Series:
    """The metric of each row's task."""
    if "task.metric" not in table.columns:
        table = table.assign(**{"task.metric": None})
    if table["task.metric"].notna().all():
        return table["task.metric"]
    clean = table[(table["attack"] == "none") & table["metric"].isin(METRICS)]
    # The runs that say their task's metric have rows of all metrics, which would tell nothing about the others.
    clean = clean[clean["task.metric"].isna() | (clean["metric"] == clean["task.metric"])]
    first = clean["metric"].map(METRICS.index).groupby(clean["task"]).min().map(dict(enumerate(METRICS)))
    return table["task.metric"].fillna(table["task"].map(first))


def _on_embeddings(rows: pd.DataFrame) -> pd.Series:
    """Which rows belong to an attack whose epsilon is a radius.

    The epsilon of an attack on the text is a share of words; rows of checks ('check:<name>', 'checks') are not scores.
    """
    return rows["attack"].isin([name for name in rows["attack"].unique() if _is_on_embeddings(name)])


def _is_on_embeddings(attack: str) -> bool:
    return attack not in ("none", "checks") and not attack.startswith(("text:", "check:"))


def _attacked(rows: pd.DataFrame, epsilon: float) -> pd.DataFrame:
    """The rows under the study's attack at one radius; where there are several numbers of steps, the largest."""
    rows = rows[(rows["attack"] == study_attack(rows)) & _on_embeddings(rows) & (rows["attack_epsilon"] == epsilon)]
    return rows[rows["attack_steps"] == rows.groupby("run_id")["attack_steps"].transform("max")]

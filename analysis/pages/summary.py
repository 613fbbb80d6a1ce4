"""A study's results in plain text: one row per cell, and what can be said about the differences."""

from __future__ import annotations

import math

import pandas as pd

from analysis import cells, comparisons, texts, tuning
from analysis.caveats import caveats
from analysis.comparisons import Comparison

COSTS = ["train_seconds", "pretrain_train_seconds", "forward_passes", "backward_passes", "delta_backward_passes"]


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row per cell: its columns, seeds, adaptations, metric, mean and sd over seeds of each score, mean costs.

    Costs are those of fine-tuning; 'pretrain_train_seconds' is the time of the pretraining stages, which runs may
    share. Scores: 'clean' and 'clean_sd' (the task's metric on test), 'robust@<epsilon>' and its sd, and, if some test
    examples also occur in a run's training text, 'unleaked' (on the others). If those lack a class, a mean over classes
    of the one does not compare with that of the other: 'same classes' is the clean score over the classes of the
    unleaked examples. sd is NaN for one seed.
    """
    if table.empty:
        raise cells.NotInTable("the table has no rows")
    columns = cells.cell_columns(table)
    clean = cells.scores(table)
    adapted = clean["adaptation"].where(clean["adaptation"] != "none")
    groups = clean.assign(adaptation=adapted).groupby(columns, sort=False, dropna=False)
    parts = [groups["seed"].nunique().rename("seeds"), groups["adaptation"].nunique().rename("adaptations")]
    parts += [groups["metric"].first(), *_moments(clean, columns, "clean")]
    if len(unleaked := _unleaked(table)):
        parts += _moments(unleaked, columns, "unleaked")
        if len(same := _on_equal_classes(table, clean)):
            parts += _moments(same, columns, "same classes")
    for epsilon in cells.epsilons(table):
        parts += _moments(cells.scores(table, epsilon), columns, f"robust@{epsilon:g}")
    adapting = table["split"] != "train"  # a pretraining stage's costs stand under its own name
    costs = table.assign(metric=table["metric"].mask(adapting, "pretrain_" + table["metric"]))
    costs = costs[costs["metric"].isin(COSTS)]
    totals = costs.groupby([*columns, "run_id", "metric"], dropna=False)["value"].sum()
    means = totals.groupby([*columns, "metric"], dropna=False).mean().unstack()
    parts += [means[cost] for cost in COSTS if cost in means.columns]
    return pd.concat(parts, axis=1).reindex(groups.size().index).reset_index()


def format_summary(table: pd.DataFrame) -> str:
    """What a run or a sweep prints at its end: scores by cell, differences to the baseline, texts and caveats."""
    table, choice = tuning.settled(table)
    cell_table = summary(table)
    columns = cells.cell_columns(table)
    fixed = [c for c in columns if cell_table[c].nunique(dropna=False) == 1]
    shown = cell_table[[c for c in columns if c not in fixed] or columns[2:4]].map(cells.display)
    shown.columns = [cells.heading(c) for c in shown.columns]
    shown["seeds"] = cell_table["seeds"]
    for score in [c for c in cell_table.columns if f"{c}_sd" in cell_table.columns]:
        moments = zip(cell_table[score], cell_table[f"{score}_sd"], strict=True)
        shown[score] = [_mean_sd(mean, sd) for mean, sd in moments]
    for cost, heading in (("train_seconds", "train s"), ("pretrain_train_seconds", "adapt s")):
        if cost in cell_table.columns:
            shown[heading] = ["" if math.isnan(seconds) else f"{seconds:.1f}" for seconds in cell_table[cost]]
    metric = " and ".join(cells.display(m) for m in cell_table["metric"].unique())
    context = ", ".join(cells.display(cell_table[c].iloc[0]) for c in ("task", "model") if c in fixed)
    heading = f"{context + ': ' if context else ''}{metric} on test, mean (sd) over seeds{_attack_in_words(table)}"
    heading += _unleaked_in_words(table)
    parts = [heading, _aligned(shown), *_differences(table), choice, texts.texts_read(table)]
    parts.append("\n".join(caveats(table)))
    return "\n\n".join(part for part in parts if part)


def _moments(scores: pd.DataFrame, columns: list[str], name: str) -> list[pd.Series]:
    # A seed that was fine-tuned on several adaptations counts once, with its mean, as in the comparisons.
    seeds = scores.groupby([*columns, "seed"], dropna=False)["value"].mean().groupby(columns, dropna=False)
    return [seeds.mean().rename(name), seeds.std().rename(f"{name}_sd")]


def _unleaked(table: pd.DataFrame) -> pd.DataFrame:
    """The scores on the clean part of test; empty if that part is all of test in every run."""
    if not (table["split"] == "test_clean").any():
        return table[:0]
    part, whole = cells.scores(table, split="test_clean"), cells.scores(table)
    return part[:0] if (part["n"] == part["run_id"].map(whole.set_index("run_id")["n"])).all() else part


def _on_equal_classes(table: pd.DataFrame, clean: pd.DataFrame) -> pd.DataFrame:
    """The clean scores over the classes of the unleaked examples; empty if these have all classes in every run."""
    rows = table[(table["split"] == "test_clean") & (table["attack"] == "none")]
    named = "whole_" + rows["run_id"].map(clean.set_index("run_id")["metric"])
    values = rows[rows["metric"] == named].set_index("run_id")["value"]
    return clean[:0] if values.empty else clean.assign(value=clean["run_id"].map(values).fillna(clean["value"]))


def _unleaked_in_words(table: pd.DataFrame) -> str:
    part = _unleaked(table)
    examples = " or ".join(str(n) for n in sorted(part["n"].dropna().unique()))
    same = _on_equal_classes(table, cells.scores(table)) if examples else part
    lacking = "; same classes: on all examples, over the classes that those have" * bool(len(same))
    return f"; unleaked: on the {examples} examples that no training text holds{lacking}" if examples else ""


def _aligned(table: pd.DataFrame) -> str:
    """The table as text, columns two spaces apart: words flush left, numbers flush right."""
    columns = []
    for name in table.columns:
        column = table[name].astype("str").tolist()
        words = any(letter.isalpha() for cell in column for letter in cell)
        width = max(map(len, [name, *column]))
        columns.append([cell.ljust(width) if words else cell.rjust(width) for cell in [name, *column]])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def _mean_sd(mean: float, sd: float) -> str:
    if math.isnan(mean):
        return ""
    return f"{mean:.3f}" if math.isnan(sd) else f"{mean:.3f} ({sd:.3f})"


def _attack_in_words(table: pd.DataFrame) -> str:
    if not (grid := cells.epsilons(table)):
        return ""
    rows = cells.scores(table, grid[0])
    steps = sorted(cells.attack_steps(table, grid[0]))
    metric = " and ".join(cells.display(m) for m in rows["metric"].unique())
    examples = " or ".join(str(n) for n in sorted(rows["n"].dropna().unique()))
    ensemble = " by an ensemble" if cells.study_attack(table) == "ensemble" else ""
    return f"; robust@epsilon: {metric} under attack{ensemble}, {steps[-1]} steps, on {examples} examples"


def _differences(table: pd.DataFrame) -> list[str]:
    """The paired differences as text: clean, and under attack at the reference radius."""
    blocks = []
    for epsilon, family in comparisons.compare_each(table).items():
        groups = comparisons.by_context(family)
        blocks += [_block(compared, epsilon, len(groups)) for compared in groups]
    return blocks


def _block(compared: list[Comparison], epsilon: float | None, blocks: int) -> str:
    """The differences of one context as text; blocks: how many blocks belong to the same family."""
    rows = [
        {
            "method": c.method,
            "difference": f"{c.mean:+.3f}",
            "95% t interval": "" if c.n < 2 else "{:+.3f} to {:+.3f}".format(*c.t_interval),
            "pairs": c.pairs,
            "p": "" if math.isnan(c.p) else f"{c.p:.2g}",
            "Holm": "" if math.isnan(c.p) else f"{c.p_holm:.2g}",
            "reading": c.reading_in_full,
        }
        for c in compared
    ]
    against = " / ".join(dict.fromkeys(c.against for c in compared))
    what = "clean" if epsilon is None else f"under attack, epsilon {epsilon:g}"
    heading = (
        f"Difference to '{against}', {cells.display(compared[0].metric)}, {what}; p: exact sign-flip test over seeds"
    )
    if blocks > 1:
        of_all = f"; Holm: over the {compared[0].family} comparisons of {blocks} such blocks"
        heading = f"{compared[0].context_label}: {heading}" + of_all * (compared[0].family > 1)
    return f"{heading}\n{_aligned(pd.DataFrame(rows))}"

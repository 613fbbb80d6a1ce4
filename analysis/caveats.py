"""What a reader of a table must know before believing it."""

from __future__ import annotations

import itertools

import pandas as pd

from analysis import cells, comparisons, texts
from analysis.cells import NotInTable


def caveats(table: pd.DataFrame) -> list[str]:
    """What a reader of the table must know, one sentence each.

    Rows of a dirty tree, several commits, devices or versions, only one seed, several runs for one seed, scores in
    another unit, runs without a score, texts that are mostly unknown or in another split, attacks that tried nothing,
    failed checks, and missing runs.
    """
    runs = table.drop_duplicates("run_id")
    notes = [
        *_provenance(runs),
        *_devices(table),
        *_one_seed(runs),
        *_repeated(table),
        *_units(table),
        *_without_score(table),
    ]
    notes += texts.notes(table)
    return notes + _failed_checks(table) + [f"Note: missing {gap}." for gap in missing(table)]


def missing(table: pd.DataFrame) -> list[str]:
    """Runs that the study seems to lack: seeds that other cells of the same model have, and whole cells.

    The cell of a chain and an adversary counts as missing only if both are crossed elsewhere: the chain with another
    adversary, and the adversary with another chain. (If all chains are trained only plainly, nothing is missing.)
    """
    gaps = []
    table = table[~cells.is_baseline_model(table)]
    columns = cells.cell_columns(table)
    runs = cells.ordered(table.drop_duplicates("run_id"), columns)
    varying = cells.varying(runs, columns)
    for _, group in runs.groupby(["model", "task"], sort=False):
        seeds = set(group["seed"].dropna())
        for _, cell in group.groupby(columns, sort=False, dropna=False):
            lacking = sorted(seeds - set(cell["seed"]))
            if lacking:
                gaps.append(f"{cells.cell_label(cell.iloc[0], varying)}: {_seeds(lacking)}")
    rest = [c for c in columns if c not in ("pretrain", "adversary")]
    for _, group in runs.groupby(rest, sort=False, dropna=False):
        gaps += [f"{cells.cell_label(cell, varying)}: every seed" for cell in _absent_cells(group)]
    return gaps


def _absent_cells(runs: pd.DataFrame) -> list[pd.Series]:
    """The cells of a crossed design that these runs lack; the runs differ only in chain, adversary and seed."""
    have = set(zip(runs["pretrain"], runs["adversary"], strict=True))
    chains = [c for c in runs["pretrain"].unique() if any(chain == c and a != "none" for chain, a in have)]
    crossed = [a for a in runs["adversary"].unique() if any(adversary == a and c != "none" for c, adversary in have)]
    absent = [pair for pair in itertools.product(chains, crossed) if pair not in have]
    return [pd.Series(runs.iloc[0].to_dict() | {"pretrain": c, "adversary": a}) for c, a in absent]


def _provenance(runs: pd.DataFrame) -> list[str]:
    notes = []
    dirty = int((runs["dirty"].fillna(False)).sum())
    if dirty:
        notes.append(f"Note: {dirty} of {len(runs)} runs come from a dirty tree: no rows of record.")
    commits = sorted(set(runs["commit"]) - {"none"})
    if len(commits) > 1:
        note = f"Note: the runs come from {len(commits)} commits: {', '.join(c[:7] for c in commits)}"
        of_seed = runs[runs["commit"] != "none"].groupby(["model", "task", "seed"])["commit"].nunique()
        if mixed := sorted(set(of_seed[of_seed > 1].index.get_level_values("seed"))):
            note += f"; within {_seeds(mixed)} they differ, and a difference may be the code's"
        notes.append(f"{note}.")
    return notes


def _devices(table: pd.DataFrame) -> list[str]:
    """Notes on several devices or versions of libraries: for which tasks, and which comparisons mix them."""
    runs = table.drop_duplicates("run_id")
    notes = []
    for column, what, whose in (("device", "devices", "device's"), ("versions", "sets of versions", "libraries'")):
        known = runs[runs[column].notna() & (runs[column] != "none")] if column in runs.columns else runs[:0]
        if known[column].nunique() < 2:
            continue
        shared = frozenset.intersection(*(frozenset(of.split("; ")) for of in known[column].unique()))
        said = []
        for value, own in known.groupby(column, sort=True):
            tasks = ", ".join(cells.display(task) for task in sorted(own["task"].unique()))
            short = ", ".join(part for part in str(value).split("; ") if part not in shared)
            count = f"{len(own)} run{'s' * (len(own) > 1)}"
            said.append(f"{short} ({tasks if known['task'].nunique() > 1 else count})")
        note = f"Note: the runs come from {len(said)} {what}: {'; '.join(said)}"
        paired = known.groupby([*comparisons.CONTEXT, "seed"], dropna=False)[column].nunique()
        if (paired > 1).any() and (mixed := _unlike(table, known.set_index("run_id")[column])):
            note += f"; the two sides of {mixed} differ in it, and a difference may be the {whose}"
        notes.append(f"{note}.")
    return notes


def _unlike(table: pd.DataFrame, of_run: pd.Series) -> str:
    """The comparisons that pair runs with different values, in words: '2 of 60 comparisons (DAPT: seed 1)'."""
    try:
        compared = comparisons.compare(table)
    except NotInTable:
        return ""
    scores = cells.scores(table[~cells.is_baseline_model(table)])
    behind = scores["run_id"].map(of_run)
    values = behind.groupby([cells.keys(scores), scores["seed"]]).unique().map(set)
    where = []
    for one in compared:
        seeds = [s for s in one.differences.index if values[one.key, s] != values[cells.key(one.baseline), s]]
        if seeds:
            where.append(f"{one.label}: {_seeds(seeds)}")
    return f"{len(where)} of {len(compared)} comparisons ({'; '.join(where)})" if where else ""


def _one_seed(runs: pd.DataFrame) -> list[str]:
    seeds = runs["seed"].dropna().unique()
    if len(runs) < 2 or len(seeds) != 1:
        return []
    return [f"Note: every run has seed {seeds[0]}: there is no spread over seeds, and no difference is tested."]


def _repeated(table: pd.DataFrame) -> list[str]:
    """Notes on seeds for which a cell has several runs that differ in no setting."""
    columns = cells.cell_columns(table)
    runs = cells.ordered(table.drop_duplicates("run_id"), columns)
    varying = cells.varying(runs, columns)
    several = runs[runs.duplicated([*columns, "seed", "adaptation_seed"], keep="first")]
    return [
        f"Note: several runs of the same settings and seed, which count once, with their mean: {_where(cell, varying)}."
        for _, cell in several.groupby(columns, sort=False, dropna=False)
    ]


def _units(table: pd.DataFrame) -> list[str]:
    """Notes on scores in percent where other runs of the task have shares: cells.scores leaves them out."""
    rows = table[cells.in_another_unit(table)]
    return [
        f"Note: {cells.display(metric)} of {cells.display(task)} is above 1, so in percent, in {_of_runs(table, of)}, "
        "but a share in the others: left out of every mean and comparison."
        for (task, metric), of in rows.groupby(["task", "metric"], sort=True)
    ]


def _without_score(table: pd.DataFrame) -> list[str]:
    """A note on runs that have no score for another reason than the unit."""
    try:
        scored = set(cells.scores(table)["run_id"])
    except cells.NotInTable:
        return ["Note: no run has a score on test in the metric of its task."]
    other_unit = set(table.loc[cells.in_another_unit(table), "run_id"])
    lacking = table[~table["run_id"].isin(scored | other_unit)]
    if lacking.empty:
        return []
    return [
        f"Note: no score on test in the metric of the task in {_of_runs(table, lacking)}: in no mean and comparison."
    ]


def _of_runs(table: pd.DataFrame, rows: pd.DataFrame) -> str:
    """The runs that the rows belong to: '3 of 72 runs (DAPT, FGM: seed 1, 2; TAPT: seed 0)'."""
    columns = cells.cell_columns(table)
    varying = cells.varying(table, columns)
    runs = cells.ordered(rows.drop_duplicates("run_id"), columns)
    where = [_where(cell, varying) for _, cell in runs.groupby(columns, sort=False, dropna=False)]
    return f"{len(runs)} of {table['run_id'].nunique()} runs ({'; '.join(where)})"


def _where(runs: pd.DataFrame, varying: list[str]) -> str:
    """The runs of one cell: 'DAPT, FGM: seed 1, 2'."""
    label = cells.cell_label(runs.iloc[0], varying)
    return f"{label}: {_seeds(sorted(set(runs['seed'].dropna())))}".removeprefix(": ")


def _seeds(seeds: list[int]) -> str:
    return f"seed {', '.join(map(str, seeds))}"


def _failed_checks(table: pd.DataFrame) -> list[str]:
    """Notes on failed checks of the attack: the robust scores of those runs may be too high."""
    checks = table[table["attack"].str.startswith("check:") & (table["metric"] == "passed")]
    columns = cells.cell_columns(table)
    varying = cells.varying(table, columns)
    notes = []
    for name, rows in checks.groupby("attack", sort=True):
        failed = cells.ordered(rows[rows["value"] == 0], columns)
        where = "; ".join(dict.fromkeys(cells.cell_label(cell, varying) for _, cell in failed.iterrows()))
        if len(failed):
            said = f"{str(name).removeprefix('check:').replace('_', ' ')!r} failed in {len(failed)} of {len(rows)} runs"
            notes.append(f"Note: the attack's check {said}, whose robust scores may be too high: {where}.")
    return notes

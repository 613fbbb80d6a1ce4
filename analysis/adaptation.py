"""What adaptation did, from a study's rows: losses on each domain, shared words, and curves over pretraining steps.

Rows that were measured once for an adapted model are in every run that was fine-tuned from it. Here each adapted model
counts once, and the seeds are those of pretraining. Splits, as the stages name them:

- ``domains/<domain>``: mlm_loss (mean over predicted tokens), mlm_document_loss (over documents); clm_* for decoders.
- ``words/<domain>+<domain>``: vocabulary_overlap; ``words/<domain>``: tokens_per_word, whole_words.
- ``trajectory/<pretraining stage>/<step>/<domain>``: losses; ``.../<step>/dev``: probe_<the task's metric>.
"""

from __future__ import annotations

import pandas as pd

from analysis import cells
from analysis.cells import NotInTable

CONTEXT = ["model", "task"]
MODEL = [*CONTEXT, "chain", "adaptation"]  # the columns that tell adapted models apart
TOKEN_LOSSES = ("mlm_loss", "clm_loss")
DOCUMENT_LOSSES = ("mlm_document_loss", "clm_document_loss")
DOMAINS = {"corpus": "domain", "task": "task", "other_task": "other task", "general": "general"}  # in display order

_OF_RUNS = ("source", "model", "task", "budget")  # columns that a pair of runs must share
_FINE_TUNING = ("adversary", "finetune", "evaluate", "peft")  # columns that say nothing about the adapted model


def losses(table: pd.DataFrame, metrics: tuple[str, ...] = TOKEN_LOSSES) -> pd.DataFrame:
    """One row per adapted model and domain: MODEL, pretrain, domain, metric, value (nats), n. Raises NotInTable.

    A base model without a trained head has no row. A chain with new tokens in its vocabulary is left out if there are
    others: its losses are over different tokens.
    """
    rows = _measured(table, "domains/", metrics)
    rows = rows.assign(domain=rows["split"].str.removeprefix("domains/"))
    return _once(rows, ["domain", "metric"])


def changes(measured: pd.DataFrame) -> pd.DataFrame:
    """Losses (as ``losses`` gives them) with ``change``: the loss minus the unadapted model's on the same domain.

    Below 0 the chain has learned, above 0 it has forgotten. Raises NotInTable if no unadapted model was measured.
    """
    keys = [*CONTEXT, "domain", "metric"]
    base = measured[measured["pretrain"] == "none"].groupby(keys)["value"].mean().rename("base")
    joined = measured.merge(base.reset_index(), on=keys)
    if joined.empty:
        raise NotInTable("no loss of the unadapted model: run pretrain=[] with evaluate=adaptation")
    return joined.assign(change=joined["value"] - joined["base"])


def score_gains(table: pd.DataFrame) -> pd.DataFrame:
    """One row per adapted run: MODEL, pretrain, peft, seed, adaptation_seed, metric, gain.

    gain: its clean test score minus the unadapted model's, for the same seed, under plain fine-tuning with the same
    settings and method. Empty if there is no such pair.
    """
    of_run = ["pretrain", "peft", "seed", "adaptation_seed", "metric", "gain"]
    table = table[~cells.is_baseline_model(table) & (table["adversary"] == "none")]
    try:
        scores = cells.scores(table)
    except NotInTable:
        return pd.DataFrame(columns=[*MODEL, *of_run])
    of_fine_tuning = ("finetune", "peft")
    settings = [c for c in cells.cell_columns(table) if c in _OF_RUNS or c.startswith(of_fine_tuning)]
    keys = [*settings, "seed", "metric"]
    base = scores[scores["pretrain"] == "none"].groupby(keys, dropna=False)["value"].mean().rename("base")
    adapted = scores[scores["pretrain"] != "none"].merge(base.reset_index(), on=keys)
    adapted = adapted.assign(gain=adapted["value"] - adapted["base"]).merge(_chains(table), on="run_id")
    methods = table.drop_duplicates("run_id").set_index("run_id")["peft"]
    return adapted.assign(peft=adapted["run_id"].map(methods))[[*MODEL, *of_run]]


def trajectories(table: pd.DataFrame) -> pd.DataFrame:
    """One row per adapted model, step and curve: MODEL, stage, step, at, what, metric, value, n. Raises NotInTable.

    what: the domain, or 'dev' for the probe; step: counted within the stage; at: counted over the whole chain, as far
    as its earlier stages have snapshots. A stage that several chains begin with is listed once, under the shortest one.
    """
    probes = [metric for metric in table["metric"].unique() if metric.startswith("probe_")]
    rows = _measured(table, "trajectory/", (*TOKEN_LOSSES, *probes))
    parts = rows["split"].str.extract(r"^trajectory/(?P<stage>.+)/(?P<step>\d+)/(?P<what>[^/]+)$")
    rows = _once(rows.assign(**parts).astype({"step": int}), ["stage", "step", "what", "metric"])
    placed, seen = [], set()
    for (model, task, *_), own in rows.groupby(MODEL, sort=False):
        start = 0
        for stage in own["pretrain"].iloc[0].partition("/")[0].split("+"):
            part = own[own["stage"] == stage]
            points = frozenset(part[["step", "what", "metric", "value"]].itertuples(index=False, name=None))
            if (curves := (model, task, stage, start, points)) not in seen:
                placed.append(part.assign(at=part["step"] + start))
            seen.add(curves)
            start += 0 if part.empty else int(part["step"].max())
    return pd.concat(placed, ignore_index=True)


def overlaps(table: pd.DataFrame) -> pd.DataFrame:
    """One row per pair of domains: CONTEXT, a, b, value (share of words in common), n (words). Raises NotInTable."""
    rows = table[table["split"].str.startswith("words/") & (table["metric"] == "vocabulary_overlap")]
    if rows.empty:
        raise NotInTable("no shared words of domains: they are measured under evaluate=adaptation")
    pairs = rows["split"].str.removeprefix("words/").str.split("+", n=1, expand=True).set_axis(["a", "b"], axis=1)
    return pd.concat([rows[[*CONTEXT, "value", "n"]], pairs], axis=1).drop_duplicates([*CONTEXT, "a", "b"])


def fertility(table: pd.DataFrame) -> pd.DataFrame:
    """One row per domain under the base model's tokenizer: CONTEXT, domain, tokens_per_word, whole_words, n."""
    rows = table[table["split"].str.startswith("words/") & table["metric"].isin(["tokens_per_word", "whole_words"])]
    rows = rows[~_has_new_tokens(rows)].assign(domain=rows["split"].str.removeprefix("words/"))
    rows = rows.drop_duplicates([*CONTEXT, "domain", "metric"])
    return rows.pivot(index=[*CONTEXT, "domain", "n"], columns="metric", values="value").reset_index()


def contexts(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """The pairs of model and task, in the order in which they first occur."""
    return list(dict.fromkeys(rows[CONTEXT].itertuples(index=False, name=None)))


def context_label(context: tuple[str, str]) -> str:
    """A model and task as a figure writes them."""
    return ", ".join(map(cells.display, context))


def of(rows: pd.DataFrame, context: tuple[str, str]) -> pd.DataFrame:
    """The rows of one model and task."""
    return rows[(rows[CONTEXT] == list(context)).all(axis=1)]


def in_order(domains: pd.Series) -> list[str]:
    """The domains that occur, in the order in which they are shown; unknown names come last."""
    return [name for name in DOMAINS if (domains == name).any()] + sorted(set(domains) - set(DOMAINS))


def domain_label(name: str) -> str:
    """A domain's name as a figure writes it."""
    return f"{DOMAINS.get(name, name)} text"


def chain_names(rows: pd.DataFrame) -> list[str]:
    """The chains in the order in which they are shown; rows: as the functions here give them."""
    return list(cells.ordered(rows, ["pretrain", "chain"])["chain"].drop_duplicates())


def _measured(table: pd.DataFrame, split: str, metrics: tuple[str, ...]) -> pd.DataFrame:
    """The rows whose split begins with ``split``, with the chain of their run in words. Raises NotInTable."""
    table = table[~cells.is_baseline_model(table)]
    rows = table[table["split"].str.startswith(split) & table["metric"].isin(metrics)]
    if rows.empty:
        raise NotInTable(f"no rows of split {split}...: they are measured under evaluate=adaptation")
    new = _has_new_tokens(rows)
    if new.nunique() > 1:
        rows = rows[~new]
    return rows.merge(_chains(table), on="run_id")


def _chains(table: pd.DataFrame) -> pd.DataFrame:
    """Each run's run_id and chain: what tells its adapted model from others, except for seeds, in words."""
    fine_tuning = [c for c in table.columns if c.startswith(_FINE_TUNING) and c not in cells.MAIN_COLUMNS]
    runs = table.drop(columns=fine_tuning).copy()  # in one block: pandas warns of a frame in pieces
    runs = runs.assign(adversary="none", peft="none").drop_duplicates("run_id")
    return pd.DataFrame({"run_id": runs["run_id"], "chain": cells.series(runs)})


def _has_new_tokens(rows: pd.DataFrame) -> pd.Series:
    """Which rows are of a model whose vocabulary was extended."""
    if "vocabulary.new_tokens" not in rows.columns:
        return pd.Series(False, index=rows.index)
    return rows["vocabulary.new_tokens"].fillna(0).astype(float) > 0


def _once(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """One row per adapted model and value of the columns, in order."""
    first = rows[[*MODEL, "pretrain", *columns, "value", "n"]].drop_duplicates([*MODEL, *columns])
    return cells.ordered(first, [*CONTEXT, "pretrain", "chain", "adaptation"])

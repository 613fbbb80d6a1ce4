"""The answers of a study's language models to the same prompts, side by side, and how well each predicts the domain."""

from __future__ import annotations

import math

import pandas as pd

from analysis import cells
from analysis.report import html
from analysis.report.html import Cell, Html, element

NONE = "No run of this study was asked for samples (evaluate=samples asks a decoder)."
READING = (
    "The language model that each run's fine-tuning started from goes on after the beginnings of held-out texts. Few "
    "prompts and one draw show what the numbers mean; they are no measurement of their own. Perplexity is exp of the "
    "mean loss of a token on held-out text of the domain: it compares models of one tokenizer. seq-rep-4 is the share "
    "of repeated 4-grams (Welleck et al., 2020), distinct-2 the different pairs of tokens a token (Li et al., 2016); "
    "“truth” is what the texts themselves go on with, as many tokens of it."
)
NAMED_BY = ("model", "pretrain", "peft", "pretrain_peft.name", "corpus", "budget", "adaptation_seed", "adaptation")
MEASURES = {"seq_rep_4": "seq-rep-4", "distinct_1": "distinct-1", "distinct_2": "distinct-2"}


def samples(table: pd.DataFrame, written: pd.DataFrame) -> Html:
    """The part on samples; table: the study's rows; written: its samples (analysis.study.samples), maybe empty."""
    written = written[written["run_id"].isin(table["run_id"])]
    if written.empty:
        return element("p", NONE)
    arms = named(table, written)
    return html.joined([element("p", READING), _measured(table, written, arms), *_answers(written, arms)])


def named(table: pd.DataFrame, written: pd.DataFrame) -> dict[str, str]:
    """A name for each language model, in the order of the report: by what varies between them, else by its run."""
    runs = table.drop_duplicates("run_id").set_index("run_id")
    first = written.groupby("model")["run_id"].min().rename_axis("language_model")  # ``model`` is also a column of runs
    of_models = runs.loc[first, [name for name in NAMED_BY if name in runs.columns]].set_axis(first.index)
    used: list[str] = []
    for name in map(str, of_models.columns):
        finer = of_models[[*used, name]].drop_duplicates()
        if len(finer) > max(1, len(of_models[used].drop_duplicates()) if used else 1):
            used.append(name)
    used = used or ["model"]
    said = {str(model): cells.cell_label(row, used) for model, row in of_models.iterrows()}
    ordered = of_models.assign(adapted=of_models["pretrain"] != "none").sort_values(["adapted", *used], kind="stable")
    taken = pd.Series(said).duplicated(keep=False)
    return {model: f"{said[model]} ({first[model][:8]})" if taken[model] else said[model] for model in ordered.index}


def _measured(table: pd.DataFrame, written: pd.DataFrame, arms: dict[str, str]) -> Html:
    lines: list[dict[str, Cell]] = []
    run_of = written.groupby("model")["run_id"].min()
    for model, arm in arms.items():
        rows = table[table["run_id"] == run_of[model]]
        value = rows.set_index(["split", "metric"])["value"]
        for split in sorted(name for name in rows["split"].unique() if name.startswith("samples/")):
            _, text, decoding = split.split("/")
            loss = value.get((f"domains/{text}", "clm_loss"), math.nan)
            lines.append(
                {"language model": arm, "text": text, "decoding": decoding}
                | {"perplexity": html.number(math.exp(loss) if loss == loss else None, ",.1f")}
                | {heading: html.number(value.get((split, name)), ".3f") for name, heading in MEASURES.items()}
                | {"tokens": html.number(value.get((split, "answer_tokens")), ".1f")}
                | {"ended": html.number(value.get((split, "ended")), ".0%")}
            )
    return html.table(lines, "Language models on held-out text", ("language model", "text", "decoding"))


def _answers(written: pd.DataFrame, arms: dict[str, str]) -> list[Html]:
    """One block per prompt, the first one open: its text, the true continuation, and each model's answers."""
    blocks = []
    run_of = written.groupby("model")["run_id"].min()
    rows = written[written["run_id"].isin(run_of)]
    most = rows.groupby("model")["tokens"].max()  # a true continuation of fewer tokens was not cut: the text ends there
    for number, (_, asked) in enumerate(rows.groupby("prompt_hash", sort=True)):
        truth = asked[asked["decoding"] == "truth"].iloc[0]
        goes_on = "…" * int(truth["tokens"] == most[truth["model"]])
        lines: list[dict[str, Cell]] = [
            {"language model": arm, "decoding": row["decoding"], "answer": row["answer"] + "…" * (not row["ended"])}
            | {"seq-rep-4": html.number(row["repetition"], ".2f")}
            for model, arm in arms.items()
            for _, row in asked[(asked["model"] == model) & (asked["decoding"] != "truth")].iterrows()
        ]
        prompt = asked["prompt"].iloc[0]
        blocks.append(
            html.folded(
                f"{prompt} …",
                element("p", element("strong", "The text goes on: "), f"{truth['answer']}{goes_on}"),
                html.table(lines, f"Answers to prompt {number + 1}", ("language model", "decoding")),
                opened=number == 0,
            )
        )
    return blocks

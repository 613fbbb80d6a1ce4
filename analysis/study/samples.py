"""The samples that the language models of a study's runs wrote: under a root, or frozen as samples.jsonl.

Runs that fine-tuned the same language model have the same samples: they are in the file once, with all their run ids.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from adapt import results
from analysis.study.record import EXPERIMENTS, Merge

FILE = "samples.jsonl"
SAMPLED = list(results.SAMPLED)


def of_root(root: Path, run_ids: Iterable[str]) -> pd.DataFrame:
    """SAMPLED, run_id and ``model``, a hash that runs share if and only if their language models wrote the same."""
    frames = [(run_id, results.samples(root, run_id)) for run_id in sorted(set(run_ids))]
    return _named([(run_id, table) for run_id, table in frames if len(table)])


def load(folder: Path) -> pd.DataFrame:
    """The frozen samples of a study's folder, as ``of_root`` gives them; no rows for a study that has none."""
    path = folder / FILE
    text = path.read_text("utf-8") if path.exists() else ""
    lines = [json.loads(line) for line in text.split("\n") if line]  # splitlines cuts at U+2028 too
    of_runs: dict[str, list[dict[str, object]]] = {}
    for line in lines:
        for run_id in line.pop("run_ids"):
            of_runs.setdefault(run_id, []).append(line)
    return _named([(run_id, pd.DataFrame(rows)[SAMPLED]) for run_id, rows in sorted(of_runs.items())])


def freeze(study: str, root: Path, outcome: Merge, experiments: Path = EXPERIMENTS, replace: bool = False) -> int:
    """Write the samples of the recorded runs; returns how many runs have some.

    Runs that this root lacks keep their frozen samples. So do runs whose numbers have changed, unless ``replace``.
    """
    folder = experiments / study
    recorded = set(outcome.table["run_id"])
    trusted = {*outcome.merged, *outcome.same, *(outcome.differ if replace else [])}
    fresh = of_root(root, recorded & trusted)
    known = load(folder)
    old = known[known["run_id"].isin(recorded - set(fresh["run_id"]))]
    rows = pd.concat([part for part in (old, fresh) if len(part)]) if len(old) + len(fresh) else fresh
    if len(rows):
        lines = []
        for _, same in sorted(rows.groupby("model"), key=lambda group: min(group[1]["run_id"])):
            one = same[same["run_id"] == same["run_id"].iloc[0]]
            run_ids = sorted(set(same["run_id"]))
            lines += [{"run_ids": run_ids, **line} for line in json.loads(one[SAMPLED].to_json(orient="records"))]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        results.replace(folder / FILE, text)
    return rows["run_id"].nunique()


def _named(frames: list[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    tables = [
        table[SAMPLED].assign(run_id=run_id, model=hashlib.sha256(table[SAMPLED].to_json().encode()).hexdigest()[:16])
        for run_id, table in frames
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*SAMPLED, "run_id", "model"])

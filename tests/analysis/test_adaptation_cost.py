"""What a chain costs is the sum of its stages, and nothing of its fine-tuning."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from adaptation_study import _row, study

from adapt import results
from analysis.cells import NotInTable
from analysis.pages import adaptation_cost

STAGES = {"dapt": (800.0, 1e6, 400.0, 15050.0, 4e6), "tapt": (200.0, 2e5, 50.0, 491.0, 1e5)}


@pytest.fixture
def costly() -> pd.DataFrame:
    """The synthetic study of adaptation, each pretraining stage with what it cost."""
    table = study()
    rows = []
    for _, run in table.drop_duplicates("run_id").iterrows():
        for name in run["pretrain"].split("+"):
            steps, tokens, seconds, documents, size = STAGES.get(name, STAGES["dapt"])
            if name != "none":
                trained = {"steps": steps, "tokens": tokens, "train_seconds": seconds, "forward_passes": steps}
                read = {"documents": documents, "bytes": size, "sequences": documents}
                rows += [_row(run.to_dict(), f"{name}/train", metric, value, 1) for metric, value in trained.items()]
                rows += [_row(run.to_dict(), f"{name}/text", metric, value, 1) for metric, value in read.items()]
        rows.append(_row(run.to_dict(), "train", "steps", 96.0, 1))
    return results.typed(pd.concat([table, pd.DataFrame(rows)], ignore_index=True))


def test_a_chain_costs_what_its_stages_cost(costly: pd.DataFrame) -> None:
    rows = adaptation_cost.costs(costly).groupby("pretrain")[adaptation_cost.COLUMNS].mean()
    assert rows.loc["none"].tolist() == [0, 0, 0, 0, 0]
    assert rows.loc["tapt"].tolist() == pytest.approx([200, 2e5, 50, 491, 0.1])
    assert rows.loc["dapt+tapt"].tolist() == pytest.approx([1000, 1.2e6, 450, 15541, 4.1])


def test_the_page_goes_from_cheap_to_dear(costly: pd.DataFrame) -> None:
    lines = [line for line in adaptation_cost.report(costly).splitlines() if line.startswith("| ")][2:]
    assert [line.split(" | ")[0] for line in lines] == [
        "| not adapted", "| TAPT", "| DAPT", "| irrelevant DAPT", "| DAPT+TAPT"
    ]  # fmt: skip
    assert lines[1] == "| TAPT | 200 | 200,000 | 50 | 491 | 0.1 | 0.640 |"


def test_a_cost_that_was_not_measured_is_left_out(costly: pd.DataFrame) -> None:
    rows = adaptation_cost.costs(costly[costly["metric"] != "bytes"])
    assert rows.loc[rows["pretrain"] == "dapt", "storage (MB)"].map(math.isnan).all()
    assert "| DAPT | 800 | 1,000,000 | 400 | 15,050 |  | 0.650 |" in adaptation_cost.report(
        costly[costly["metric"] != "bytes"]
    )


def test_a_study_without_adaptation_has_no_such_page(costly: pd.DataFrame) -> None:
    with pytest.raises(NotInTable, match="no chain with pretraining"):
        adaptation_cost.report(costly[costly["pretrain"] == "none"])

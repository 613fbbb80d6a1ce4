"""Small tables in the schema of results, for the tests of the analysis."""

import pandas as pd

from adapt import results


def runs(*given):
    """Rows with one clean macro-F1 each, from (pretrain, adversary, seed, value) and a dict of further columns.

    Each seed has an adaptation of its own, if any.
    """
    rows = []
    for pretrain, adversary, seed, value, *more in given:
        changes = more[0] if more else {}
        adaptation = "none" if pretrain == "none" else f"{pretrain} of seed {seed}"
        row = dict(model="tiny", task="t", pretrain=pretrain, adversary=adversary, seed=seed, adaptation=adaptation)
        row |= dict(adaptation_seed="none" if pretrain == "none" else str(seed), split="test", attack="none")
        row |= dict(attack_epsilon=0.0, attack_steps=0, metric="macro_f1", value=value, n=10) | changes
        rows.append(row | {"run_id": "-".join(map(str, (pretrain, adversary, seed, sorted(changes.items()))))})
    return results.typed(pd.DataFrame(rows))

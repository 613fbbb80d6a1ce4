"""Causal language modelling: which positions of a batch predict, and what."""

from __future__ import annotations

from torch import Tensor

KEY_NAME = "data.masking.next_tokens"
VERSION = 1


def predict_next(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Predict every real token but the first of each text from those before it.

    Adds positions [P] (flat indices row * L + column of the token *before* the predicted one, whose state predicts
    it), targets [P] and rows [P]. Texts of a packed sequence are told apart by ``document_ids``: the first token of
    one is not predicted from the last of another. Nothing is drawn, so nothing depends on seed, draw or batch.
    """
    ids, real = batch["input_ids"], batch["attention_mask"] == 1
    documents = batch.get("document_ids", batch["attention_mask"])
    predicts = real[:, :-1] & real[:, 1:] & (documents[:, :-1] == documents[:, 1:])
    rows, columns = predicts.nonzero(as_tuple=True)
    return {**batch, "positions": rows * ids.shape[1] + columns, "targets": ids[rows, columns + 1], "rows": rows}

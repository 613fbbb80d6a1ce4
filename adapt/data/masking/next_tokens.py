"""Causal language modelling: the positions of a batch that predict a token, and their targets."""

from __future__ import annotations

from torch import Tensor

KEY_NAME = "data.masking.next_tokens"
VERSION = 1


def predict_next(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Predict every real token except the first of each text from the tokens before it.

    Adds positions [P] (flat indices row * L + column of the token *before* the predicted one, whose state predicts
    it), targets [P] and rows [P]. ``document_ids`` tell the texts of a packed sequence apart: the first token of a text
    is not predicted from the last token of another. Nothing is random here.
    """
    ids, real = batch["input_ids"], batch["attention_mask"] == 1
    documents = batch.get("document_ids", batch["attention_mask"])
    predicts = real[:, :-1] & real[:, 1:] & (documents[:, :-1] == documents[:, 1:])
    rows, columns = predicts.nonzero(as_tuple=True)
    return {**batch, "positions": rows * ids.shape[1] + columns, "targets": ids[rows, columns + 1], "rows": rows}

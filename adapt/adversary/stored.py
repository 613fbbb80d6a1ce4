"""Pseudo-labelled adversarial embeddings: a fresh model learns from clean texts and stored perturbations of them."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from adapt.config import NotNegative
    from adapt.training.step import Step

KEY_NAME = "adversary.stored"
VERSION = 1
PASSES = 2.0


def stored(step: Step, *, weight: NotNegative) -> Generator[Tensor, None, None]:
    """l(e) + w * l(e'), with e' the stored adversarial embedding of each text, under the text's own label.

    Kim & Kang (2022): a model A is fine-tuned under an adversary, the embeddings that then fool it are stored with the
    labels of their texts (adapt/stages/perturbations.py), and this method trains a fresh model B on both. Their
    abstract gives neither A's adversary nor the radius, w, the share of texts stored or where B starts: the first four
    are settings (``kept`` and ``ball`` of the option file), and B starts where A started. A text without a stored
    embedding adds only to the first term. Costs 2F + 2Bp, besides training A and the search for the embeddings.
    """
    for view in step:
        yield view.loss()
        delta, is_stored = view.stored()
        of_item = is_stored[step.objective.rows(view.batch)]
        yield weight * view.share_of_mean(view.cross_entropy(view.forward(delta).logits) * of_item)

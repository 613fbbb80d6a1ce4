"""R-Drop: the predictions under two dropout masks should agree; no embedding is perturbed."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from torch import Tensor

from adapt.adversary.divergence import symmetric_kl
from adapt.config import ConfigError, NotNegative

if TYPE_CHECKING:
    from adapt.training.step import Step

KEY_NAME = "adversary.rdrop"
VERSION = 1
PASSES = 2.0
PERTURBS = False
NEEDS_DROPOUT = "fresh"


def rdrop(step: Step, *, weight: NotNegative) -> Generator[Tensor, None, None]:
    """l1 + l2 + alpha / 2 * [KL(p1 || p2) + KL(p2 || p1)] of two dropout masks (Liang et al., 2021, equations 1 to 4).

    weight: alpha. With alpha = 0 the gradient is twice that of plain training. Costs 2F + 2Bp.
    """
    refuse_one_mask(step)
    for view in step:
        one, other = view.forward().logits, view.forward().logits
        losses = view.cross_entropy(one) + view.cross_entropy(other)
        yield view.share_of_mean(losses + weight / 2 * symmetric_kl(one, other))


def rdrop_as_released(step: Step, *, weight: NotNegative, clean_weight: NotNegative) -> Generator[Tensor, None, None]:
    """c * (l1 + l2) + alpha / 2 * the SUM over the step's items of KL(p1 || p2) + KL(p2 || p1).

    As in the release's text classifiers (dropreg/R-Drop, huggingface_transformer_src): l is a mean over the batch but
    KL a sum, so that its weight grows with the batch: alpha .5 on 32 examples is R-Drop's alpha of 16.
    weight: alpha; clean_weight: c, 1 in that code and .5 (the mean) in the example of its README. The release
    sums over a micro-batch; here the sum is over the step, however it is split. Costs 2F + 2Bp.
    """
    refuse_one_mask(step)
    for view in step:
        one, other = view.forward().logits, view.forward().logits
        losses = clean_weight * (view.cross_entropy(one) + view.cross_entropy(other))
        yield view.share_of_mean(losses + weight / 2 * step.items * symmetric_kl(one, other))


def refuse_one_mask(step: Step) -> None:
    """Raise ConfigError unless each pass draws its own dropout mask."""
    if step.adversary.dropout != "fresh":
        raise ConfigError(f"adversary.dropout={step.adversary.dropout}: R-Drop compares two masks; set it to fresh")

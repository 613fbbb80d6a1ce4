"""How far apart two predictions are: Kullback-Leibler divergences of class distributions given as logits."""

from __future__ import annotations

from torch import Tensor

KEY_NAME = "adversary.divergence"
VERSION = 1


def kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) = sum over classes of p log(p / q), [P] in nats, for logits [P, C]; gradients flow through both."""
    log_p, log_q = p.log_softmax(-1), q.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def symmetric_kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) + KL(q || p), [P]: the sum of both directions, as in SMART (Jiang et al., 2020, section 3.1).

    Written as the sum of (p - q)(log p - log q), in which no two large terms cancel.
    """
    log_p, log_q = p.log_softmax(-1), q.log_softmax(-1)
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(-1)

"""Packed sequences: one norm per document, not per row; a document is perturbed as it would be by itself."""

import numpy as np
import pytest
import torch

from adapt.perturbation.ball import Ball

DOCUMENTS = torch.tensor([[0, 0, 0, 1, 1], [0, 1, 1, 2, 2]])


def ball(norm: str = "l2", epsilon: float = 0.7) -> Ball:
    whole = Ball(epsilon=epsilon, norm=norm, scope="document", relative=False, special_tokens=True)
    return whole.of_documents(DOCUMENTS)


def pieces(values: torch.Tensor) -> list[torch.Tensor]:
    """Each document's rows of values [2, 5, d], in order."""
    return [values[row][DOCUMENTS[row] == each] for row in range(2) for each in DOCUMENTS[row].unique()]


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_each_document_is_projected_alone(norm):
    delta = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    alone = Ball(epsilon=0.7, norm=norm, scope="sequence", relative=False, special_tokens=True)
    together, gradients = ball(norm).project(delta), ball(norm).unit(delta)
    for result, unit, before in zip(pieces(together), pieces(gradients), pieces(delta), strict=True):
        torch.testing.assert_close(result, alone.project(before[None])[0])
        torch.testing.assert_close(unit, alone.unit(before[None])[0])


def test_sizes_by_hand():
    delta = torch.zeros(2, 5, 2)
    delta[0, 0, 0], delta[0, 2, 1], delta[0, 3, 0] = 3.0, 4.0, 2.0  # the first document: (3, 4), the second: 2
    assert ball().size(delta)[0].flatten().tolist() == pytest.approx([5, 5, 5, 2, 2])
    assert ball().size(delta)[1].flatten().tolist() == [0] * 5
    assert ball(epsilon=2.5).project(delta)[0, 0, 0].item() == pytest.approx(1.5)
    assert ball(epsilon=2.5).project(delta)[0, 3, 0].item() == 2.0


def test_without_packing_a_document_is_its_sequence():
    delta = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1))
    document = Ball(epsilon=0.7, norm="l2", scope="document", relative=False, special_tokens=True).of_documents(None)
    sequence = Ball(epsilon=0.7, norm="l2", scope="sequence", relative=False, special_tokens=True)
    torch.testing.assert_close(document.project(delta), sequence.project(delta))


def test_gradients_that_are_not_finite_are_counted_by_the_whole_ball():
    whole = Ball(epsilon=1.0, norm="l2", scope="document", relative=False, special_tokens=True)
    gradient = torch.ones(2, 5, 4)
    gradient[1, 0, 0] = torch.inf
    assert whole.of_documents(DOCUMENTS).unit(gradient)[1].abs().max() == 0
    assert whole.skipped == 1


def test_the_cube_lies_in_the_ball_and_has_the_scale_of_freelb():
    noise = ball(epsilon=2.0).cube(np.random.default_rng(0), 50, 8)
    bound = 2.0 / np.sqrt(50 * 8)
    assert 0.9 * bound < np.abs(noise).max() <= bound
    assert np.linalg.norm(noise) == pytest.approx(2.0 / np.sqrt(3), rel=0.1)  # E U(-1, 1)^2 = 1/3

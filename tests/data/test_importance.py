"""The tokens that a label depends on: sequential scoring by hand, and that texts do not depend on each other."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.data.masking.importance import important_tokens

WEIGHTS = {1: 0.02, 2: 0.30, 3: 0.15, 4: 0.01, 5: 0.29}


def additive(buffers: list[list[int]], numbers: list[int]) -> np.ndarray:
    """P(y | buffer) = .2 and the weights of its tokens; halved for texts of odd number, as under another label."""
    return np.array([(0.2 + sum(WEIGHTS[t] for t in b)) / (1 + n % 2) for b, n in zip(buffers, numbers, strict=True)])


def test_tokens_that_stay_add_up_and_important_ones_leave_the_buffer() -> None:
    """By hand, P(y | s) = .97 and delta .5.

    1: P = .22, S = .75, stays. 2: P = .52, S = .45, important. 3 without 2 before it: P = .37, S = .60, stays (with 2
    it would be .67 and .30). 4: P = .38, S = .59, stays. 5: P = .67, S = .30, important.
    """
    (important,) = important_tokens([[1, 2, 3, 4, 5]], additive, 0.5)
    assert important.tolist() == [False, True, False, False, True]


def test_a_score_of_exactly_the_threshold_is_not_important() -> None:
    def probability(buffers: list[list[int]], numbers: list[int]) -> np.ndarray:
        return np.array([0.25 * len(buffer) for buffer in buffers])

    assert important_tokens([[7, 7, 7]], probability, 0.5)[0].tolist() == [False, True, True]  # S = .5, .25, .25


def test_the_ith_tokens_of_all_texts_are_tried_together() -> None:
    asked = []

    def probability(buffers: list[list[int]], numbers: list[int]) -> np.ndarray:
        asked.append((buffers, numbers))
        return additive(buffers, numbers)

    important = important_tokens([[2, 1], [5, 3, 4], []], probability, 0.1)
    # whole: .52, .65 / 2 and .2; S(2) = .02, S(1 | -) = .30; S(5) = .08, S(3) = .15, S(4 | 3) = .145
    assert [marks.tolist() for marks in important] == [[True, False], [True, False, False], []]
    assert asked == [
        ([[2, 1], [5, 3, 4], []], [0, 1, 2]),
        ([[2], [5]], [0, 1]),
        ([[1], [3]], [0, 1]),
        ([[3, 4]], [1]),
    ]


@given(st.lists(st.lists(st.integers(1, 5), max_size=8), max_size=5), st.floats(0, 0.9))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_text_among_others_is_scored_as_alone(texts: list[list[int]], threshold: float) -> None:
    together = important_tokens(texts, additive, threshold)
    assert [len(marks) for marks in together] == list(map(len, texts))
    for number, (text, marks) in enumerate(zip(texts, together, strict=True)):

        def own(buffers: list[list[int]], numbers: list[int], number: int = number) -> np.ndarray:
            return additive(buffers, [number] * len(numbers))

        assert marks.tolist() == important_tokens([text], own, threshold)[0].tolist()

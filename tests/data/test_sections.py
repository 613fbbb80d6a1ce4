from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.data.pydoc.sections import Block, blocks

NUMPYDOC = inspect.cleandoc(
    """
    Solve ``a @ x = b`` for
    :class:`x <numpy.ndarray>`.

    The *matrix* must be square [1]_. See :func:`~scipy.linalg.solve`::

        a = b  # {code: [1, 2, 3]} * 4 + 5

    .. versionadded:: 1.2

    .. note:: It may fail.

    Parameters
    ----------
    a : (M, M) array_like
        A matrix.

        It is not checked.
    b, c : float

    Returns
    -------
    ndarray
        The solution.

    See Also
    --------
    inv : The inverse.

    Notes
    -----
    ===== =====
    1.0   2.0
    ===== =====

    Slow.

    References
    ----------
    .. [1] Somebody, "Something", 1999.

    Examples
    --------
    Take two equations:

    >>> solve(a, b)
    array([1, 2])

    Done.
    """
)


def test_numpydoc() -> None:
    assert list(blocks(NUMPYDOC)) == [
        Block("summary", "", "Solve a @ x = b for x."),
        Block("description", "", "The matrix must be square. See scipy.linalg.solve:"),
        Block("description", "", "It may fail."),
        Block("parameters", "a : (M, M) array_like", "A matrix. It is not checked."),
        Block("parameters", "b, c : float", ""),
        Block("returns", "ndarray", "The solution."),
        Block("see also", "inv : The inverse.", ""),
        Block("notes", "", "Slow."),
        Block("examples", "", "Take two equations:"),
        Block("examples", "", "Done."),
    ]


def test_google_style() -> None:
    text = inspect.cleandoc(
        """Train a model.

        Args:
            rate (float): How fast
                it moves.

        Returns:
            A loss.
        """
    )
    assert list(blocks(text)) == [
        Block("summary", "", "Train a model."),
        Block("args", "rate (float): How fast", "it moves."),
        Block("returns", "A loss.", ""),
    ]


@pytest.mark.parametrize(
    "written, clean",
    [
        ("See `this page <https://x.org>`_ now.", "See this page now."),
        ("Call ``__init__`` or `name`_ first.", "Call __init__ or name first."),
        ("A (str, *optional*) and *args and **kwargs.", "A (str, optional) and *args and kwargs."),
        ("As in [Smith 2001]_ and :py:meth:`.Axes.plot`.", "As in and .Axes.plot."),
    ],
)
def test_markup_is_removed(written: str, clean: str) -> None:
    assert [block.text for block in blocks(written)] == [clean]


@given(st.text(alphabet=st.sampled_from("aB .:`*_->\n[]1=")))
def test_any_text_gives_blocks_of_one_line(text: str) -> None:
    for block in blocks(inspect.cleandoc(text)):
        assert "\n" not in block.text + block.header and "`" not in block.text
        assert block.text == " ".join(block.text.split())

"""Whether a figure can be read: no text beyond the page, none on another, none too small, of a column's width."""

from __future__ import annotations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from analysis.drawing import style

SMALLEST = 5.5  # points


def is_tidy(figure):
    assert figure.get_figwidth() in (style.ONE_COLUMN, style.TWO_COLUMNS)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()  # lays all out
    texts = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    texts = [t for t in texts if t.axes is None or t.axes.get_visible()]
    assert min(t.get_fontsize() for t in texts) >= SMALLEST
    boxes = {t: Text.get_window_extent(t, renderer) for t in texts}  # of an annotation without its line
    page = figure.bbox
    inside = [b.x0 >= -1 and b.y0 >= -1 and b.x1 <= page.x1 + 1 and b.y1 <= page.y1 + 1 for b in boxes.values()]
    ticks = {label for axes in figure.axes for label in (*axes.get_xticklabels(), *axes.get_yticklabels())}
    unseen = {t for t in ticks if t.axes is None or not _in_view(t)}
    beyond = [t.get_text() for t, ok in zip(boxes, inside, strict=True) if not ok and t not in unseen]
    assert not beyond, f"beyond the page: {beyond}"
    shown = [t for t in texts if t not in unseen and t not in _numbers_at_marks(texts)]
    for i, a in enumerate(shown):
        for b in shown[i + 1 :]:
            assert not _overlap(boxes[a], boxes[b]), f"{a.get_text()!r} overlaps {b.get_text()!r}"


def _in_view(tick: Text) -> bool:
    """Matplotlib keeps labels of ticks beyond the limits, which it does not draw."""
    (left, right), (bottom, top) = sorted(tick.axes.get_xlim()), sorted(tick.axes.get_ylim())
    x, y = tick.get_position()
    return left <= x <= right if tick in tick.axes.get_xticklabels() else bottom <= y <= top


def _numbers_at_marks(texts: list[Text]) -> set[Text]:
    return {t for t in texts if t.get_text().isdigit() and t.get_fontsize() == 5.5}


def _overlap(a, b, slack: float = 1.0) -> bool:
    return a.x0 + slack < b.x1 and b.x0 + slack < a.x1 and a.y0 + slack < b.y1 and b.y0 + slack < a.y1

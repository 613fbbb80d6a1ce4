"""The study's figures, drawn into the page: every module of analysis/figures for which the table has data."""

from __future__ import annotations

import base64
import inspect
import io

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from analysis import figures
from analysis.cells import NotInTable
from analysis.drawing import style
from analysis.report import html
from analysis.report.html import Html, element

SVG = style.RC | {"svg.hashsalt": "analysis.report", "svg.fonttype": "path"}  # fixed bytes; text drawn as paths
NO_DATE: dict[str, None] = {"Date": None, "Creator": None, "Format": None, "Type": None}
PIXELS = 144  # per inch of a figure: half as large again on the page as on paper


def drawn(table: pd.DataFrame) -> Html:
    """The figures of a table with all trials: what they show and how to read them; for the others, why not."""
    parts, not_drawn = [], []
    for module, figure in figures.every(table):
        name = figures.name_of(module)
        if isinstance(figure, NotInTable):
            not_drawn.append(f"{name.replace('_', ' ')}: {figure}")
        else:
            shows = " ".join((inspect.getdoc(module) or name).split("\n\n")[0].split())
            parts.append(_shown(figure, shows, name))
    if not_drawn:
        parts.append(html.folded(f"Not drawn: {len(not_drawn)}", html.listed(not_drawn)))
    return html.joined(parts)


def alternative(figure: Figure, shows: str) -> str:
    """The alternative text of a figure: its subject, panels, axes and legend."""
    panels = [axes for axes in figure.axes if axes.get_visible()]
    titles = dict.fromkeys(" ".join(axes.get_title(loc="left").split()) for axes in panels)
    across, up = (dict.fromkeys(filter(None, (axis(axes) for axes in panels)))
                  for axis in (lambda axes: axes.get_xlabel(), lambda axes: axes.get_ylabel()))  # fmt: skip
    keys = [text.get_text() for legend in figure.legends for text in legend.get_texts() if text.get_text()]
    parts = {"Panels": filter(None, titles), "Across": across, "Up": up, "Legend": keys}
    said = [f"{name}: {'; '.join(words)}." for name, given in parts.items() if (words := [*given])]
    return plain(" ".join([shows, *said]))


def plain(text: str) -> str:
    """Text without matplotlib's mathtext; covers the few symbols that the figures use."""
    for sign, letter in (("\\epsilon", "ε"), ("\\leq", "≤"), ("\\times", "×")):
        text = text.replace(sign, letter)
    return " ".join(text.replace("$", "").split())


def _shown(figure: Figure, shows: str, name: str) -> Html:
    how_to_read = plain(figure.get_supxlabel())
    alt = alternative(figure, shows)
    if how_to_read:
        figure.supxlabel("")  # it goes into the page as text, readable at any size
    width = str(round(figure.get_figwidth() * PIXELS))
    image = element("img", src=f"data:image/svg+xml;base64,{_svg(figure)}", alt=alt, width=width)
    frame = element("div", image, class_="scroll", tabindex="0", role="region", aria_label=shows)
    caption = element("figcaption", element("strong", shows), " ", how_to_read)
    return element("figure", frame, caption, id=f"figure-{name.replace('_', '-')}")


def _svg(figure: Figure) -> str:
    """The figure as base64 text, without date or version inside."""
    written = io.BytesIO()
    with rc_context(SVG):
        figure.savefig(written, format="svg", metadata=NO_DATE)
    return base64.b64encode(written.getvalue()).decode("ascii")

"""Heat maps: cells coloured by lightness, a text colour that is readable on them, and the colour bar."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from analysis.drawing.style import INK


def heat_map(axes: Axes, values: np.ndarray, limits: tuple[float, float]) -> QuadMesh:
    """Draw one cell per value [rows, columns], first row on top; NaN is white. Colours are ordered by lightness."""
    rows, columns = values.shape
    image = axes.pcolormesh(
        np.arange(columns + 1) - 0.5,
        np.arange(rows + 1) - 0.5,
        np.ma.masked_invalid(values),
        cmap="cividis",  # Nunez et al., 2018: reads the same with colour-vision deficiency, and in grey
        vmin=limits[0],
        vmax=limits[1],
        edgecolors="white",
        linewidth=0.8,
    )
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return image


def colour_bar(figure: Figure, image: QuadMesh, beside: list[Axes], label: str) -> None:
    """Draw the colour bar of heat maps at the top right, in the same size for every size of figure."""
    length = min(1.5, 0.6 * figure.get_figheight())  # inches
    share = length / (figure.get_figheight() - 0.9)  # of the axes' height (roughly, without the footnote)
    bar = figure.colorbar(image, ax=beside, pad=0.02, shrink=min(1.0, share), aspect=length / 0.08, anchor=(0.0, 1.0))
    bar.set_label(label)
    bar.outline.set_visible(False)  # type: ignore[operator]  # matplotlib's stubs take it for a colour bar's method


def on(image: QuadMesh, value: float) -> str:
    """A text colour that is readable on the cell of that value."""
    if math.isnan(value):
        return INK
    red, green, blue, _ = image.to_rgba(np.array([value]))[0]
    return INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.5 else "#ffffff"


def limits_of(values: pd.Series) -> tuple[float, float]:
    """Limits of the colour scale: the smallest and largest of the values and 0; 0 to 1 if that is no range."""
    known = values.dropna()
    low, high = min(0.0, known.min()), max(0.0, known.max())
    return (float(low), float(high)) if low < high else (0.0, 1.0)

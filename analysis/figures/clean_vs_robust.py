"""Clean against robust accuracy: what each method pays in the one for the other."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import cells
from analysis.cells import NotInTable
from analysis.comparisons import LEVEL, Comparison, compare, scopes_in_words
from analysis.drawing import style
from analysis.drawing.labels import beside

PANEL = ["model", "task"]
SHAPES = 7  # adversaries that can be told apart by shape; more are numbered, in a panel for each chain
BEYOND = " The axes leave out means that are far out of the others (beyond Tukey's outer fences, 1977)."
KEY = 0.13  # inches per row of the legend


@style.styled
def figure(table: pd.DataFrame) -> Figure:
    """A plane for each model and task: seeds small, means large with paired intervals. Raises NotInTable."""
    epsilon = cells.reference_epsilon(table)
    methods = table[~cells.is_baseline_model(table)]
    robust = cells.scores(methods, epsilon)
    metric = robust["metric"].iloc[0]
    clean = cells.scores(methods, metric=metric)
    clean = _told_apart(clean.assign(key=cells.keys(clean)))
    points = clean.merge(robust[["run_id", "value", "n"]], on="run_id", suffixes=("", "_robust"))
    compared = _compared(table, None, metric), _compared(table, epsilon, metric)
    numbers = {str(name): str(i) for i, name in enumerate(dict.fromkeys(points["adversary"]), 1)}
    numbers = numbers if len(numbers) > SHAPES else {}
    several = [c for c in PANEL if points[c].nunique() > 1] if numbers else PANEL
    panels = list(points.groupby([*PANEL, "series"] if numbers else PANEL, sort=False))
    width = style.ONE_COLUMN if len(panels) == 1 else style.TWO_COLUMNS
    rows = (len(panels) + 1) // 2
    drawn = style.new_figure(width, 2.55 * rows + 0.95)
    shared = bool(numbers) and not any(points[c].nunique() > 1 for c in PANEL)  # one scale for all chains of a task
    axes = drawn.subplots(rows, min(len(panels), 2), squeeze=False, sharex=shared, sharey=shared).flat
    far_out = _far_out(points, [*PANEL, "series"] if numbers else PANEL)
    numbered, names = [], 0.0
    for panel, (context, marks) in zip(axes, panels, strict=False):
        inside = marks[~marks["key"].isin(far_out)]
        style.light_grid(panel, "both")
        panel.locator_params(nbins=6)
        _marks(panel, inside, points, compared, numbered=bool(numbers))
        probes = table[cells.is_baseline_model(table) & (table["task"] == context[1])]
        names = max(names, style.reference_lines(panel, _references(probes, metric)))
        if len(panels) > 1:
            title = [cells.display(marks[c].iloc[0]) for c in several]
            title += [cells.series_label(marks["series"].iloc[0])] if numbers else []
            panel.set_title(", ".join(title), pad=names + 4)
        panel.tick_params(labelbottom=True, labelleft=True)
        numbered.append((panel, inside, marks[marks["key"].isin(far_out)]))
        name = cells.display(metric)
        panel.set_xlabel(f"clean {name} ({style.span(marks['n'])} examples)")
        panel.set_ylabel(f"robust {name}, $\\epsilon$ = {epsilon:g} ({style.span(marks['n_robust'])} examples)")
    for panel in list(axes):
        panel.set_visible(False)
    keys = _legend(drawn, points, numbers)
    drawn_within = {panel: (panel.get_xlim(), panel.get_ylim()) for panel, _, _ in numbered}
    for place, (panel, inside, far) in enumerate(numbered):
        panel.set(xlim=drawn_within[panel][0], ylim=drawn_within[panel][1])
        near = _within(panel, far)
        _marks(panel, near, points, compared, numbered=bool(numbers))
        _beyond(panel, far[~far["key"].isin(near["key"])], numbers)
        numbered[place] = panel, pd.concat([inside, near]), far
    style.footnote(drawn, _how_to_read(points, *compared) + (BEYOND if far_out else ""))
    if numbers:
        drawn.set_figheight(drawn.get_figheight() + KEY * keys)
        drawn.draw_without_rendering()  # runs the layout, so that it is known which marks are near each other
        for panel, inside, _ in numbered:
            seeds = inside.set_index("adversary")[["value", "value_robust"]]
            means = seeds.groupby(level=0, sort=False).mean()
            beside(panel, means, [int(numbers[str(name)]) for name in means.index], avoid=seeds)
    return drawn


def _told_apart(clean: pd.DataFrame) -> pd.DataFrame:
    """The rows with 'series', which decides the colour or panel, and 'adversary', which decides the shape or number.

    If there are several methods of training (peft), 'adversary' names the pair of method and adversary.
    """
    rows = clean.drop(columns="key")
    if "peft" not in clean.columns or clean["peft"].nunique() < 2:
        return clean.assign(series=cells.series(rows))
    named = clean["peft"].map(cells.method_label)
    if clean["adversary"].nunique() > 1:
        named = named + ", " + clean["adversary"].map(cells.adversary_label)
    return clean.assign(series=cells.series(rows.assign(peft="none")), adversary=named)


def _far_out(points: pd.DataFrame, group: list[str]) -> set[str]:
    """The keys of the cells whose mean is far from the others of its group, on either axis."""
    far: set[str] = set()
    for _, among in points.groupby(group, sort=False):
        means = among.groupby("key")[["value", "value_robust"]].mean()
        far |= set(means.index[means.apply(style.far_out).any(axis=1)])
    return far


def _within(panel: Axes, marks: pd.DataFrame) -> pd.DataFrame:
    """The marks of cells whose mean lies within the axes."""
    (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
    means = marks.groupby("key")[["value", "value_robust"]].mean()
    seen = means["value"].between(left, right) & means["value_robust"].between(bottom, top)
    return marks[marks["key"].isin(seen.index[seen])]


def _beyond(panel: Axes, marks: pd.DataFrame, numbers: dict[str, str]) -> None:
    """Write at the lower left which cells lie beyond the axes, and where; drawn, they would squeeze the others."""
    means = marks.groupby("adversary", sort=False)[["value", "value_robust"]].mean()
    lines = [
        f"{numbers.get(str(name), cells.adversary_label(str(name)))} at {x:.3f}, {y:.3f}"
        for name, (x, y) in zip(means.index, means.to_numpy(), strict=True)
    ]
    if lines:
        said = "beyond the axes: " + "; ".join(lines)
        panel.text(0.02, 0.02, said, transform=panel.transAxes, fontsize=5.8, va="bottom")


def _compared(table: pd.DataFrame, epsilon: float | None, metric: str) -> dict[str, Comparison]:
    try:
        return {c.key: c for c in compare(table, epsilon, metric)}
    except NotInTable:
        return {}


def _marks(
    panel: Axes,
    marks: pd.DataFrame,
    every: pd.DataFrame,
    compared: tuple[dict[str, Comparison], dict[str, Comparison]],
    numbered: bool,
) -> None:
    """Draw the marks of one panel; every: the marks of all panels, which share colours and shapes."""
    colours, looks = style.colours(every["series"]), style.adversary_looks(every["adversary"])
    width = 0.6 if numbered else 0.9
    counts = every.groupby("key")["seed"].nunique()
    for key, cell in marks.groupby("key", sort=False):
        colour, shape = colours[cell["series"].iloc[0]], looks[cell["adversary"].iloc[0]][1]
        shape = "o" if numbered else shape
        xs, ys = cell["value"], cell["value_robust"]
        panel.plot(xs, ys, shape, color=colour, markersize=2.4, alpha=0.3 if numbered else 0.5, markeredgewidth=0)
        x, y = xs.mean(), ys.mean()
        across, up = (by_key.get(str(key)) for by_key in compared)
        for comparison, line in ((across, panel.hlines), (up, panel.vlines)):
            if comparison is not None and comparison.n > 1:
                low, high = (comparison.baseline_mean + end for end in comparison.t_interval)
                shown, dashes = (colour, "-") if comparison.supported else (style.GREY, (0, (2, 1)))
                line(y if comparison is across else x, low, high, color=shown, linestyle=dashes, linewidth=width)
        supported = [c.supported for c in (across, up) if c is not None]
        filled = any(supported) or not supported
        face, edge = (colour, style.edge(cell["series"].iloc[0], colour)) if filled else ("white", colour)
        panel.plot(x, y, shape, markersize=3.5 if numbered else 5, mfc=face, mec=edge, markeredgewidth=0.7, zorder=3)
        if counts.nunique() > 1 and not numbered:
            panel.annotate(f"{counts[key]}", (x, y), (3.5, 3.5), textcoords="offset points", fontsize=5.5)


def _references(rows: pd.DataFrame, metric: str) -> dict[str, float]:
    if rows.empty or not (rows["metric"] == metric).any():
        return {}
    scores = cells.scores(rows, metric=metric)
    means = scores.groupby(cells.reference_names(scores))["value"].mean()
    return {str(name): float(value) for name, value in means.items()}


def _legend(drawn: Figure, points: pd.DataFrame, numbers: dict[str, str]) -> int:
    chains = [
        style.key(cells.series_label(name), color=colour, marker="o", markeredgecolor=style.edge(name, colour))
        for name, colour in style.colours(points["series"]).items()
    ]
    shapes = [
        style.key(cells.adversary_label(name), color="#606060", marker=shape)
        for name, (_, shape) in style.adversary_looks(points["adversary"]).items()
    ]
    if numbers:  # the panels name the chains
        chains = chains if points["series"].nunique() == 1 else []
        shapes = [style.key(f"{number}  {cells.adversary_label(name)}") for name, number in numbers.items()]
    return style.legend(drawn, [block for block in (chains, shapes) if block])


def _how_to_read(points: pd.DataFrame, clean: dict[str, Comparison], robust: dict[str, Comparison]) -> str:
    counts = points.groupby("key")["seed"].nunique()
    few = points["adversary"].nunique() <= SHAPES
    numbered = ", the number at the mark" if counts.nunique() > 1 and few else ""
    text = (
        f"Large marks: means over {style.seeds_in_words(counts)}{numbered}; small marks: seeds. Bars: 95% t interval "
        "of the paired difference to the baseline (no bars), grey and dashed where the sign-flip test shows none "
        f"(p > {LEVEL:g}, taken alone); hollow: none on either axis."
    )
    return f"{text} {scopes_in_words([*clean.values(), *robust.values()])}"

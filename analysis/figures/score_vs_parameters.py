"""What each method of training scores against how many parameters it trains: all weights, LoRA, a prefix, the head."""

from __future__ import annotations

import contextlib

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, NullFormatter

from analysis import cells
from analysis.cells import NotInTable
from analysis.comparisons import LEVEL, Comparison, compare, scopes_in_words
from analysis.drawing import style
from analysis.drawing.labels import beside
from analysis.stats.paired import t_interval

PANEL = ["model", "task", "adversary"]  # one row of panels for each
PARAMETERS = "trainable_parameters"
WHOLE = "none"  # the value of peft for all weights
KEY = 0.13  # inches per row of the legend
DODGE = 1.07  # marks of one method are side by side, one per chain, by this factor


@style.styled
def figure(table: pd.DataFrame) -> Figure:
    """Score over trained parameters, clean and (where measured) under attack; one mark per method and chain.

    Raises NotInTable if the rows have only one method.
    """
    table = table[~cells.is_baseline_model(table)]
    radii = cells.radii(table)
    points = {epsilon: _points(table, epsilon) for epsilon in radii}
    every = pd.concat(points.values())
    compared = {epsilon: _compared(table, shown, epsilon) for epsilon, shown in points.items()}
    rows = list(dict.fromkeys(every[PANEL].itertuples(index=False, name=None)))
    chains, methods = list(dict.fromkeys(every["series"])), list(dict.fromkeys(every["peft"]))
    width = style.TWO_COLUMNS if len(radii) > 1 else style.ONE_COLUMN
    drawn = style.new_figure(width, 1.9 * len(rows) + (0.75 if len(radii) > 1 else 1.05))
    grid = drawn.subplots(len(rows), len(radii), squeeze=False, sharex=True)
    placed = []
    for line, context in zip(grid, rows, strict=True):
        for panel, epsilon in zip(line, radii, strict=True):
            shown = points[epsilon]
            marks = _marks(shown[(shown[PANEL] == list(context)).all(axis=1)], chains, compared[epsilon])
            _panel(panel, marks, chains)
            metric = cells.display(points[epsilon]["metric"].iloc[0])
            panel.set_ylabel(metric if epsilon is None else f"{metric} under attack, $\\epsilon$ = {epsilon:g}")
            panel.tick_params(labelbottom=True)
            placed.append((panel, marks))
        title = _title(context, every)
        if title:
            line[0].set_title(title)
    for panel in grid[-1]:
        panel.set_xlabel("trained parameters, with the head's")
    _label_a_narrow_axis(grid[0, 0])  # all panels share it
    keys = _legend(drawn, every, chains, methods)
    style.footnote(drawn, _how_to_read(every, [one for by_cell in compared.values() for one in by_cell.values()]))
    drawn.set_figheight(drawn.get_figheight() + KEY * keys)
    drawn.draw_without_rendering()  # runs the layout, so that it is known which marks are near each other
    for panel, marks in placed:
        numbers = [methods.index(method) + 1 for method in marks["peft"]]
        beside(panel, marks[["x", "mean"]].to_numpy(), numbers, avoid=marks[["x", "mean"]].to_numpy())
    return drawn


def _points(table: pd.DataFrame, epsilon: float | None) -> pd.DataFrame:
    """One row per run: PANEL, peft, series, seed, metric, value, parameters; all weights first, then falling."""
    trained = table[(table["split"] == "train") & (table["metric"] == PARAMETERS)]
    parameters = trained.drop_duplicates("run_id").set_index("run_id")["value"].rename("parameters")
    scores = cells.scores(table, epsilon)
    if "peft" not in scores.columns:  # if all rows agree in it, it is not among the columns of a cell
        raise NotInTable("one method of training alone: sweep peft")
    points = scores.assign(series=cells.series(scores.assign(peft=WHOLE))).join(parameters, on="run_id", how="inner")
    if points["peft"].nunique() < 2:
        raise NotInTable("several methods of training, but no two with a row of trained parameters")
    order = points.groupby("peft")["parameters"].mean()
    order[WHOLE] = float("inf")
    return points.sort_values("peft", key=lambda names: -names.map(order), kind="stable")


def _compared(table: pd.DataFrame, points: pd.DataFrame, epsilon: float | None) -> dict[tuple[str, ...], Comparison]:
    """Each method against all weights under the same chain and adversary, by PANEL, series and peft."""
    compared = {}
    for names, group in points.groupby([*PANEL, "series"], sort=False):
        with contextlib.suppress(NotInTable):
            for one in compare(table[table["run_id"].isin(group["run_id"])], epsilon):
                if one.baseline["peft"] == WHOLE:
                    compared[(*names, one.cell["peft"])] = one
    return compared


def _marks(shown: pd.DataFrame, chains: list[str], compared: dict[tuple[str, ...], Comparison]) -> pd.DataFrame:
    """One row per method and chain: peft, series, x, mean, low, high (95% t interval over seeds), differs."""
    marks = []
    for group, cell in shown.groupby([*PANEL, "series", "peft"], sort=False):
        names = tuple(map(str, group))
        *_, chain, method = names
        seeds = cell.groupby("seed")["value"].mean()
        low, high = t_interval(seeds) if len(seeds) > 1 else (seeds.mean(), seeds.mean())
        beside_others = DODGE ** (2 * chains.index(chain) - len(chains) + 1)
        against = compared.get(names)
        mark = {"peft": method, "series": chain, "x": cell["parameters"].mean() * beside_others}
        mark |= {"mean": seeds.mean(), "low": low, "high": high}
        marks.append(mark | {"differs": against is not None and against.supported})
    return pd.DataFrame(marks)


def _panel(panel: Axes, marks: pd.DataFrame, chains: list[str]) -> None:
    panel.set_xscale("log")
    style.light_grid(panel, "y")
    panel.locator_params(axis="y", nbins=6)
    looks = style.chain_looks(chains)
    for mark in marks.to_dict("records"):
        colour, shape = looks[mark["series"]]
        ends = mark["low"], mark["high"]
        panel.plot([mark["x"]] * 2, ends, color=colour, linewidth=0.9, solid_capstyle="butt")
        filled = mark["differs"] or mark["peft"] == WHOLE
        face, edge = (colour, style.edge(mark["series"], colour)) if filled else ("white", colour)
        panel.plot(mark["x"], mark["mean"], shape, markersize=4.2, mfc=face, mec=edge, markeredgewidth=0.7, zorder=3)
        if mark["peft"] == WHOLE:
            panel.axhline(mark["mean"], color=colour, linewidth=0.6, linestyle=(0, (1, 1.5)), zorder=0.5)


def _label_a_narrow_axis(panel: Axes) -> None:
    """Label 1, 2 and 5 times each power of ten where the axis has less than two decades, which have few powers."""
    left, right = panel.get_xlim()
    if right < 100 * left:
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(LogFormatterSciNotation(labelOnlyBase=False, minor_thresholds=(9, 9)))
        panel.xaxis.set_minor_formatter(NullFormatter())


def _title(context: tuple[str, ...], every: pd.DataFrame) -> str:
    """What tells the row of panels from the others, in words."""
    row = pd.Series(dict(zip(PANEL, context, strict=True)))
    return cells.cell_label(row, [column for column in PANEL if every[column].nunique() > 1])


def _legend(drawn: Figure, every: pd.DataFrame, chains: list[str], methods: list[str]) -> int:
    """Draw the legend: the chains' colours and shapes, and each method's number. Returns the number of rows."""
    looks = style.chain_looks(chains)
    own = [
        style.key(cells.series_label(name), color=colour, marker=shape, markeredgecolor=style.edge(name, colour))
        for name, (colour, shape) in looks.items()
    ]
    behind, _ = style.seeds_behind(_seeds(every))
    names = [cells.method_label(name) + behind.get(name, "") for name in methods]
    numbered = [style.key(f"{number}  {name}") for number, name in enumerate(names, 1)]
    return style.legend(drawn, [block for block in (own if len(chains) > 1 else [], numbered) if block])


def _seeds(every: pd.DataFrame) -> pd.Series:
    """The number of seeds behind each mark, by method, series and panel."""
    return every.groupby(["peft", "series", *PANEL], sort=False)["seed"].nunique()


def _how_to_read(every: pd.DataFrame, compared: list[Comparison]) -> str:
    behind, seeds = style.seeds_behind(_seeds(every))
    text = (
        f"Marks: means over {seeds}, with the 95% t interval over seeds; those of one method stand side by side. "
        "Dotted: the mean of all weights. Filled where the sign-flip test shows a difference to all weights of "
        f"the same chain, paired by seed (p $\\leq$ {LEVEL:g}, taken alone); hollow where it shows none."
    )
    if any(behind.values()):
        text += " In brackets: the seeds of each method's marks, where they differ."
    return f"{text} {scopes_in_words(compared)}".strip()

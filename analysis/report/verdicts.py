"""What can be said, in words: a sentence for each comparison, and what they are conditional on."""

from __future__ import annotations

from collections.abc import Sequence

from analysis import cells
from analysis.comparisons import LEVEL, NO_CLAIM, SAME, Comparison, cannot_pass, scopes_in_words
from analysis.report import html
from analysis.report.html import Html, element

FEW = 12  # sentences: a longer list of comparisons that show nothing is folded
READINGS = {
    "better": "Better",
    "worse": "Worse",
    "better (taken alone)": "Better if taken alone, not after Holm's correction",
    "worse (taken alone)": "Worse if taken alone, not after Holm's correction",
    "not shown": "Difference not shown",
    SAME: "The same in every pair of seeds",
    NO_CLAIM: "A difference between these adapted models only: too few to test the method",
    "no test": "One pair of seeds: no test",
}


def verdicts(compared: dict[str, list[Comparison]]) -> Html:
    """A summary sentence and the verdicts for each score; compared: as scores.compared gives it."""
    if not compared:
        return element("p", "Nothing to compare: only one method, or no seed that a method shares with its baseline.")
    return html.joined(_of_score(what, family) for what, family in compared.items())


def in_short(what: str, family: Sequence[Comparison]) -> str:
    """How many comparisons have which reading, in a sentence or two."""
    counts = {reading: sum(one.reading == reading for one in family) for reading in READINGS}
    passed = {name: counts[name] for name in ("better", "worse") if counts[name]}
    alone = counts["better (taken alone)"] + counts["worse (taken alone)"]
    which = f" ({', '.join(f'{count} {name}' for name, count in passed.items())})" if passed else ""
    said = [
        f"{sum(passed.values()) or 'none'} of {_comparisons(len(family))} passes Holm's correction at {LEVEL:g}{which}"
    ]
    said += [f"{alone} would be shown if taken alone"] if alone else []
    said += [f"{counts['not shown']} not shown"] if counts["not shown"] else []
    said += [f"{counts[SAME]} {SAME}"] if counts[SAME] else []
    said += [f"{counts[NO_CLAIM]} without a test of the method"] if counts[NO_CLAIM] else []
    said += [f"{counts['no test']} of one pair of seeds, without a test"] if counts["no test"] else []
    if cannot := cannot_pass(family):
        said.append(f"{cannot} of seeds cannot pass over so many")
    metrics = " or ".join(dict.fromkeys(cells.display(one.metric) for one in family))
    return f"{metrics}, {what}: {'; '.join(said)}."


def _of_score(what: str, family: list[Comparison]) -> Html:
    groups = []
    for reading, title in READINGS.items():
        among = [one.verdict() for one in family if one.reading == reading]
        if among:
            shown = reading not in ("not shown", SAME, "no test") or len(among) <= FEW
            groups.append(html.folded(f"{title}: {len(among)}", html.listed(among), opened=shown))
    said = in_short(what, family)
    scopes = scopes_in_words(family)
    return html.joined([
        element("h3", what[0].upper() + what[1:]),
        element("p", said, class_="lead"),
        element("p", scopes) if scopes else None,
        *groups,
    ])  # fmt: skip


def _comparisons(count: int) -> str:
    return f"{count} comparison" + ("" if count == 1 else "s")

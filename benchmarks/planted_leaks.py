"""Whether the leak report finds planted leaks: test texts of ``pydoc_topic`` among documents of ``pydoc_general``.

EACH texts are planted in each of WAYS, and EACH are not planted, as a control. The same documents are also searched
without the plants. The last way is a paraphrase, which the report does not claim to find: no run of 8 words is kept.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from adapt.config import SplitSizes, TaskConfig
from adapt.data import tasks
from adapt.data.leaks.comparison import Comparison, compare, labelled
from adapt.data.leaks.overlap import LEVELS
from adapt.data.pydoc import corpus

DOCUMENTS, EACH = 20_000, 100
TASK = TaskConfig(
    name="pydoc_topic", kind="classification", format="pydoc", path=None, question="topic", text_column="text",
    text_pair_column=None, label_column="label", metric="macro_f1", num_classes=16,
    max_examples=SplitSizes(None, None, None),
)  # fmt: skip
WAYS: dict[str, Callable[[str, str, str], str]] = {  # the text, and two documents around it
    "verbatim": lambda text, before, after: text,
    "other case and signs": lambda text, before, after: " -- ".join(text.upper().split()),
    "within a longer document": lambda text, before, after: f"{before}\n{text}\n{after}",
    "every 6th word another": lambda text, before, after: " ".join(
        "another" if place % 6 == 5 else word for place, word in enumerate(text.split())
    ),
}


def run() -> list[str]:
    """A Markdown table: how many texts were found at each level, for each way of planting."""
    examples = list(dict.fromkeys(text for text, _ in labelled(tasks.read_task(TASK), "test")))
    random.Random(0).shuffle(examples)
    documents = list(itertools.islice(corpus.corpus("general"), DOCUMENTS))
    groups = {name: examples[i * EACH : (i + 1) * EACH] for i, name in enumerate([*WAYS, "not planted"])}
    around = random.Random(1)
    plants = [WAYS[way](text, *around.sample(documents, 2)) for way in WAYS for text in groups[way]]
    sought = {name: [(text, None) for text in texts] for name, texts in groups.items()}
    lines = [f"| {EACH} test texts each, {len(documents):,} documents | {' | '.join(LEVELS)} |", "|---|---:|---:|---:|"]
    with_plants = compare("corpus", ((text, None) for text in documents + plants), sought)
    lines += [_line(comparison.target, comparison) for comparison in with_plants]
    every = {"": [one for texts in sought.values() for one in texts]}
    without = compare("corpus", ((text, None) for text in documents), every)
    return [*lines, *(_line(f"all {len(comparison.texts)}, nothing planted", comparison) for comparison in without)]


def _line(name: str, comparison: Comparison) -> str:
    return f"| {name} | {' | '.join(str(count.hits) for count in comparison.counts)} |"

"""Whether the leak report finds what was planted: test texts of ``pydoc_topic`` among documents of ``pydoc_general``.

As many texts are planted in each of WAYS, and as many are left out as a control. The same documents without the plants
are searched too. The last way is a paraphrase, which the report does not claim to find: no run of 8 words stays whole.
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
    """A Markdown table: of each way the texts found at each level."""
    examples = list(dict.fromkeys(text for text, _ in labelled(tasks.read_task(TASK), "test")))
    random.Random(0).shuffle(examples)
    documents = list(itertools.islice(corpus.corpus("general"), DOCUMENTS))
    groups = {name: examples[i * EACH : (i + 1) * EACH] for i, name in enumerate([*WAYS, "not planted"])}
    around = random.Random(1)
    plants = [WAYS[way](text, *around.sample(documents, 2)) for way in WAYS for text in groups[way]]
    sought = {name: [(text, None) for text in texts] for name, texts in groups.items()}
    lines = [f"| {EACH} test texts each, {len(documents):,} documents | {' | '.join(LEVELS)} |", "|---|---:|---:|---:|"]
    with_plants = compare("corpus", ((text, None) for text in documents + plants), sought)
    lines += [_line(found.target, found) for found in with_plants]
    every = {"": [one for texts in sought.values() for one in texts]}
    without = compare("corpus", ((text, None) for text in documents), every)
    return [*lines, *(_line(f"all {len(found.texts)}, nothing planted", found) for found in without)]


def _line(name: str, found: Comparison) -> str:
    return f"| {name} | {' | '.join(str(count.hits) for count in found.counts)} |"

"""Script by script: the unit of each measurement, the planted leaks that are found, and the false alarms.

``python -m benchmarks.scripts ONE OTHER > docs/scripts.md``, where ONE and OTHER are folders with translated messages
of software from two fields (gettext catalogues, ``<language>/LC_MESSAGES/*.mo`` anywhere below). Sought texts are
planted in documents, which are other messages in a row; documents without them give the false alarms.
"""

from __future__ import annotations

import gettext
import random
import re
import sys
import timeit
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

from adapt.data import characters
from adapt.data.containment import WORDS, ContainmentIndex
from adapt.data.leaks.overlap import OverlapSearch
from adapt.data.near_duplicates import jaccard, shingles_of
from adapt.data.selection import choose
from adapt.data.text import normalise

SCRIPTS = {  # languages of each, and the unit of n-grams
    "Latin": (("de", "fr", "tr", "fi"), "word"),
    "Hangul": (("ko",), "word"),
    "Han": (("zh_CN", "zh_Hans", "zh_TW", "zh_Hant"), "character"),
    "Kana (Japanese)": (("ja",), "character"),
    "Thai": (("th",), "character with its marks"),
    "Devanagari": (("hi", "mr", "ne"), "word"),
    "Bengali": (("bn", "bn_IN"), "word"),
    "Arabic": (("ar",), "word"),
    "Hebrew": (("he",), "word"),
}
SOUGHT, MESSAGES, SEED, NEAR = 150, 8, 0, 0.8
PLACEHOLDER = re.compile(r"%\(?\w*\)?[-\d.l]*[a-z]|\{\w*\}|<[^>]*>|&\w+;|[_~&]|\\n")


HEAD = """# Scripts

What each measurement counts as a unit, script by script, and what it finds. Made by
`python -m benchmarks.scripts ONE OTHER` from translated messages of software: ONE, {one}; OTHER, {other}.
adapt does not need them.

A word is a run of letters, marks and digits. In scripts without spaces between words each character with its marks is a
unit, and so many of them are worth a word: {worths}.
In a mixed text each run has the unit of its script.

| measurement | unit |
|---|---|
| leak report, leak filter | n-grams worth {words} words |
| near-duplicates | n-grams worth 5 words |
| vocabulary overlap, TF-IDF | words; pairs of adjacent characters in scripts without spaces |
| DSIR | words, signs, and characters of scripts without spaces, each alone and in pairs |
| tokens_per_word | words; characters of scripts without spaces |
| `corpus.min_words`, words of a corpus | what stands between spaces; characters without spaces by their worth |

A text that is worth less than one n-gram counts as one if it has as many letters as {words} words ({letters} a word, or
{syllables} syllables of Hangul; in scripts without spaces two thirds are enough).

- `verbatim`: of texts that are long enough for an n-gram, the share found, each planted between {messages} others.
- `other form`: the same, decomposed, in capitals, with invisible characters, and with other signs.
- `short`: of texts that are one n-gram because of their letters, the share found verbatim.
- `false alarms`: of all these texts, the share found in documents in which they were not planted. Translations repeat
  phrases, so some of them do stand there.
"""


def main(one: Path, other: Path) -> None:
    """Print the page."""
    print("\n".join(page(one, other)))


def page(one: Path, other: Path) -> list[str]:
    """The lines of docs/scripts.md."""
    worths = ", ".join(f"{name} {per_word:g}" for name, (per_word, _) in characters.WITHOUT_SPACES.items())
    head = HEAD.format(
        **{"one": one.name, "other": other.name, "words": WORDS, "worths": worths, "messages": MESSAGES},
        **{"letters": characters.LETTERS, "syllables": characters.SYLLABLES},
    )
    leak = [
        "| script | unit | long texts | verbatim | other form | short texts | short | false alarms |",
        "|---" * 8 + "|",
    ]
    more = ["| script | near-duplicates found | by mistake | DSIR | TF-IDF |", "|---" * 5 + "|"]
    for script, (languages, unit) in SCRIPTS.items():
        fields = [messages(folder, languages) for folder in (one, other)]
        leak.append(f"| {script} | {unit} | {leaks([*fields[0], *fields[1]])} |")
        copies = near(documents([*fields[0], *fields[1]], 12)[:SOUGHT])
        more.append(f"| {script} | {copies} | {' | '.join(map(percent, chosen(*fields)))} |")
    return [head, *leak, "", *BELOW, "", *more, "", *WHY, "", *choices([one, other])]


CHOICES = {
    "Han": ("han", (0.5, 1, 1.5, 2, 3)),
    "Kana (Japanese)": ("kana", (1, 2, 3, 4, 6)),
    "Thai": ("thai", (1, 2, 3, 4, 6)),
}
WHY = [
    "How many characters are worth a word was chosen by this table. Missed: of at most 2000 messages of four",
    "characters or more, those that are too short to be found. False: those of the first 1000 that stand in the rest.",
    "Fewer are missed than in Latin, whose rule is older; still fewer would cost false alarms, of which a large corpus",
    "has many more.",
]


def choices(folders: list[Path]) -> list[str]:
    """For other worths of a character, the messages that are too short to be found, and the false alarms."""
    rows = ["| script | characters a word | missed | false |", "|---|---|---|---|"]
    latin = [text for folder in folders for text in messages(folder, SCRIPTS["Latin"][0]) if len(text) > 3][:2000]
    rows.append(f"| Latin | words | {' | '.join(missed_and_false(latin))} |")
    for script, (name, worths) in CHOICES.items():
        texts = [text for folder in folders for text in messages(folder, SCRIPTS[script][0]) if len(text) > 3][:2000]
        per_word, blocks = characters.WITHOUT_SPACES[name]
        for other in worths:
            characters.WITHOUT_SPACES[name] = other, blocks
            characters.worth.cache_clear()
            characters._worths.cache_clear()
            chosen_one = " (chosen)" if other == per_word else ""
            rows.append(f"| {script} | {other:g}{chosen_one} | {' | '.join(missed_and_false(texts))} |")
        characters.WITHOUT_SPACES[name] = per_word, blocks
        characters.worth.cache_clear()
        characters._worths.cache_clear()
    return rows


BELOW = [
    "Near-duplicates at .8: copies in capitals of documents of 12 messages with a fortieth cut off, and documents that",
    "share one message of 12. DSIR and TF-IDF: the share of what they choose that is of the query's field; half of",
    "what they choose from is.",
]


def missed_and_false(texts: list[str]) -> tuple[str, str]:
    """The share of texts that are too short to be found, and of the first 1000 that stand in the others."""
    index = ContainmentIndex([], WORDS)
    missed = np.mean([not index.sought(normalise(text)) for text in texts])
    return percent(float(missed)), percent(found(texts[:1000], texts[1000:], lambda text: ""))


def run() -> list[str]:
    """What the treatment of other scripts costs text that needs none of it."""
    texts = ["The quick brown fox, which jumps over 13 lazy dogs (again)."] * 20_000
    french = [text.replace("o", "\u00f4") for text in texts]
    plain = re.compile(r"[\W_]+")
    lines = []
    for name, some in (("ASCII", texts), ("accented Latin", french)):
        times = [
            min(timeit.repeat(lambda form=form, some=some: [form(text) for text in some], number=1, repeat=5))
            for form in (normalise, lambda text: plain.sub(" ", text.lower()).strip())
        ]
        lines.append(f"comparing {name}: {times[0] / times[1]:.2f} times lower case and one pattern (target 1.1)")
    return lines


def leaks(texts: list[str]) -> str:
    """Recall of planted texts, long and short, and the share that is found elsewhere, as cells."""
    index = ContainmentIndex([], WORDS)
    forms = {text: normalise(text) for text in texts}
    long = [text for text in texts if next(index.grams(forms[text]), None)][:SOUGHT]
    alone = [text for text in texts if next(index.grams(forms[text]), None) is None]
    short = [text for text in alone if index.sought(forms[text])][:SOUGHT]
    rest = [text for text in texts if text not in {*long, *short}]
    shares = [found(texts, rest, change) for texts, change in ((long, str), (long, disguised), (short, str))]
    verbatim, other, whole = (percent(share) for share in shares)
    alarms = percent(found([*long, *short], rest, lambda text: ""))
    return " | ".join((str(len(long)), verbatim, other, str(len(short)), whole, alarms))


def found(texts: list[str], rest: list[str], change: Callable[[str], str]) -> float:
    """The share of the texts found in documents; ``change``: what is planted of a text."""
    if not texts:
        return float("nan")
    search, draw = OverlapSearch(texts), random.Random(SEED)
    for text in texts:
        others = draw.sample(rest, MESSAGES)
        search.add(". ".join((*others[: MESSAGES // 2], change(text), *others[MESSAGES // 2 :])))
    return len(search.hits()) / len(texts)


def disguised(text: str) -> str:
    """The text decomposed, in capitals, with a soft hyphen or a zero-width space in it, its signs replaced."""
    text = re.sub(r"[.,;:!?]", " - ", unicodedata.normalize("NFD", text).upper())
    return "".join(letter + ("\u00ad\u200b"[place % 2] if place % 7 == 6 else "") for place, letter in enumerate(text))


def documents(texts: list[str], each: int = 4) -> list[str]:
    """Documents of ``each`` messages."""
    return [". ".join(texts[start : start + each]) for start in range(0, len(texts) - each + 1, each)]


def near(texts: list[str]) -> str:
    """The share of cut copies that are near-duplicates, and of documents that share one message, as cells."""
    copies = [(text, text[: -max(1, len(text) // 40)].upper()) for text in texts]
    others = [(one, other.rpartition(". ")[0] + ". " + one.rpartition(". ")[2]) for one, other in pairwise(texts)]
    shares = (
        np.mean([jaccard(shingles_of(one), shingles_of(other)) >= NEAR for one, other in pairs])
        for pairs in (copies, others)
    )
    return " | ".join(percent(float(share)) for share in shares)


def chosen(one: list[str], other: list[str]) -> tuple[float, float]:
    """Of what DSIR draws and of what TF-IDF finds nearest, the share that is of the query's field."""
    fields = [documents(texts) for texts in (one, other)]
    half = min(len(fields[0]) // 2, len(fields[1]))
    query, mine, others = fields[0][:half], fields[0][half : 2 * half], fields[1][:half]
    among = np.arange(2 * half)
    drawn = choose.by_dsir(query, [*mine, *others], among, half // 2, SEED).documents
    nearest = choose.by_tfidf(query, [*mine, *others], among, 1).documents
    return float(np.mean(drawn < half)), float(np.mean(nearest < half))


def percent(share: float) -> str:
    """A share for the table."""
    return "" if np.isnan(share) else f"{100 * share:.1f}%"


def messages(folder: Path, languages: tuple[str, ...]) -> list[str]:
    """The distinct translated messages of these languages in a fixed random order, without placeholders."""
    found: dict[str, str] = {}
    for language in languages:
        for file in sorted(folder.glob(f"**/{language}/LC_MESSAGES/*.mo")):
            try:
                with open(file, "rb") as stream:
                    catalogue = gettext.GNUTranslations(stream)._catalog  # type: ignore[attr-defined]
            except (OSError, UnicodeDecodeError):
                continue
            for source, message in catalogue.items():
                text = " ".join(PLACEHOLDER.sub(" ", message).split()) if isinstance(source, str) and source else ""
                if normalise(text) and (language in SCRIPTS["Latin"][0] or not re.search("[A-Za-z]{3}", text)):
                    found.setdefault(normalise(text), text)
    texts = sorted(found.values())
    random.Random(SEED).shuffle(texts)
    return texts


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))

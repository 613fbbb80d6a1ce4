"""A text in which nothing can be read is an error with its file and line for all readers; in a corpus it is dropped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import torch
from world import write_jsonl

from adapt.config import ConfigError, CorpusConfig, SplitSizes, TaskConfig
from adapt.data import corpora, files, tasks
from adapt.data.kinds import classification as classified
from adapt.data.kinds import tagging as tagged
from adapt.serving.requests import check_request
from adapt.tasks import classification
from adapt.tasks.heldout import HeldOut, Losses, NotFiniteLoss
from adapt.tasks.kind import NotFinite
from adapt.tasks.prediction import predict
from adapt.tasks.tagging import EncodedWords, predict_tags

BLANK = {
    "empty": "",
    "spaces": " \t ",
    "wide space": "\u3000\u00a0",
    "zero width": "\u200b\u200d\ufeff",
    "control": "\x07\x1b",
    "filler": "\u3164",
    "soft hyphen": "\u00ad",
}
NO_TEXT = {"null": None, "number": 7, "NaN": float("nan"), "true": True, "list": ["a"]}
NOTHING = "in which nothing can be read"


def config(folder: Path, **more: Any) -> TaskConfig:
    given = {"text_pair_column": None, "kind": "classification", "format": "jsonl", "metric": "accuracy", **more}
    return TaskConfig(
        name="t",
        path=str(folder),
        text_column="text",
        label_column="label",
        unlabelled=None,
        entity_markers="keep",
        question=None,
        num_classes=None,
        max_examples=SplitSizes(None, None, None),
        **given,
    )


def rows(number: int = 4) -> list[dict]:
    return [{"text": f"a text {i}", "label": "xy"[i % 2], "second": f"another {i}"} for i in range(number)]


def write(folder: Path, split: str, changed: list[dict], kind: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / f"{split}.{kind}"
    if kind == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in changed))
    elif kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(changed), file)
    else:
        quoted = [",".join(f'"{row[name]}"' for name in ("text", "label", "second")) for row in changed]
        file.write_text("\n".join(["text,label,second", *quoted]) + "\n")
    return file


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("split", ["train", "dev", "test"])
@pytest.mark.parametrize("blank", BLANK)
def test_a_blank_text_of_a_task(tmp_path: Path, blank: str, split: str, kind: str) -> None:
    for each in ("train", "dev", "test"):
        changed = rows()
        changed[2]["text"] = BLANK[blank] if each == split else changed[2]["text"]
        write(tmp_path / "t", each, changed, kind)
    place = {"jsonl": ":3", "csv": ":4", "parquet": ": row 3"}[kind]
    with pytest.raises(
        ConfigError, match=rf"{split}\.{kind}{place}: column 'text' \(task.text_column=text\) .*{NOTHING}"
    ):
        tasks.read_task(config(tmp_path / "t", format=kind))


@pytest.mark.parametrize("column", ["text", "second"])
@pytest.mark.parametrize("given", [*BLANK, *NO_TEXT])
def test_one_side_of_a_pair(tmp_path: Path, given: str, column: str) -> None:
    changed = rows()
    changed[1][column] = {**BLANK, **NO_TEXT}[given]
    for split in ("train", "dev", "test"):
        write(tmp_path / "t", split, changed if split == "dev" else rows(), "jsonl")
    with pytest.raises(ConfigError, match=rf"dev\.jsonl:2: column '{column}' \(task.text_\w+={column}\) holds"):
        tasks.read_task(config(tmp_path / "t", text_pair_column="second"))


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        *(("jsonl", given) for given in [*BLANK, *NO_TEXT]),
        *(
            ("conll", given) for given in ("zero width", "soft hyphen", "filler")
        ),  # the others have no line of their own
    ],
)
def test_a_sentence_of_blank_words(tmp_path: Path, kind: str, given: str) -> None:
    """A single word that cannot be seen may stand beside others: WikiANN has such; it is answered O and counted."""
    word = {**BLANK, **NO_TEXT}[given]
    good = {"text": ["a", "b"], "label": ["B-X", "O"]}
    for split in ("train", "dev", "test"):
        bad = {**good, "text": [word, word]}
        write_jsonl(tmp_path / f"{split}.jsonl", [good, bad if split == "test" else good])
        lines = f"a\tB-X\nb\tO\n\n{word}\tB-X\n{word}\tO\n" if split == "test" else "a\tB-X\nb\tO\n"
        (tmp_path / f"{split}.conll").write_text(lines)
    with pytest.raises(ConfigError, match=rf"test\.{kind}:{2 if kind == 'jsonl' else 4}: "):
        tasks.read_task(config(tmp_path, format=kind, kind="tagging", metric="span_f1"))


READERS: dict[str, Callable[[files.Row], Any]] = {
    "predict": classified.read_unlabelled,
    "serve": lambda row: check_request(0, row[0], {"adapter": "a", **row[1]}),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("given", [*BLANK, *NO_TEXT])
def test_a_request_without_a_text(given: str, reader: str) -> None:
    with pytest.raises(ConfigError, match=r"^f\.jsonl:3: column 'text' "):
        READERS[reader](("f.jsonl:3", {"text": {**BLANK, **NO_TEXT}[given]}))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("given", [*BLANK, "number", "NaN", "list"])
def test_a_request_without_a_second_text(given: str, reader: str) -> None:
    with pytest.raises(ConfigError, match=r"^f\.jsonl:3: column 'text_pair' "):
        READERS[reader](("f.jsonl:3", {"text": "a", "text_pair": {**BLANK, **NO_TEXT}[given]}))


@pytest.mark.parametrize("words", [["\u200b", "\u200b"], ["\u3164"], [" "], ["a", 7], [], None])
def test_a_sentence_to_tag_without_a_word(words: Any) -> None:
    with pytest.raises(ConfigError, match=r"^f\.jsonl:3: "):
        tagged.read_tokens(("f.jsonl:3", {"tokens": words}))


def test_rows_of_which_only_some_are_pairs() -> None:
    given = [{"text": "a", "text_pair": "b"}, {"text": "c"}, {"text": "d", "text_pair": None}]
    with pytest.raises(ConfigError, match="f:2: no column 'text_pair' or null in it, but f:1 has a pair"):
        classification.encode(None, given, ["f:1", "f:2", "f:3"], 8)  # type: ignore[arg-type]


@pytest.mark.parametrize("blank", BLANK)
def test_a_blank_document_is_dropped_and_counted(tmp_path: Path, blank: str) -> None:
    write_jsonl(
        tmp_path / "c.jsonl",
        [{"text": f"words that differ {number}"} for number in range(60)] + [{"text": BLANK[blank]}] * 3,
    )
    cfg = CorpusConfig(
        name="c", format="files", path=str(tmp_path / "c.jsonl"), domain=None, subset=None, split=None, revision=None,
        text_column="text", min_words=0, heldout_fraction=0.2, max_documents=None, near_duplicates=None, exclude=[],
    )  # fmt: skip
    corpus = corpora.read_corpus(cfg, [])
    assert len(corpus.train) + len(corpus.heldout) == 60 and corpus.dropped["short"] == 3


class Answers(torch.nn.Module):
    """Logits [B, 2] or [P, 2]: not a number where the first token of a text is 9."""

    def __init__(self, wrong: float) -> None:
        super().__init__()
        self.wrong = wrong

    def forward(self, input_ids: torch.Tensor, positions: torch.Tensor | None = None, **more: Any) -> torch.Tensor:
        bad = input_ids[:, 0] == 9 if positions is None else input_ids.flatten()[positions] == 9
        return torch.where(bad[:, None], self.wrong, torch.tensor([[1.0, 2.0]]))


class Padder:
    """The parts of a tokenizer that a batch needs."""

    pad_token_id, eos_token_id = 0, None
    all_special_ids = (0,)
    model_input_names = ("input_ids", "attention_mask")


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_an_answer_that_is_no_number_is_never_scored(wrong: float) -> None:
    data = classification.batching.Encoded([[1, 2], [3], [9, 4, 5], [9]], None)
    with pytest.raises(NotFinite, match="^text 2: the model's answer is not finite"):
        predict(Answers(wrong), Padder(), data, 2, torch.device("cpu"))  # type: ignore[arg-type]
    fine = classification.batching.Encoded([[1, 2], [3]], None)
    assert predict(Answers(wrong), Padder(), fine, 2, torch.device("cpu")).argmax(-1).tolist() == [1, 1]  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_tag_that_is_no_number_is_never_scored(wrong: float) -> None:
    words = EncodedWords([[1, 2], [3, 9]], None, [[0, 1], [0, 1]], [[0, 1], [0, 1]])
    with pytest.raises(NotFinite, match="^sentence 1: "):
        predict_tags(Answers(wrong), Padder(), words, [2, 2], batch_size=2, device=torch.device("cpu"))  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_held_out_loss_that_is_no_number_is_an_error(wrong: float) -> None:
    class Task:
        model = torch.nn.Identity()
        objective = type("O", (), {"losses": staticmethod(lambda model, batch: torch.tensor([1.0, wrong]))})

    losses = HeldOut([{}], [torch.tensor([0, 1]).numpy()]).losses(Task(), torch.device("cpu"))  # type: ignore[arg-type]
    with pytest.raises(NotFiniteLoss, match=f"text of corpus: the loss over its 2 tokens is {wrong}"):
        losses.finite("text of corpus")
    assert Losses(1.0, 1.0, 2, 2).finite("x") == Losses(1.0, 1.0, 2, 2)

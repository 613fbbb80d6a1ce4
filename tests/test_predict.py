"""Answers and exports of a finished run."""

import json
from pathlib import Path

import pytest
import torch
from decoders import byte_tokenizer, write_decoder
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer
from world import Written, pipeline, sentence, write_jsonl

from adapt import predict
from adapt.config import ConfigError
from adapt.data.tokens import batching
from adapt.models import loading
from adapt.runs import finetuned
from adapt.tasks import classification, tagging


@pytest.fixture(scope="module")
def finished(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    root = tmp_path_factory.mktemp("finished")
    return root, {pooling: pipeline(world, root, f"finetune.pooling={pooling}").run() for pooling in ("mean", "cls")}


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    write_jsonl(
        tmp_path / "texts.jsonl",
        [{"text": sentence(label, number)} for number in range(3) for label in ("animal", "metal")],
    )
    return tmp_path / "texts.jsonl"


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_every_text_gets_a_label_and_probabilities(
    finished, texts: Path, capsys: pytest.CaptureFixture, pooling: str
) -> None:
    root, runs = finished
    predict.main([runs[pooling][:12], str(texts), "--root", str(root)])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == [json.loads(line)["text"] for line in texts.read_text().splitlines()]
    for row in rows:
        assert set(row["probabilities"]) == {"animal", "metal"}
        assert sum(row["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
        assert row["predicted"] == max(row["probabilities"], key=row["probabilities"].get)


def test_a_cls_export_is_a_plain_transformers_folder(finished, texts: Path, tmp_path: Path) -> None:
    root, runs = finished
    predict.main([runs["cls"], "--root", str(root), "--export", str(tmp_path / "out")])
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ours, labels = loading.load_classifier(finetuned.finetuned_folder(runs["cls"], root))
    batch = tokenizer([sentence("animal", 1)], return_tensors="pt")
    assert torch.equal(plain(**batch).logits, ours.eval()(**batch))
    assert list(plain.config.id2label.values()) == labels


def test_a_mean_export_opens_as_an_encoder_and_predicts_the_same(
    finished, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root, runs = finished
    predict.main([runs["mean"], str(texts), "--root", str(root)])
    direct = capsys.readouterr().out
    predict.main([runs["mean"], "--root", str(root), "--export", str(tmp_path / "out")])
    assert "AutoModel.from_pretrained" in capsys.readouterr().out
    AutoModel.from_pretrained(tmp_path / "out")
    predict.main([str(tmp_path / "out"), str(texts)])
    assert capsys.readouterr().out == direct


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["zzz", "TEXTS"], "no run in .* whose id begins so"),
        (["RUN", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
        (["RUN"], "nothing to do"),
    ],
)
def test_bad_input_is_one_sentence(finished, texts: Path, arguments: list[str], message: str) -> None:
    root, runs = finished
    given = [{"TEXTS": str(texts), "RUN": runs["mean"]}.get(word, word) for word in arguments]
    with pytest.raises(SystemExit, match=message):
        predict.main([*given, "--root", str(root)])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"text": "x", "id": NaN}', "texts.jsonl:7: column 'id' cannot be written back"),
        ('{"text": "x", "id": "\\ud83d"}', "texts.jsonl:7: column 'id' holds half a character"),
        ('{"text": "x", "id": ' + "1" * 5000 + "}", "texts.jsonl:7: holds an integer of more than"),
    ],
    ids=["nan", "surrogate", "digits"],
)
def test_a_row_that_could_not_be_written_with_its_answer(finished, texts: Path, row: str, message: str, capsys) -> None:
    root, runs = finished
    with texts.open("a") as stream:
        stream.write(row + "\n")
    with pytest.raises(SystemExit, match=message):
        predict.main([runs["mean"], str(texts), "--root", str(root)])
    assert not capsys.readouterr().out


def test_answers_are_written_as_they_come_and_are_the_same(finished, texts: Path, monkeypatch) -> None:
    root, runs = finished
    together, portions = Written(), Written()
    predict.answer(finetuned.finetuned_folder(runs["mean"], root), texts, together)
    monkeypatch.setattr(predict, "AT_ONCE", 4)
    predict.answer(finetuned.finetuned_folder(runs["mean"], root), texts, portions)
    assert (together.flushed, portions.flushed) == ([6], [4, 6])
    assert portions.getvalue() == together.getvalue()


def test_pairs_and_sentences_are_cut_alike() -> None:
    data = batching.Encoded([[1], [2], [3]], [[0], [0], [1]])
    assert predict.part(data, slice(1, 3)) == batching.Encoded([[2], [3]], [[0], [1]])
    words = tagging.EncodedWords([[1], [2]], None, [[0], []], [[0], []])
    assert predict.part(words, slice(0, 1)) == tagging.EncodedWords([[1]], None, [[0]], [[0]])


def test_a_text_without_a_token_is_named_before_any_answer(tmp_path: Path) -> None:
    """A decoder's tokenizer may add no tokens around a text."""
    said = [sentence(label, number) for number in range(30) for label in ("animal", "metal")]
    model = loading.new_classifier(
        write_decoder(tmp_path / "base", said), labels=["x", "y"], pooling="mean", dropout=0.0
    )
    model.save(tmp_path / "model", byte_tokenizer(said), ["x", "y"])
    write_jsonl(tmp_path / "texts.jsonl", [{"text": "the cat"}, {"text": ""}])
    out = Written()
    with pytest.raises(ConfigError, match=r"texts.jsonl:2: column 'text' .* holds '', in which nothing can be read"):
        predict.answer(tmp_path / "model", tmp_path / "texts.jsonl", out)
    with pytest.raises(ConfigError, match=r"texts.jsonl:2: its text has no token, and"):
        classification.encode(
            byte_tokenizer(said), [{"text": "the"}, {"text": ""}], ["texts.jsonl:1", "texts.jsonl:2"], 9
        )
    assert not out.getvalue()


def test_it_says_how_the_texts_were_read(finished, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root, runs = finished
    texts = [sentence("metal", 1), "the cat " * 100, "이 영화 정말"]
    write_jsonl(tmp_path / "texts.jsonl", [{"text": text} for text in [*texts, *texts[:1] * 20]])
    predict.main([runs["mean"], str(tmp_path / "texts.jsonl"), "--root", str(root)])
    said = capsys.readouterr().err
    assert "23 texts, 1 cut at 32 tokens; " in said and "1 with nothing that it knows, the first at " in said
    assert "texts.jsonl:3" in said


@pytest.mark.parametrize("text", ["이 영화 정말 the", "кошка спит на cat", "यह फिल्म बहुत old", "the cat 电影好看吗"])
def test_texts_that_are_mostly_unknown_are_refused_unless_allowed(
    finished, tmp_path: Path, text: str, capsys: pytest.CaptureFixture
) -> None:
    root, runs = finished
    write_jsonl(tmp_path / "texts.jsonl", [{"text": text}] * 2)
    given = [runs["mean"], str(tmp_path / "texts.jsonl"), "--root", str(root)]
    with pytest.raises(SystemExit, match=r"2 texts, .* is unknown to the tokenizer; .* --allow-unknown"):
        predict.main(given)
    assert not capsys.readouterr().out
    predict.main([*given, "--allow-unknown"])
    assert len(capsys.readouterr().out.splitlines()) == 2

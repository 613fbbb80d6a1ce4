"""Generation: greedy decoding by hand, single prompts against batches, draws by seed; repetition by hand."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from decoders import SHAPES, byte_tokenizer, causal_lm, write_decoder
from world import pipeline, sentence

from adapt import generate, results
from adapt.config import ConfigError, RuntimeConfig, SamplesConfig
from adapt.data import corpora
from adapt.models import language, loading
from adapt.stages import samples
from adapt.tasks import generation
from adapt.tasks import generation as repetition
from adapt.tasks.generation import Decoding

CPU = torch.device("cpu")
GREEDY = Decoding(max_new_tokens=12, temperature=0.0, top_p=1.0, seed=0)
DRAWN = Decoding(max_new_tokens=12, temperature=1.0, top_p=0.9, seed=3)
TEXTS = [sentence(label, number) for number in range(30) for label in ("animal", "metal")]
PROMPTS = [[11, 12, 13, 14, 15, 16], [21], [31, 32, 33]]


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer(TEXTS)


def written(model: language.CausalLM, tokenizer, prompts: list[list[int]], how: Decoding) -> list[list[int]]:
    return generation.generate(model, tokenizer, prompts, how, batch_size=8, device=CPU)


@pytest.mark.parametrize("architecture", SHAPES)
def test_greedy_takes_the_likeliest_without_a_cache_too_and_a_batch_changes_nothing(architecture, tokenizer) -> None:
    """A batch is padded on the left; a wrong position or mask would change the first answers."""
    model = causal_lm(architecture)
    together = written(model, tokenizer, PROMPTS, GREEDY)
    for prompt, answer in zip(PROMPTS, together, strict=True):
        assert written(model, tokenizer, [prompt], GREEDY) == [answer]
        ids = list(prompt)
        for token in answer:
            with torch.no_grad():
                assert int(model.model(torch.tensor([ids])).logits[0, -1].argmax()) == token
            ids.append(token)
    assert len({tuple(answer) for answer in together}) > 1
    drawn = written(model, tokenizer, PROMPTS, DRAWN)
    assert [written(model, tokenizer, [prompt], DRAWN)[0] for prompt in PROMPTS] == drawn


def test_draws_depend_only_on_the_seed(tokenizer) -> None:
    model = causal_lm("llama")
    torch.manual_seed(1)
    first = written(model, tokenizer, PROMPTS, DRAWN)
    torch.manual_seed(2)
    assert written(model, tokenizer, PROMPTS[::-1], DRAWN) == first[::-1]
    assert written(model, tokenizer, PROMPTS, replace(DRAWN, seed=4)) != first
    assert first != written(model, tokenizer, PROMPTS, GREEDY)


def test_draws_have_the_odds_of_the_model_within_the_nucleus() -> None:
    """Of probabilities .5, .3, .15 and .05 at temperature 1, top_p = .8 leaves the first two, at 5 to 3."""
    prompts = [[number] for number in range(4000)]
    scores = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(4000, -1)
    chosen = generation.Sampling(replace(DRAWN, top_p=0.8), prompts)(torch.tensor(prompts), scores).argmax(-1)
    shares = torch.bincount(chosen, minlength=4) / 4000
    torch.testing.assert_close(shares, torch.tensor([0.625, 0.375, 0.0, 0.0]), atol=0.03, rtol=0)  # 4 standard errors
    cold = generation.Sampling(replace(DRAWN, top_p=1.0, temperature=0.5), prompts)(torch.tensor(prompts), scores)
    squares = torch.tensor([0.25, 0.09, 0.0225, 0.0025])
    shares = torch.bincount(cold.argmax(-1), minlength=4) / 4000
    torch.testing.assert_close(shares, squares / squares.sum(), atol=0.03, rtol=0)


def test_an_answer_ends_with_the_end_of_text(tokenizer) -> None:
    """Any token may be declared the end of text: the second token of a greedy answer then ends it."""
    model = causal_lm("llama")
    answer = written(model, tokenizer, [PROMPTS[0]], GREEDY)[0]
    end = next(token for token in answer if token != answer[0])
    model.model.config.eos_token_id = [0, end]
    again = written(model, tokenizer, PROMPTS, GREEDY)[0]
    assert again == answer[: answer.index(end) + 1] and len(again) < len(answer)
    assert generation.without_end(again, generation.end_tokens(model, tokenizer)) == again[:-1]
    assert generation.without_end(answer[:1], [0, end]) == answer[:1]


def test_a_folders_generation_defaults_are_ignored(tokenizer) -> None:
    model = causal_lm("llama")
    plain = written(model, tokenizer, PROMPTS, GREEDY)
    model.model.generation_config.repetition_penalty = 5.0
    model.model.generation_config.max_length = 3
    assert written(model, tokenizer, PROMPTS, GREEDY) == plain
    assert model.model.generation_config.repetition_penalty == 5.0
    model.model.generation_config.eos_token_id = plain[0][1]  # only the tokens that end an answer count
    assert written(model, tokenizer, PROMPTS, GREEDY)[0] == generation.to_end(plain[0], [plain[0][1]])


def test_more_positions_than_there_are_are_refused(tokenizer) -> None:
    model = causal_lm("gpt2")
    assert len(written(model, tokenizer, [[1] * 150], replace(GREEDY, max_new_tokens=11))[0]) <= 11
    with pytest.raises(ConfigError, match="max_new_tokens=12: after a prompt of 150 tokens this gpt2 .* 11 more"):
        written(model, tokenizer, [[1] * 150], GREEDY)


def test_a_prompt_begins_as_a_text_and_does_not_end(tokenizer) -> None:
    from adapt.assets.architectures import byte_pairs

    llama = byte_pairs(TEXTS)
    assert generation.encode_prompt(llama, "a cat")[0] == llama.bos_token_id
    assert llama.decode(generation.encode_prompt(llama, "a  Cat\n")[1:]) == "a  Cat\n"
    assert generation.encode_prompt(llama, "") == [llama.bos_token_id]
    assert tokenizer.decode(generation.encode_prompt(tokenizer, "Größe")) == "Größe"
    with pytest.raises(ConfigError, match="prompt '': has no token to continue from"):
        generation.encode_prompt(tokenizer, "")


# Repetition, by hand -------------------------------------------------------------------------------------------------


def test_repeated_ngrams_by_hand() -> None:
    """1 2 3 4 1 2 3 4 has the 4-grams 1234, 2341, 3412, 4123, 1234: four of five are different."""
    assert repetition.repeated([1, 2, 3, 4, 1, 2, 3, 4]) == pytest.approx(1 / 5)
    assert repetition.repeated([7] * 8) == pytest.approx(4 / 5)
    assert repetition.repeated([1, 2, 3, 4]) == 0
    assert repetition.repeated([1, 2, 3]) is None
    assert repetition.repeated([1, 1, 2, 1, 1], n=2) == pytest.approx(1 / 4)


def test_distinct_ngrams_by_hand() -> None:
    """Of seven tokens 1 1 2 / 1 1 2 3, three are different, and so are the pairs 11, 12, 23."""
    assert repetition.distinct([[1, 1, 2], [1, 1, 2, 3]], 1) == pytest.approx(3 / 7)
    assert repetition.distinct([[1, 1, 2], [1, 1, 2, 3]], 2) == pytest.approx(3 / 7)
    assert repetition.distinct([[], []], 1) is None


# The stage -----------------------------------------------------------------------------------------------------------

ASKED = SamplesConfig("corpus", prompts=3, prompt_words=4, max_new_tokens=8, temperature=1.0, top_p=1.0, seed=0)
RUNTIME = RuntimeConfig(device="cpu", threads=1)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("samples")
    corpora.write_corpus(corpora.Corpus([], [*TEXTS, "too short"], {}), folder / "text")
    return {"model": write_decoder(folder / "model", TEXTS), "text": folder / "text"}


def test_the_same_beginnings_whatever_the_order() -> None:
    prompts = samples.beginnings(TEXTS, ASKED)
    assert samples.beginnings(TEXTS[::-1], ASKED) == prompts and len(prompts) == 3
    for prompt in prompts:
        assert len(prompt.text.split()) == 4 and prompt.text + prompt.continuation in TEXTS
    odd = " a  b\tc d\n\ne f  g h"
    (prompt,) = samples.beginnings([odd], replace(ASKED, prompts=1))
    assert (prompt.text, prompt.continuation) == (" a  b\tc d", "\n\ne f  g h")
    assert len(samples.beginnings(TEXTS[:2], ASKED)) == 2
    with pytest.raises(ConfigError, match="evaluate.samples.prompt_words=4: no held-out text of corpus"):
        samples.beginnings(["one two three four five six seven"], ASKED)


def test_answers_are_stored_and_counted(inputs: dict[str, Path], tmp_path: Path) -> None:
    measurements = samples.samples(ASKED, inputs, tmp_path, RUNTIME, batch_size=2)
    lines = [json.loads(line) for line in (tmp_path / samples.FILE).read_text("utf-8").splitlines()]
    assert [line["decoding"] for line in lines] == ["truth"] * 3 + ["greedy"] * 3 + ["sampled"] * 3
    assert len({line["prompt_hash"] for line in lines}) == 3
    rows = {(row["split"], row["metric"]): row for row in measurements}
    for name in ("truth", "greedy", "sampled"):
        mine = [line for line in lines if line["decoding"] == name]
        shares = [line["repetition"] for line in mine if line["repetition"] is not None]
        assert rows[f"corpus/{name}", "seq_rep_4"]["value"] == pytest.approx(sum(shares) / len(shares))
        assert rows[f"corpus/{name}", "seq_rep_4"]["n"] == len(shares)
        assert rows[f"corpus/{name}", "answer_tokens"]["value"] == sum(line["tokens"] for line in mine) / 3
        assert rows[f"corpus/{name}", "ended"]["value"] == sum(line["ended"] for line in mine) / 3
        assert 0 < rows[f"corpus/{name}", "distinct_2"]["value"] <= 1
    for line in lines[:3]:
        (whole,) = [text for text in TEXTS if text.startswith(line["prompt"])]
        assert whole[len(line["prompt"]) :].startswith(line["answer"]) and line["answer"]
    again = tmp_path / "again"
    again.mkdir()
    samples.samples(ASKED, inputs, again, RUNTIME, batch_size=9)
    assert (again / samples.FILE).read_bytes() == (tmp_path / samples.FILE).read_bytes()


def test_a_run_stores_what_its_language_model_wrote(world: Path, inputs: dict[str, Path], tmp_path: Path) -> None:
    more = [f"model.path={inputs['model']}", "evaluate.samples.prompts=4", "evaluate.samples.prompt_words=5"]
    run = pipeline(world, tmp_path, *more, "evaluate=samples", "evaluate.samples.max_new_tokens=8")
    run_id = run.run()
    table = results.samples(tmp_path, run_id)
    assert table.groupby("decoding").size().to_dict() == {"greedy": 4, "sampled": 4, "truth": 4}
    rows = results.load(tmp_path).set_index(["split", "metric"])["value"]
    assert rows["samples/corpus/greedy", "distinct_1"] > 0 and rows["domains/corpus", "clm_loss"] > 0
    run.run()
    assert results.samples(tmp_path, run_id).equals(table)
    plain = pipeline(world, tmp_path, *more[:1], "evaluate=clean")
    assert results.samples(tmp_path, plain.run()).empty
    config = results.load(tmp_path).set_index("run_id").loc[plain.run_id()]
    assert config["evaluate.samples.prompts"].isna().all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("evaluate.samples.text=pool", "evaluate.samples.text=pool: possible are corpus, general, task, other_task"),
        ("evaluate.samples.temperature=0", "evaluate.samples.temperature=0.0: must be more than 0"),
        ("evaluate.samples.top_p=1.5", "evaluate.samples.top_p=1.5: must be more than 0 and at most 1"),
        ("evaluate.samples.prompts=0", "evaluate.samples.prompts=0: must be 1 or more"),
        ("evaluate.samples.max_new_tokens=500", "max_new_tokens=500: after a prompt of 12 tokens this llama"),
        ("budget=smoke", "evaluate.samples: .* is a bert, which writes no text; use a decoder"),
    ],
)
def test_bad_settings_are_refused_before_training(world, inputs, tmp_path: Path, given: str, message: str) -> None:
    model = world / "model" if given == "budget=smoke" else inputs["model"]
    with pytest.raises(ConfigError, match=message):
        pipeline(world, tmp_path, "evaluate=samples", given, f"model.path={model}").run()
    assert not (tmp_path / "store" / "finetune").exists()


# The command ---------------------------------------------------------------------------------------------------------


def test_the_command_answers_a_file(inputs: dict[str, Path], tmp_path: Path, capsys) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"text": "the cat", "id": 1}\n{"text": "iron"}\n')
    options = [str(inputs["model"]), str(file), "--max-new-tokens", "5", "--temperature", "0.9", "--seed", "2"]
    generate.main(options)
    first = capsys.readouterr().out
    generate.main(options)
    assert capsys.readouterr().out == first
    lines = [json.loads(line) for line in first.splitlines()]
    assert (
        lines[0]["id"] == 1
        and [set(line) - {"id"} for line in lines] == [{"text", "answer", "ended", "repetition"}] * 2
    )
    out = io.StringIO()
    generate.answer(inputs["model"], file, replace(GREEDY, max_new_tokens=5), out)
    assert [json.loads(line)["text"] for line in out.getvalue().splitlines()] == ["the cat", "iron"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--top-p", "0"], "--top-p 0.0: must be more than 0"),
        (["--temperature", "-1"], "--temperature -1.0: must be 0 or more"),
        (["--max-new-tokens", "0"], "--max-new-tokens 0: must be 1 or more"),
    ],
)
def test_the_command_refuses_wrong_arguments(inputs, tmp_path: Path, more: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        generate.main([str(inputs["model"]), str(tmp_path / "x"), *more])


def test_the_command_refuses_what_writes_nothing(world: Path, inputs: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("the cat\n")
    with pytest.raises(SystemExit, match="a bert writes no text"):
        generate.main([str(world / "model"), str(file)])
    loading.new_classifier(inputs["model"], labels=["x", "y"], pooling="mean", dropout=0.0).save(
        tmp_path / "tagged", loading.load_tokenizer(inputs["model"]), ["x", "y"]
    )
    with pytest.raises(SystemExit, match="is fine-tuned to label texts, and generates none"):
        generate.main([str(tmp_path / "tagged"), str(file)])
    with pytest.raises(SystemExit, match="no such file"):
        generate.main([str(inputs["model"]), str(tmp_path / "nothing.jsonl")])


def test_a_run_is_asked_by_its_id(world: Path, inputs: dict[str, Path], tmp_path: Path, capsys) -> None:
    """It asks the language model that the run's fine-tuning started from; without pretraining that is the base."""
    stage = ["pretrain.tapt.batch_size=8", "pretrain.tapt.micro_batch_size=8"]
    run_id = pipeline(
        world, tmp_path, f"model.path={inputs['model']}", "evaluate=clean", "pretrain=[tapt]", *stage
    ).run()
    file = tmp_path / "prompts.txt"
    file.write_text("the cat\n")
    generate.main([run_id[:12], str(file), "--root", str(tmp_path), "--max-new-tokens", "3"])
    assert json.loads(capsys.readouterr().out)["text"] == "the cat"
    plain = pipeline(world, tmp_path, f"model.path={inputs['model']}", "evaluate=clean").run()
    with pytest.raises(SystemExit, match="it is the base model, or was removed; give a model's folder"):
        generate.main([plain, str(file), "--root", str(tmp_path)])

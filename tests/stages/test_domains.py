"""The effect of adaptation: losses on each domain, shared words, trajectories, and which runs share a measurement."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers import decoders as token_decoders
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)
from world import pipeline as pipeline_of
from world import write_jsonl

from adapt import results
from adapt.config import ConfigError, DomainsConfig, FinetuneConfig, RuntimeConfig
from adapt.data import tasks
from adapt.data.corpora import Corpus, write_corpus
from adapt.models.loading import load_classifier
from adapt.runs.pipeline import Pipeline
from adapt.stages import baseline
from adapt.stages.domains import domains, measured
from adapt.stages.tokens import tokens
from adapt.stages.trajectory import snapshots, trajectory
from adapt.stages.vocabulary_overlap import vocabulary_overlap
from adapt.table.metrics import score
from adapt.tasks.prediction import encode_examples, predict

CONF = Path(__file__).parents[2] / "conf"
RUNTIME = RuntimeConfig(device="cpu", progress=False, gradient_checkpointing=False, trackers=[])
CPU = torch.device("cpu")
ADAPTED = ["pretrain=[dapt]", "evaluate.domains.along=[dapt,tapt]"]


@pytest.fixture(scope="module")
def general(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("general") / "general.jsonl"
    write_jsonl(
        file, [{"text": f"the old of many and small with very near {number} in the new"} for number in range(99)]
    )
    return file


def pipeline(world: Path, general: Path, root: Path, *more: str) -> Pipeline:
    text = ["corpus@general=files", f"general.path={general}", "general.heldout_fraction=0.3"]
    return pipeline_of(world, root, "evaluate=adaptation", *text, *more)


@pytest.fixture(scope="module")
def root(world: Path, general: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of an unadapted and an adapted model, each fine-tuned with two seeds."""
    root = tmp_path_factory.mktemp("domains")
    for chain in (["pretrain=[]"], ADAPTED):
        for seed in (0, 1):
            pipeline(world, general, root, *chain, f"seed={seed}").run()
    return root


def of(table, split: str, metric: str, pretrain: str = "dapt") -> list[float]:
    rows = table[(table["split"] == split) & (table["metric"] == metric) & (table["pretrain"] == pretrain)]
    return rows["value"].tolist()


def test_fine_tuning_seeds_share_all_that_is_measured_of_their_model(root: Path) -> None:
    built = Counter(path.parent.parent.name for path in root.glob("store/*/*/stage.json"))
    assert built["evaluate"] == 4 and built["domains"] == 2 and built["words"] == 1 and built["trajectory"] == 1


@pytest.mark.parametrize("domain", ["corpus", "task", "general"])
def test_every_run_has_the_losses_of_its_model(root: Path, domain: str) -> None:
    table = results.load(root)
    before, after = (of(table, f"domains/{domain}", "mlm_loss", chain) for chain in ("none", "dapt"))
    assert len(before) == len(after) == 2 and before[0] == before[1] and after[0] == after[1] != before[0]
    rows = table[table["split"] == f"domains/{domain}"]
    assert set(rows["metric"]) == {"mlm_loss", "mlm_document_loss"}
    assert rows.groupby("metric")["n"].nunique().eq(1).all()  # every model is measured on the same tokens and documents


def test_the_loss_on_its_own_corpus_is_what_the_stage_itself_measured(root: Path) -> None:
    table = results.load(root)
    assert of(table, "domains/corpus", "mlm_loss") == pytest.approx(of(table, "dapt/heldout", "mlm_loss"), rel=1e-6)
    before = of(table, "dapt/heldout", "mlm_loss_before")
    assert of(table, "domains/corpus", "mlm_loss", "none") == pytest.approx(before, rel=1e-6)


def test_a_trajectory_goes_from_the_base_model_to_the_adapted_one(root: Path) -> None:
    table = results.load(root)
    splits = table["split"][table["split"].str.startswith("trajectory/dapt/")]
    steps = sorted({int(split.split("/")[2]) for split in splits})
    assert steps[0] == 0 and len(steps) > 2
    losses = [of(table, f"trajectory/dapt/{step}/general", "mlm_loss")[0] for step in steps]
    assert losses[0] == of(table, "domains/general", "mlm_loss", "none")[0]
    best = min(steps, key=lambda step: of(table, f"trajectory/dapt/{step}/corpus", "mlm_loss")[0])
    assert losses[steps.index(best)] == of(table, "domains/general", "mlm_loss")[0]  # the stage saves the best model
    assert all(0 <= of(table, f"trajectory/dapt/{step}/dev", "probe_macro_f1")[0] <= 1 for step in steps)


def test_every_run_has_the_words_of_the_domains(root: Path) -> None:
    table = results.load(root)
    rows = table[(table["split"] == "words/corpus+task") & (table["metric"] == "vocabulary_overlap")]
    assert len(rows) == 4 and rows["value"].nunique() == 1 and 0 < rows["value"].iloc[0] < 1


def test_the_key_of_a_measurement_depends_only_on_model_and_text(world: Path, general: Path, root: Path) -> None:
    def key(*more: str) -> str:
        chain = pipeline(world, general, root, *ADAPTED, *more)
        return chain.key(chain.stages[-1].inputs["domains"])  # type: ignore[arg-type]

    one = key()
    assert one == key("seed=7", "adversary=fgm", "finetune.epochs=3")
    assert one != key("pretrain.dapt.seed=1")
    assert one != key("evaluate.domains.max_length=8")
    assert one != key("general.max_documents=50")


def test_without_domains_nothing_is_measured_and_no_key_changes(world: Path, general: Path, root: Path) -> None:
    with_domains, without = (pipeline(world, general, root, f"evaluate={name}") for name in ("adaptation", "clean"))
    assert {"domains", "words"} <= set(with_domains.stages[-1].inputs)
    assert not {"domains", "words"} & set(without.stages[-1].inputs)
    assert with_domains.stages[-1].config == without.stages[-1].config


# --- the stages themselves ---------------------------------------------------------------------------------------


TEXTS = ["the cat of iron and gold", "a dog with fur", "the old horse in the new forge was very small"]


def inputs_of(folder: Path, model: Path) -> dict[str, Path]:
    """A tokens folder of TEXTS with the model's tokenizer, as text.corpus and text.general."""
    write_corpus(Corpus(["the cat"], TEXTS, {}), folder / "text")
    (folder / "tokens").mkdir()
    shape = {"max_length": 16, "packing": False, "words": False}
    tokens(None, {"text": folder / "text", "tokenizer": model}, folder / "tokens", RUNTIME, **shape)
    return {"model": model, "text.corpus": folder / "tokens", "text.general": folder / "tokens"}


def config(**changes: object) -> DomainsConfig:
    return DomainsConfig(**{"texts": ["corpus", "general"], "max_length": 16, "sequences": None, **changes})


def test_measuring_twice_gives_the_same_bits(world: Path, tmp_path: Path) -> None:
    inputs = inputs_of(tmp_path, world / "model")
    first, again, other = (domains(config(), inputs, tmp_path, RUNTIME, batch_size=size) for size in (2, 2, 1))
    assert first == again and len(first) == 4
    assert [row["value"] for row in other] == pytest.approx([row["value"] for row in first], rel=1e-5)
    assert [row["n"] for row in other] == [row["n"] for row in first]


def test_a_model_that_knows_nothing_loses_the_log_of_its_vocabulary(world: Path, tmp_path: Path) -> None:
    model = AutoModelForMaskedLM.from_pretrained(world / "model")
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    model.save_pretrained(tmp_path / "zero")
    AutoTokenizer.from_pretrained(world / "model").save_pretrained(tmp_path / "zero")
    rows = domains(config(texts=["corpus"]), inputs_of(tmp_path, tmp_path / "zero"), tmp_path, RUNTIME, batch_size=4)
    # 15% of 6, 4 and 10 words: 1, 1 and 2 predicted tokens (round half to even), in 3 documents
    assert [(row["metric"], row["n"]) for row in rows] == [("mlm_loss", 4), ("mlm_document_loss", 3)]
    assert [row["value"] for row in rows] == pytest.approx([math.log(model.config.vocab_size)] * 2)


def test_sequences_limit_what_is_measured(world: Path, tmp_path: Path) -> None:
    inputs = inputs_of(tmp_path, world / "model")
    rows = domains(config(texts=["corpus"], sequences=2), inputs, tmp_path, RUNTIME, batch_size=4)
    assert [row["n"] for row in rows] == [2, 2]


def test_an_untrained_head_has_no_loss_and_says_so(
    world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    BertModel.from_pretrained(world / "model").save_pretrained(tmp_path / "headless")
    AutoTokenizer.from_pretrained(world / "model").save_pretrained(tmp_path / "headless")
    inputs = inputs_of(tmp_path, tmp_path / "headless")
    with caplog.at_level(logging.INFO):
        assert measured(tmp_path / "headless", config(), inputs, batch_size=4, device=CPU) == []
    assert "its language-model head is untrained" in caplog.text


def test_bits_per_character_of_a_decoder_that_knows_nothing(tmp_path: Path) -> None:
    """Each byte is one of 257 tokens: log2 257 bits per predicted token, special tokens included."""
    alphabet = {sign: number for number, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    pieces = Tokenizer(models.BPE({**alphabet, "<end>": 256}, []))
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = token_decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=pieces, bos_token="<end>", eos_token="<end>", pad_token="<end>", model_max_length=64
    ).save_pretrained(tmp_path / "decoder")
    model = GPT2LMHeadModel(GPT2Config(vocab_size=257, n_positions=64, n_embd=8, n_layer=1, n_head=1))
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    model.save_pretrained(tmp_path / "decoder")
    cfg = config(texts=["corpus"], max_length=64)
    inputs = inputs_of(tmp_path, tmp_path / "decoder")
    rows = {row["metric"]: row for row in domains(cfg, inputs, tmp_path, RUNTIME, batch_size=2)}
    assert set(rows) == {"clm_loss", "clm_document_loss", "clm_bits_per_character"}
    assert rows["clm_loss"]["value"] == pytest.approx(math.log(257))
    # 24, 14 and 45 letters and one end each, in 2 + 1 + 3 sequences of at most 16; a first token is not predicted
    predicted, letters = rows["clm_loss"]["n"], rows["clm_bits_per_character"]["n"]
    assert (predicted, letters) == (24 + 14 + 45 + 3 - 6, 24 + 14 + 45 - 6)
    bits = rows["clm_bits_per_character"]["value"]
    assert bits == pytest.approx(predicted * math.log2(257) / letters)


def test_words_of_corpora_are_counted_and_written(world: Path, tmp_path: Path) -> None:
    for name, texts in {"corpus": ["gold iron gold cat"], "general": ["cat mouse tail"]}.items():
        write_corpus(Corpus(texts, ["held out"], {}), tmp_path / name)
    inputs = {"tokenizer": world / "model", "corpus": tmp_path / "corpus", "general": tmp_path / "general"}
    (tmp_path / "out").mkdir()
    rows = vocabulary_overlap(None, inputs, tmp_path / "out", RUNTIME)
    values = {(row["split"], row["metric"]): (row["value"], row["n"]) for row in rows}
    assert values["corpus+general", "vocabulary_overlap"] == (1 / 3, 3)
    assert values["corpus", "tokens_per_word"] == (1.0, 4) and values["general", "whole_words"] == (1.0, 3)
    assert (tmp_path / "out" / "corpus.txt").read_text() == "gold\niron\ncat\n"


def test_snapshots_come_in_the_order_of_their_steps(tmp_path: Path) -> None:
    for step in (0, 100, 20, 3):
        (tmp_path / "snapshots" / f"step_{step}").mkdir(parents=True)
    assert [step for step, _ in snapshots(tmp_path)] == [0, 3, 20, 100]


def test_the_probe_is_the_linear_probe(world: Path, root: Path, tmp_path: Path) -> None:
    """A trajectory's probe has the score that the saved linear-probe classifier has on dev."""
    task = next(
        p.parent for p in root.glob("store/task/*/task.json") if len(tasks.load_task(p.parent).splits["dev"]) == 24
    )
    (tmp_path / "model" / "snapshots").mkdir(parents=True)
    (tmp_path / "model" / "snapshots" / "step_0").symlink_to(world / "model")
    inputs = inputs_of(tmp_path, world / "model") | {"model": tmp_path / "model", "task": task}
    rows = trajectory(config(texts=["corpus"]), inputs, tmp_path, RUNTIME, batch_size=8, max_length=32)
    (probe,) = [row for row in rows if row["split"] == "0/dev"]
    (tmp_path / "probe").mkdir()
    given = {"model": world / "model", "task": task}
    baseline.linear_probe(FinetuneConfig(max_length=32), given, tmp_path / "probe", RUNTIME)
    loaded, _ = load_classifier(tmp_path / "probe")
    tokenizer, examples = AutoTokenizer.from_pretrained(world / "model"), tasks.load_task(task).splits["dev"]
    answers = predict(loaded.eval(), tokenizer, encode_examples(tokenizer, examples, 32), 8, CPU).argmax(-1).tolist()
    assert probe["value"] == pytest.approx(score("macro_f1", [e.label for e in examples], answers, 2))
    assert probe["metric"] == "probe_macro_f1" and probe["n"] == 24


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ("[pool]", "evaluate.domains.texts=pool: possible are corpus, general, task, other_task"),
        ("[]", "name one or more of corpus, general, task, other_task"),
        ("[task,task]", "task is there twice"),
    ],
)
def test_texts_that_cannot_be_measured_are_refused(
    world: Path, general: Path, tmp_path: Path, texts: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said.replace("[", r"\[")):
        pipeline(world, general, tmp_path, f"evaluate.domains.texts={texts}")


def test_a_trajectory_along_what_is_no_stage_is_refused(world: Path, general: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"domains\.along: dabt is no .* did you mean dapt\? possible: curated"):
        pipeline(world, general, tmp_path, "evaluate.domains.along=[dabt]")


def test_longer_sequences_than_the_model_has_positions_are_refused_before_anything_is_built(
    world: Path, general: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="evaluate.domains.max_length=500: .* has positions for 128 tokens"):
        pipeline(world, general, tmp_path, "evaluate.domains.max_length=500").run()
    assert not list(tmp_path.glob("store/finetune/*"))


def test_a_tokenizer_without_a_mask_token_is_refused(world: Path, general: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "model", tmp_path / "model")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        file = tmp_path / "model" / name
        if file.exists():
            file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "mask_token"}))
    with pytest.raises(ConfigError, match="evaluate.domains: the tokenizer of .* has no mask token to predict"):
        pipeline(world, general, tmp_path, f"model.path={tmp_path / 'model'}").run()

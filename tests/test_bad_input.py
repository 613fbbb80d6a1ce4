"""Bad input gives one error that says what was given and what is possible, before training, without a traceback."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from command import Answer, adapt_here
from huggingface_hub import constants
from safetensors.torch import save_file
from transformers import (
    AutoModel,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    GPT2Config,
    ModernBertConfig,
    RobertaConfig,
    T5Config,
)
from world import REPOSITORY, adapt, overrides, write_jsonl

from adapt.checks.models import skeleton
from adapt.config import ConfigError
from adapt.models.loading import most_tokens
from adapt.store import entries

# Arguments, and what the error must say. None of them needs torch to be refused.
KEYS_AND_TYPES: dict[str, list[str]] = {
    "seeed=1": ["seeed=1: no such key", "did you mean seed?", "possible: adaptation_seed, adversary, "],
    "+seeed=1": ["seeed: no such key", "did you mean seed?"],
    "finetune.batchsize=4": ["finetune.batchsize=4: no such key", "did you mean batch_size?", "micro_batch_size"],
    "+finetune.batchsize=4": ["finetune.batchsize: no such key", "did you mean batch_size?", "micro_batch_size"],
    "adversry=fgm": ["adversry=fgm: no such key", "did you mean adversary?"],
    "+adversry=fgm": ["adversry: no such key", "did you mean adversary?"],
    "adversary=fgmm": ["adversary=fgmm: no such option", "possible: alum"],
    "experiment=quickstrat": ["experiment=quickstrat: no such option", "quickstart"],
    "pretrain=[daptt]": ["pretrain=daptt: no such option", "possible: curated_tapt, dapt, "],
    "pretrain=[dapt,tapt,dapt]": ["pretrain=[dapt,tapt,dapt]: dapt is there twice"],
    "pretrain.dapt.steps=3": ["pretrain.dapt.steps=3: this run has no pretraining stage dapt", "pretrain=[dapt]"],
    "+pretrain.dapt.steps=3": ["pretrain.dapt.steps=3: this run has no pretraining stage dapt", "pretrain=[dapt]"],
    "pretrain=[tapt] +pretrain.dapt.steps=3": ["this run has no pretraining stage dapt"],
    "pretrain=[tapt] +pretrain.tapt.lenght=3": ["pretrain.tapt.lenght: no such key", "max_length"],
    "pretrain=[dapt] pretrain.dapt.mix.general=0.05": [
        "no such text yet; add it with pretrain.dapt.mix.<text>=<share>"
    ],
    "pretrain=[dapt] pretrain.dapt.mix={general:0.05}": ["no such text yet", "and a + in front"],
    "pretrain=[dapt] +pretrain.dapt.mix.genral=0.05": ["mix", "genral", "general"],
    "corpus=[pydoc,files]": ["corpus=[pydoc,files]: give one option", "-m corpus=pydoc,files"],
    "hydra/launcher=slrum": ["hydra/launcher=slrum: no such option", "did you mean slurm?", "basic"],
    "hydra/launcher=slurm": ["hydra/launcher=slurm: it launches the runs of a sweep; add -m"],
    "hydra.sweeper.parms=1": ["hydra.sweeper.parms=1: no such key", "did you mean params?"],
    "-m +seeed=1,2": ["seeed: no such key", "in the run +seeed=1 ", "in the run +seeed=2 "],
    "seed=one": ["seed=one: Value 'one'", "Integer"],
    "seed=-1": ["seed=-1: must be at least 0 and at most 9000000000000"],
    "seed=9000000000001": ["seed=9000000000001: must be at least 0 and at most 9000000000000"],
    "adaptation_seed=9223372036854775808": ["adaptation_seed", "at most 9000000000000"],
    "evaluate.attack.epsilons=[[0.1]]": ["evaluate.attack.epsilons=[[0.1]]: a list in a list"],
    "evaluate.attack.members=[[pgd],apgd_ce]": ["evaluate.attack.members=[['pgd'], 'apgd_ce']: a list in a list"],
    "finetune.optimizer.betas=[[0.9,0.98]]": ["finetune.optimizer.betas=[[0.9, 0.98]]: a list in a list"],
    "task.path=a=b": ["quoted for Hydra, and once more for the shell"],
    "-m seed=0,one": ["seed=one: Value 'one'", "Integer"],
    "finetune.batch_size=1.5": ["finetune.batch_size=1.5: Value '1.5' of type 'float'", "Integer"],
    "finetune.batch_size=null": ["finetune.batch_size=null: field", "not Optional"],
    "finetune.batch_size=0": ["finetune.batch_size=0: must be 1 or more"],
    "evaluate.batch_size=0": ["evaluate.batch_size=0: must be 1 or more"],
    "budget.train_examples=-1": ["budget.train_examples=-1: must be 1 or more"],
    "runtime.progress=maybe": ["runtime.progress=maybe: Value 'maybe'", "bool"],
    "finetune.optimizer.learning_rate=nan": ["finetune.optimizer.learning_rate=nan: must be a finite number"],
    "finetune.optimizer.clip_norm=0": ["finetune.optimizer.clip_norm=0.0: must be more than 0"],
    "finetune.optimizer.betas=[0.9]": ["finetune.optimizer.betas=[0.9]: must be two numbers"],
    "finetune.dropout=1": ["finetune.dropout=1.0: must be at least 0 and less than 1"],
    "finetune.optimizer.schedule=step": ["finetune.optimizer.schedule=step: possible are linear, cosine, constant"],
    "finetune.optimizer.precision=fp8": ["finetune.optimizer.precision=fp8: possible are no, bf16, fp16"],
    "finetune.pooling=max": ["finetune.pooling=max: possible are cls, mean"],
    "task.metric=f1": ["task.metric=f1: possible are macro_f1, micro_f1, accuracy"],
    "task.metric=micro_f1_positive": [
        "task.metric=micro_f1_positive: leaves out a class",
        "task.negative_class=<label>",
    ],
    "task.delimiter=colon": ["task.delimiter=colon: possible are null, comma, semicolon, tab, bar"],
    "task=pydoc_entities evaluate=clean task.no_label=O": ["task.no_label=O: is of tasks that label whole texts"],
    "task=pydoc_entities evaluate=clean task.negative_class=O": ["task.negative_class=O: is of tasks that label"],
    "task.format=xml": ["task.format=xml: possible are pydoc, jsonl, csv, parquet"],
    "task.question=color": ["task.question=color: no such question", "topic, section"],
    "pretrain=[dapt] corpus.domain=law": ["corpus.domain=law: no such domain", "scientific, general"],
    "model=hf": ["model.path has no value", "model.path=..."],
    "model=hf model.path=null": ["model.path has no value", "model.path=<where it is>"],
    "task=jsonl": ["task.path has no value", "task.path=<where it is>"],
    "pretrain=[dapt] corpus=files": ["corpus.path has no value", "corpus.path=<where it is>"],
    "task.path=${nowhere}": ["task.path: Interpolation key 'nowhere' not found"],
    "adversary=pgd adversary.ball.epsilon=-1": ["adversary.ball.epsilon=-1.0: must be 0 or more"],
    "adversary=pgd adversary.ball.norm=l3": ["adversary.ball.norm=l3: possible are l2, linf"],
    "adversary=pgd adversary.method.num_steps=-1": ["adversary.method.num_steps=-1: must be 1 or more"],
    "adversary=pgd adversary.method.num_steps=2.5": ["adversary.method.num_steps=2.5", "needs int"],
    "adversary=pgd adversary.method.num_stepz=2": ["adversary.method.num_stepz=2: no such key", "num_steps"],
    "adversary=pgd +adversary.method.num_stepz=2": ["adversary.method.num_stepz: ", "no such setting", "num_steps"],
    "adversary=pgd adversary.ball=null": ["adversary.ball=null", "epsilon"],
    "adversary=rdrop adversary.dropout=same": ["adversary.dropout=same", "works only with fresh"],
    "adversary.ball.epsilon=1": ["adversary.ball.epsilon=1: the chosen option of adversary has no such part"],
    "adversary=fgm adversary.method._target_=os.system": ["_target_=os.system: a config may name only adapt.*"],
    "adversary=fgm adversary.method._target_=adapt.adversary.fgm.fgn": ["_target_=adapt.adversary.fgm.fgn", "fgm?"],
    "adversary=fgm adversary.method._target_=adapt.adversary.fgn.fgn": ["no such module as adapt.adversary.fgn"],
    "evaluate.attack.epsilons=[0.5,-1]": ["evaluate.attack.epsilons=-1.0: must be 0 or more"],
    "model=tfidf adversary=fgm": ["model=tfidf has no weights to pretrain or to perturb", "adversary=none"],
    "finetune=linear_probe adversary=fgm": ["finetune=linear_probe", "adversary=fgm is possible with finetune=full"],
}


def error_of(answer: Answer | subprocess.CompletedProcess[str]) -> str:
    """The one error that the command ended with: nothing else on stderr, no traceback."""
    code, err = (answer.code, answer.err) if isinstance(answer, Answer) else (answer.returncode, answer.stderr)
    assert code == 1, err
    assert err.startswith("error: ") and err.count("error: ") == 1, err
    assert err.rstrip().endswith("(HYDRA_FULL_ERROR=1 shows the traceback)"), err
    assert "Traceback" not in err and "full_key" not in err, err
    return err


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """What KEYS_AND_TYPES and --help print in one process that starts without torch."""
    root = f"runtime.root={tmp_path_factory.mktemp('root')}"
    calls = [[*line.split(), root] for line in KEYS_AND_TYPES] + [["--help"]]
    done = subprocess.run(
        [sys.executable, "tests/command.py"],
        cwd=REPOSITORY,
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "HYDRA_FULL_ERROR": "0"},
    )
    answers = [Answer(**answer) for answer in json.loads(done.stdout)]
    return dict(zip([*KEYS_AND_TYPES, "--help"], answers, strict=True))


@pytest.mark.parametrize("line", KEYS_AND_TYPES)
def test_keys_and_types_are_refused_without_torch(line: str, without_torch: dict[str, Answer]) -> None:
    message = error_of(without_torch[line])
    for part in KEYS_AND_TYPES[line]:
        assert part in message
    assert not without_torch[line].torch


def test_help_lists_groups_and_settings_without_torch(without_torch: dict[str, Answer]) -> None:
    answer = without_torch["--help"]
    assert (answer.code, answer.err, answer.torch) == (0, "", False)
    assert "adversary: alum, alum_as_released, awp" in answer.out and "batch_size: 32" in answer.out


def test_a_process_ends_with_the_error_and_code_1(tmp_path: Path) -> None:
    done = adapt("finetune.batch_size=0", f"runtime.root={tmp_path}")
    assert error_of(done).startswith("error: finetune.batch_size=0: must be 1 or more")
    assert done.stdout == ""


def test_the_traceback_is_shown_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ConfigError, match=r"finetune\.batch_size=0"):
        adapt_here("finetune.batch_size=0", f"runtime.root={tmp_path}")


@pytest.fixture
def copy(world: Path, tmp_path: Path) -> Path:
    """A copy of the world's task, corpus and model, for tests to break."""
    return Path(shutil.copytree(world, tmp_path / "copy"))


def refused(copy: Path, *arguments: str) -> str:
    """The error of a run with pretraining on the broken copy; nothing was trained before it."""
    root = copy.parent / "root"
    message = error_of(adapt_here(*overrides(copy, root), "pretrain=[dapt]", *arguments))
    assert not [kind for kind in ("pretrain", "finetune", "evaluate") if (root / "store" / kind).exists()]
    assert not (root / "runs").exists()
    return message


def changed_line(file: Path, number: int, content: bytes) -> str:
    """Replace a line of a file, numbered from 1; returns file:line as an error gives it."""
    lines = file.read_bytes().splitlines(keepends=True)
    lines[number - 1] = content
    file.write_bytes(b"".join(lines))
    return f"{file}:{number}"


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b'{"text": "half a line\n', ["not JSON"]),
        (b"[1, 2]\n", ["must be a JSON object"]),
        (b'{"text": "caf\xe9", "label": "metal"}\n', ["not UTF-8", "0xe9", "save the file as UTF-8"]),
        (b'{"txt": "iron", "label": "metal"}\n', ["no column 'text' (task.text_column=text)", "'txt', 'label'"]),
        (b'{"text": "iron", "class": "metal"}\n', ["no column 'label' (task.label_column=label)", "'text', 'class'"]),
        (b'{"text": 3, "label": "metal"}\n', ["column 'text'", "holds 3", "must be a string"]),
        (b'{"text": "iron", "label": null}\n', ["label None", "must be a string or an integer"]),
    ],
    ids=["broken", "list", "latin-1", "no text", "no label", "number", "null"],
)
def test_a_bad_line_of_a_task_is_named(copy: Path, content: bytes, parts: list[str]) -> None:
    where = changed_line(copy / "task" / "train.jsonl", 20, content)
    message = refused(copy)
    for part in (where, *parts):
        assert part in message


@pytest.mark.parametrize("split", ["dev", "test"])
def test_a_label_that_training_lacks(copy: Path, split: str) -> None:
    where = changed_line(copy / "task" / f"{split}.jsonl", 9, b'{"text": "oak and elm", "label": "plant"}\n')
    message = refused(copy)
    assert f"{where}: label 'plant' in {split} does not occur in train, which has 'animal', 'metal'" in message


def test_a_task_of_one_class(copy: Path) -> None:
    for split in ("train", "dev", "test"):
        write_jsonl(copy / "task" / f"{split}.jsonl", [{"text": f"iron ore {n}", "label": "metal"} for n in range(9)])
    assert "the training split has one label only, 'metal'; a task needs two or more" in refused(copy)


def test_another_number_of_classes_than_the_task_should_have(copy: Path) -> None:
    assert "task.num_classes=3: the training split has 2 labels: 'animal', 'metal'" in refused(
        copy, "task.num_classes=3"
    )


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_a_split_without_examples(copy: Path, split: str) -> None:
    file = copy / "task" / f"{split}.jsonl"
    file.write_text("\n")
    message = refused(copy)
    assert str(file) in message and "no examples" in message


def test_a_missing_file_or_folder_of_a_task(copy: Path) -> None:
    (copy / "task" / "dev.jsonl").unlink()
    message = refused(copy)
    assert f"task.path={copy / 'task'}: no dev.jsonl" in message and "test.jsonl, train.jsonl" in message
    assert f"task.path={copy / 'nowhere'}" in refused(copy, f"task.path={copy / 'nowhere'}")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["no text in it"]),
        (b'{"text": "too short"}\n' * 3, ["no document to train on; 3 read", "3 short"]),
        (b'{"txt": "one two three four five six"}\n', [":1: no column 'text' (corpus.text_column=text)", "'txt'"]),
        (b'{"text": "one two three four five six"}\n{"te', [":2: not JSON"]),
        (b'{"text": "one two three four five six"}\n{"text": "\xff"}\n', [":2: not UTF-8"]),
    ],
    ids=["empty", "short", "no text", "broken", "not UTF-8"],
)
def test_a_corpus_without_text_or_with_a_bad_line(copy: Path, content: bytes, parts: list[str]) -> None:
    (copy / "corpus.jsonl").write_bytes(content)
    message = refused(copy)
    for part in (str(copy / "corpus.jsonl"), *parts):
        assert part in message


def test_a_corpus_that_is_not_there(copy: Path) -> None:
    message = refused(copy, f"corpus.path={copy / 'corpora.jsonl'}")
    assert f"corpus.path={copy / 'corpora.jsonl'}: no such file or folder" in message and "corpus.jsonl" in message


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("biology", ["corpus.exclude: task=biology: no such option", "chemprot"]),
        ("csv", ["corpus.exclude: task=csv has no path"]),
    ],
)
def test_a_task_to_exclude_that_cannot_be_read(copy: Path, name: str, parts: list[str]) -> None:
    message = refused(copy, f"corpus.exclude=[{name}]")
    for part in parts:
        assert part in message


def without_weights(model: Path) -> None:
    (model / "model.safetensors").unlink()


def pickled(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")


def cut_off(model: Path) -> None:
    os.truncate(model / "model.safetensors", 1000)


def git_lfs_pointer(model: Path) -> None:
    (model / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:53aa\nsize 90\n")


def without_config(model: Path) -> None:
    (model / "config.json").unlink()


def broken_config(model: Path) -> None:
    (model / "config.json").write_text('{"model_type": ')


def unknown_type(model: Path) -> None:
    (model / "config.json").write_text('{"model_type": "bert3"}')


def without_tokenizer(model: Path) -> None:
    for file in model.glob("token*"):
        file.unlink()


def broken_tokenizer(model: Path) -> None:
    os.truncate(model / "tokenizer.json", 100)


def larger_tokenizer(model: Path) -> None:
    BertConfig(vocab_size=40).save_pretrained(model)


def without_token(name: str) -> Callable[[Path], None]:
    def spoil(model: Path) -> None:
        file = model / "tokenizer_config.json"
        settings = json.loads(file.read_text())
        del settings[name]
        file.write_text(json.dumps(settings))

    return spoil


def no_language_model(model: Path) -> None:
    T5Config(d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, vocab_size=1000).save_pretrained(model)


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (without_weights, ["model.path=", "no weights", "model.safetensors"]),
        (pickled, ["model.path=", "only pickled weights (pytorch_model.bin)", "model.safetensors"]),
        (cut_off, ["model.path=", "model.safetensors is not a complete safetensors file"]),
        (git_lfs_pointer, ["model.path=", "model.safetensors is not a complete safetensors file"]),
        (without_config, ["model.path=", "has no config.json"]),
        (broken_config, ["config.json: transformers cannot read it"]),
        (unknown_type, ["config.json: transformers cannot read it", "bert3"]),
        (without_tokenizer, ["there is no tokenizer in it", "tokenizer.json"]),
        (broken_tokenizer, ["its tokenizer cannot be read", "tokenizer.json"]),
        (larger_tokenizer, ["its tokenizer has ", "its model only 40"]),
        (without_token("pad_token"), ["no padding token"]),
        (without_token("mask_token"), ["pretrain=dapt", "no mask token"]),
        (no_language_model, ["pretrain=dapt", "a t5 can be pretrained neither on masked nor on next tokens"]),
    ],
    ids=lambda value: getattr(value, "__qualname__", "").split(".")[0] or None,
)
def test_a_model_folder_that_cannot_be_adapted(copy: Path, spoil: Callable[[Path], None], parts: list[str]) -> None:
    spoil(copy / "model")
    message = refused(copy)
    for part in (str(copy / "model"), *parts):
        assert part in message


def test_a_hub_name_without_a_network(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = refused(copy, "model.path=some-group/some-encoder")
    assert "model.path=some-group/some-encoder: not a local folder, and the hub did not give it" in message
    assert "set model.path=<that folder>" in message
    assert "model.path=/some/encoder: no such folder" in refused(copy, "model.path=/some/encoder")


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("finetune.max_length=129", "has positions for 128 tokens; at most 128"),
        ("pretrain.dapt.max_length=1000", "has positions for 128 tokens; at most 128"),
        ("pretrain.dapt.max_length=2", "leaves no room for text; must be 3 or more"),
    ],
)
def test_sequences_that_the_model_has_no_positions_for(copy: Path, setting: str, reason: str) -> None:
    message = refused(copy, setting)
    assert f"{setting}: " in message and reason in message


SMALL = {"vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


@pytest.mark.parametrize(
    ("config", "most"),
    [
        (BertConfig(**SMALL, max_position_embeddings=32), 32),
        (RobertaConfig(**SMALL, max_position_embeddings=34, pad_token_id=1), 32),
        (DistilBertConfig(vocab_size=50, dim=8, n_layers=1, n_heads=2, hidden_dim=8, max_position_embeddings=32), 32),
        (GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=2, n_positions=32), 32),
    ],
    ids=lambda value: getattr(value, "model_type", None),
)
def test_most_tokens_is_what_the_encoder_can_take(config: object, most: int) -> None:
    assert most_tokens(skeleton(config)) == most
    assert config.hidden_size == 8  # of DistilBERT and GPT-2 too, where it has another name: mean pooling reads it
    encoder = AutoModel.from_config(config).eval()
    encoder(input_ids=torch.full((1, most), 7), attention_mask=torch.ones(1, most, dtype=torch.long))
    with pytest.raises((IndexError, RuntimeError)):
        encoder(input_ids=torch.full((1, most + 1), 7), attention_mask=torch.ones(1, most + 1, dtype=torch.long))


def test_relative_positions_have_no_end() -> None:
    assert most_tokens(skeleton(DebertaV2Config(**SMALL, position_biased_input=False, relative_attention=True))) is None
    assert most_tokens(skeleton(ModernBertConfig(**SMALL, pad_token_id=0, cls_token_id=1, sep_token_id=2))) is None


@pytest.mark.parametrize(
    ("name", "reason"), [("tensorbored", "did you mean tensorboard?"), ("dvclive", "pip install dvclive")]
)
def test_a_tracker_that_is_not_there(copy: Path, name: str, reason: str) -> None:
    message = refused(copy, f"runtime.trackers=[{name}]")
    assert f"runtime.trackers={name}: " in message and reason in message


@pytest.mark.parametrize(
    ("chain", "stage", "setting"),
    [
        ("pretrain=[]", "finetune", "finetune.optimizer.learning_rate=1e30"),
        ("pretrain=[dapt]", "dapt", "pretrain.dapt.optimizer.learning_rate=1e30"),
    ],
    ids=["finetune", "dapt"],
)
def test_a_loss_that_is_not_finite_stops_the_run(
    world: Path, tmp_path: Path, chain: str, stage: str, setting: str
) -> None:
    message = error_of(adapt_here(*overrides(world, tmp_path), chain, setting))
    assert f"{stage}, step 2: the loss is nan; the last finite loss was " in message
    assert not (tmp_path / "runs").exists()


def test_a_sweep_names_each_run_that_failed_once_and_finishes_the_others(world: Path, tmp_path: Path) -> None:
    rates = "finetune.optimizer.learning_rate=1e30,-1,1e-3"
    answer = adapt_here("-m", *overrides(world, tmp_path), "evaluate=clean", "seed=0,1", rates)
    assert answer.code == 1
    errors = answer.err.split("error: ")[1:]
    assert 2 <= len(errors) <= 3  # the last finite losses of the two seeds may differ
    assert "learning_rate=-1.0: must be 0 or more" in answer.err
    for seed in (0, 1):
        for rate in ("1e+30", "-1"):
            run = f"seed={seed} finetune.optimizer.learning_rate={rate}\n"
            assert answer.err.count(run) == 1
    assert "learning_rate=0.001" not in answer.err
    assert len(list((tmp_path / "runs").glob("*.json"))) == 2
    assert "2 runs, " in answer.out


def test_a_full_disk_is_said_once(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(entries, "write_synced", full)
    message = error_of(adapt_here(*overrides(copy, copy.parent / "root"), "evaluate=clean"))
    assert "the disk is full" in message and "runtime.root" in message


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("room", [0, 30, 120, 300])
def test_a_disk_that_is_really_full(world: Path, small_disk: Path, room: int) -> None:
    """KiB left: enough for Hydra's files, for the data, for a first checkpoint, for the next ones."""
    (small_disk / "ballast").write_bytes(bytes((512 - room) * 1024))
    message = error_of(adapt_here(*overrides(world, small_disk), "pretrain=[dapt]", "runtime.checkpoint_seconds=0"))
    assert "the disk is full" in message and "runtime.root" in message


def plain_write(file: Path, content: torch.Tensor) -> None:
    file.write_bytes(content.numpy().tobytes())


def torch_write(file: Path, content: torch.Tensor) -> None:
    with file.open("wb") as stream:
        torch.save({"a": content}, stream)


def safetensors_write(file: Path, content: torch.Tensor) -> None:
    save_file({"a": content}, file)


@pytest.mark.parametrize("write", [plain_write, torch_write, safetensors_write])
def test_a_full_disk_is_recognised_in_what_each_writer_raises(
    small_disk: Path, write: Callable[[Path, torch.Tensor], None]
) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - each writer has its own
        write(small_disk / "weights", torch.zeros(1_000_000))
    assert entries.disk_is_full(raised.value)
    assert not entries.disk_is_full(ValueError("another"))

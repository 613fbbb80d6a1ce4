"""Passes: decoders' own heads, failures that affect only their row, changes of adapters between two passes."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from threading import Thread
from typing import Any

import pytest
import torch
from adapted import write_base
from finetuned import finetune, tokenizer
from hypothesis import given
from hypothesis import strategies as st
from test_serving import alone, near, texts, weights
from transformers import AlbertConfig, AlbertForMaskedLM, RobertaConfig, RobertaForMaskedLM

from adapt.config import ConfigError
from adapt.models import loading
from adapt.serving.passes import Passes
from adapt.serving.requests import as_they_come
from adapt.serving.server import Server
from adapt.serving.turns import Turns

Make = Callable[..., Path]
SHAPE = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_base(tmp_path_factory.mktemp("gpt2") / "base", "gpt2")
    tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_decoders_are_mixed_as_they_answer_alone(
    kind: str, pooling: str, bases: dict[str, Path], gpt2: Path, tmp_path: Path
) -> None:
    """The texts contain the padding token's word: a decoder's own head must find the last token by the mask."""
    base = gpt2 if kind == "gpt2" else bases["llama"]
    server, folders = Server(base, batch_size=7), {}
    for number, method in enumerate(("head_only", "probe", "bitfit")):
        folders[method] = tmp_path / method
        finetune(base, method, folders[method], pooling=pooling, labels=2 + number, seed=number)
        server.register(method, folders[method])
    for seed in (0, 1):
        folders[f"lora{seed}"] = lora_of_a_decoder(base, kind, tmp_path / f"lora{seed}", pooling, seed)
        server.register(f"lora{seed}", folders[f"lora{seed}"])
    assert server.adapters["lora0"].mixed and server.adapters["probe"].mixed and not server.adapters["bitfit"].mixed
    said = [*texts(9), "w7 [PAD]", "[PAD] w8 [PAD] [PAD]"]
    requests = [{"adapter": name, "text": text} for text in said for name in folders]
    for request, answer in zip(requests, server.answer(requests), strict=True):
        assert near(answer, alone(folders[request["adapter"]], request["text"]), 2e-6), request


def lora_of_a_decoder(base: Path, kind: str, out: Path, pooling: str, seed: int) -> Path:
    from dataclasses import replace

    from adapted import classification, option, train
    from adversaries import make_batch

    from adapt.adapters import stage

    cfg = option("lora")
    layers = ["c_attn"] if kind == "gpt2" else ["q_proj", "v_proj"]
    cfg = replace(cfg, method={**(cfg.method or {}), "target_modules": layers, "fan_in_fan_out": kind == "gpt2"})
    torch.manual_seed(seed)
    model = loading.new_classifier(base, labels=["x", "y", "z"], pooling=pooling, dropout=0.0)
    stage.begin(model, cfg, out)
    train(model, classification(make_batch(6, seed=seed)))
    model.save(out, tokenizer(), ["x", "y", "z"])
    return out


def test_an_own_head_that_reads_more_than_states_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    AlbertForMaskedLM(AlbertConfig(**SHAPE, embedding_size=16, pad_token_id=0)).save_pretrained(tmp_path / "base")
    tokenizer().save_pretrained(tmp_path / "base")
    server = Server(tmp_path / "base")
    for pooling in ("mean", "cls"):
        finetune(tmp_path / "base", "head_only", tmp_path / pooling, pooling=pooling, labels=3, seed=0)
    server.register("mean", tmp_path / "mean")
    assert near(server.answer([{"adapter": "mean", "text": "w7"}])[0], alone(tmp_path / "mean", "w7"))
    with pytest.raises(ConfigError, match=r"cls: the own head of a albert .* finetune\.pooling=mean"):
        server.register("cls", tmp_path / "cls")


def test_a_long_text_is_cut_at_the_positions_that_there_are(tmp_path: Path) -> None:
    """RoBERTa numbers positions from the padding index + 1 on: it has fewer positions than its config says."""
    torch.manual_seed(0)
    RobertaForMaskedLM(RobertaConfig(**SHAPE, max_position_embeddings=34, pad_token_id=1)).save_pretrained(
        tmp_path / "b"
    )
    tokenizer().save_pretrained(tmp_path / "b")
    server = Server(tmp_path / "b")
    for method in ("lora", "dora"):
        finetune(tmp_path / "b", method, tmp_path / method, pooling="mean", labels=3, seed=0)
        server.register(method, tmp_path / method)
        answers = server.answer([{"adapter": method, "text": text} for text in ("w7", "w7 " * 99, "w7 " * 30)])
        assert answers[1]["probabilities"] == answers[2]["probabilities"]  # [CLS], 30 words and [SEP] fill 32 positions


class Failing:
    """Replaces the passes of a server and fails for batches with a certain word, as if out of memory."""

    def __init__(self, run: Callable[..., Any], word: int) -> None:
        self.run, self.word, self.failed = run, word, 0

    def __call__(self, rows: Any, batch: dict[str, torch.Tensor]) -> Any:
        if self.word in batch["input_ids"]:
            self.failed += 1
            batch = {**batch, "input_ids": batch["input_ids"] + 10_000}  # inside a pass, where peft has set its hooks
        return self.run(rows, batch)


@pytest.mark.parametrize("one", ["lora", "dora"])
def test_a_pass_that_fails_leaves_out_its_row_alone(
    one: str, bases: dict[str, Path], finetuned: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(bases["bert"], batch_size=4)
    server.register("it", finetuned(one))
    requests = [{"adapter": "it", "text": text} for text in ("w7", "w8 w9", "w50 w9 w9 w9", "w9 w9", "w7 w7 w8")]
    expected = server.answer(requests)
    failing = Failing(server._passes.run, word=50)
    monkeypatch.setattr(server._passes, "run", failing)
    answers = server.answer(requests)
    assert failing.failed == 2  # with its batch, and alone
    assert "request 2: adapter=it: index out of range" in answers[2].pop("error")
    assert answers[2] == requests[2]
    for number in (0, 1, 3, 4):
        assert near(answers[number], expected[number]["probabilities"])
    monkeypatch.undo()
    assert not any(module._forward_pre_hooks for module in modules(server)), "hooks of a pass are left"
    assert server.answer(requests) == expected


def modules(server: Server) -> list[torch.nn.Module]:
    networks = [mixed._network for mixed in server._passes._mixed.values() if mixed._network is not None]
    return [module for network in networks for module in network.modules()]


def test_a_swap_does_not_wait_for_a_long_call(bases: dict[str, Path], finetuned: Make) -> None:
    """All requests of a call are answered by the adapter that it started with, which is removed after the call."""
    old, new = finetuned("lora"), finetuned("lora", labels=2, seed=1)
    server = Server(bases["bert"], batch_size=1)
    server.register("it", old)
    before, begun = weights(server), threading.Event()
    run, ended = server._passes.run, []

    def slow(rows: Any, batch: dict[str, torch.Tensor]) -> Any:
        begun.set()
        time.sleep(0.01)
        return run(rows, batch)

    server._passes.run = slow  # type: ignore[method-assign]
    requests = [{"adapter": "it", "text": text} for text in texts(200)]

    def call() -> None:
        ended.append(server.answer(requests))

    thread = Thread(target=call)
    thread.start()
    begun.wait()
    was = server.adapters["it"]
    server.swap("it", new)
    during = server.answer(requests[:1])[0]
    assert not ended, "the swap waited for the call"
    assert near(during, alone(new, requests[0]["text"]))
    assert was.ended and was.held == 1
    thread.join()
    assert was.held == 0
    assert all(near(answer, alone(old, answer["text"])) for answer in ended[0])
    assert weights(server) == before


def test_turns_are_taken_in_the_order_of_asking() -> None:
    turns, order, asked = Turns(), [], []

    def take(number: int) -> None:
        asked.append(number)
        with turns:
            order.append(number)

    with turns:
        threads = [Thread(target=take, args=(number,)) for number in range(8)]
        for number, thread in enumerate(threads):
            thread.start()
            while len(turns._asked) < number + 2:  # the one that holds it, and those who wait
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == asked == list(range(8))
    with turns:
        pass
    assert not turns._asked


def test_what_is_held_goes_with_the_last_who_holds_it(bases: dict[str, Path], finetuned: Make) -> None:
    server = Server(bases["bert"])
    server.register("it", finetuned("lora"))
    passes, served = server._passes, server.adapters["it"]
    assert isinstance(passes, Passes)
    with passes.holding(lambda: {0: served, 1: served}), passes.holding(lambda: {0: served}):
        server.unload("it")
        assert served.held == 2 and next(iter(passes._mixed.values()))._free == []
    assert served.held == 0 and len(next(iter(passes._mixed.values()))._free) == 1


def test_who_writes_into_a_pipe_need_not_close_it_for_an_answer(finetuned: Make) -> None:
    folder = finetuned("lora")
    command = [sys.executable, "-m", "adapt.serving", f"adapters=it:{folder}", "-"]
    with Popen(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        for text in ("w7 w8", "w9"):
            process.stdin.write(json.dumps({"adapter": "it", "text": text}) + "\n")
            process.stdin.flush()
            assert near(json.loads(process.stdout.readline()), alone(folder, text), 2e-6)
        process.stdin.close()
        assert process.stdout.read() == "" and process.wait() == 0


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 7))
def test_as_they_come_loses_no_line_and_keeps_their_order(numbers: list[int], at_once: int) -> None:
    given_lines = [(f"-:{place}", number) for place, number in enumerate(numbers)]
    result = list(as_they_come(iter(given_lines), at_once))
    assert [line for lines in result for line in lines] == given_lines
    assert all(1 <= len(lines) <= at_once for lines in result)

"""Adapters side by side over one base: each answers as it does alone, and nothing that happens to one reaches another."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from adapted import METHODS, architecture, needs, option
from finetuned import EVERY, WORDS, base_of, tokenizer
from safetensors.torch import load_file, save_file

from adapt import models
from adapt.adapters import folder as files
from adapt.config import ConfigError
from adapt.data import batching
from adapt.objectives import model_inputs
from adapt.serving.server import Server

MIXED = {"lora", "head_only", "qlora", "int8_lora", "probe"}
NEAR = {None: 1e-6, "nf4": 0.02, "int8": 0.02}  # bf16 and int8 inputs round by what else is in a batch
Make = Callable[..., Path]


def texts(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 9))) for _ in range(count)]


@torch.no_grad()
def alone(folder: Path, text: str, pair: str | None = None) -> dict[str, float]:
    """What the folder's classifier says of a text that comes by itself."""
    model, labels = models.load_classifier(folder)
    known = models.load_tokenizer(folder)
    encoded = batching.encode(known, [text], 64, None if pair is None else [pair])
    batch = model_inputs(batching.collate(known, encoded, [0]))
    return dict(zip(labels, model.eval()(**batch)[0].softmax(-1).tolist(), strict=True))


def near(answer: Mapping[str, Any], expected: dict[str, float], tolerance: float = 1e-6) -> bool:
    found = answer.get("probabilities", {})
    return found.keys() == expected.keys() and all(abs(found[k] - expected[k]) <= tolerance for k in found)


def precision(method: str) -> str | None:
    return option(method).quantization if method in METHODS else None


def usable(method: str) -> None:
    if method in METHODS:
        needs(option(method))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_mixed_batch_is_as_separate_passes(method: str, pooling: str, bases: dict[str, Path], finetuned: Make) -> None:
    usable(method)
    if pooling == "cls" and base_of(method) != "bert":
        pytest.skip("a decoder's own head reads the last token by its padding token")
    names = LLAMA_BESIDE if base_of(method) == "llama" else ("lora", "head_only")
    folders = {"it": finetuned(method, pooling=pooling), "again": finetuned(method, pooling=pooling, labels=2, seed=1)}
    folders |= {one: finetuned(one, pooling="mean", labels=4) for one in names}
    server = Server(bases[base_of(method)], batch_size=5)
    for name, folder in folders.items():
        server.register(name, folder)
    assert (server.adapters["it"].mixed is not None) == (method in MIXED)
    requests = [{"adapter": list(folders)[n % len(folders)], "text": text} for n, text in enumerate(texts(12))]
    requests[3]["text_pair"] = "w7 w8 w9"
    for request, answer in zip(requests, server.answer(requests), strict=True):
        expected = alone(folders[request["adapter"]], request["text"], request.get("text_pair"))
        of_it = request["adapter"] in ("it", "again")
        assert near(answer, expected, NEAR[precision(method)] if of_it else 1e-6), (answer, expected)
        assert answer["predicted"] == max(answer["probabilities"], key=answer["probabilities"].__getitem__)
        assert {name: answer[name] for name in request} == request


LLAMA_BESIDE = ("llama_adapter",)

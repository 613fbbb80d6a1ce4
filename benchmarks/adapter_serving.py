"""A mixed batch of 32 texts over 8 LoRAs (adapt.serving) against 8 separate calls of 4; and swaps, idle and under load.

A separate call is the alternative without serving: the adapter's own model in memory, its 4 texts tokenised, one pass.
Both sides read the same texts, of the same number of tokens, in turns.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import torch
from transformers import BertConfig, BertForMaskedLM

from adapt.adapters import stage
from adapt.config import PeftConfig
from adapt.data.tokens import batching
from adapt.models import loading
from adapt.serving.server import Server
from adapt.store.sources import ASSETS
from adapt.tasks.prediction import predict

TARGET, SWAP_TARGET = 1.1, 50
ADAPTERS, EACH, TOKENS, ROUNDS, BUSY = 8, 4, 32, 15, 50
WORDS = ["the", "model", "of", "a", "function", "returns", "an", "array", "with", "one", "value", "for", "each", "row"]
LORA = {"_target_": "peft.LoraConfig", "r": 8, "lora_alpha": 16, "target_modules": ["query", "value"]}


def run() -> list[str]:
    """Lines for a model of 6 layers x 384 and for the tiny one, on the CPU and, if there is one, on a GPU."""
    with tempfile.TemporaryDirectory() as work:
        large = Path(work) / "large"
        tokenizer = loading.load_tokenizer(ASSETS / "tiny")
        shape = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
        torch.manual_seed(0)
        BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(large)
        tokenizer.save_pretrained(large)
        lines = []
        for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
            for name, base in (("6 x 384", large), ("tiny", ASSETS / "tiny")):
                lines += compare(f"{name}, {device}", base, Path(work) / name, device)
        return lines


def compare(name: str, base: Path, work: Path, device: str) -> list[str]:
    """Lines with the median ratio over pairs of rounds, and the median time of a swap."""
    folders = [finetuned(base, work / f"{device}{number}", seed=number) for number in range(ADAPTERS)]
    server = Server(base, device=device, batch_size=ADAPTERS * EACH)
    for number, folder in enumerate(folders):
        server.register(f"a{number}", folder)
    own = [loading.load_classifier(folder)[0].to(device).eval() for folder in folders]
    texts = [" ".join(WORDS[(n + k) % len(WORDS)] for k in range(TOKENS - 2)) for n in range(ADAPTERS * EACH)]
    requests = [{"adapter": f"a{number % ADAPTERS}", "text": text} for number, text in enumerate(texts)]

    def separate() -> None:
        for number, model in enumerate(own):
            data = batching.encode(server.base.tokenizer, texts[number::ADAPTERS], 512)
            predict(model, server.base.tokenizer, data, EACH, torch.device(device)).softmax(-1).tolist()

    def mixed() -> Any:
        return server.answer(requests)

    pairs = [(seconds(separate), seconds(mixed)) for _ in range(ROUNDS + 2)][2:]
    swaps = [seconds(lambda n=n: server.swap("a0", folders[n % 2])) for n in range(ROUNDS)]  # type: ignore[misc]
    busy = swaps_beside_calls(server, folders, requests)
    ratio = statistics.median(one / other for one, other in pairs)
    apart, together = (len(texts) / statistics.median(times) for times in zip(*pairs, strict=True))
    return [
        f"{name}: mixed {together:.0f} texts per second, separate calls {apart:.0f}: {ratio:.2f} times as many "
        f"(target: {TARGET} at 6 x 384 on a CPU)",
        f"{name}: a swap takes {in_words(swaps)} (target: {SWAP_TARGET} ms); while another thread calls with {BUSY} "
        f"batches at a time, {in_words(busy)}; one batch takes {1000 * len(texts) / together:.1f} ms",
    ]


def swaps_beside_calls(server: Server, folders: list[Path], requests: list[Any]) -> list[float]:
    """Seconds of each swap while another thread calls all the time."""
    done = Event()

    def ask() -> None:
        while not done.is_set():
            server.answer(requests * BUSY)

    thread = Thread(target=ask)
    thread.start()
    try:
        return [seconds(lambda n=n: server.swap("a0", folders[n % 2])) for n in range(ROUNDS)]  # type: ignore[misc]
    finally:
        done.set()
        thread.join()


def in_words(times: list[float]) -> str:
    """The median and the maximum."""
    return f"{1000 * statistics.median(times):.1f} ms, at most {1000 * max(times):.1f}"


def seconds(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def finetuned(base: Path, out: Path, *, seed: int) -> Path:
    """A folder as fine-tuning with LoRA would leave it, with random adapter weights."""
    torch.manual_seed(seed)
    labels = ["a", "b", "c"]
    model = loading.new_classifier(base, labels=labels, pooling="mean", dropout=0.0)
    stage.begin(model, PeftConfig("lora", dict(LORA), "merge", None, 1.0), out)
    with torch.no_grad():
        for weight in stage.adapter_weights(model):
            weight.normal_(std=0.02)
    model.save(out, loading.load_tokenizer(base), labels)
    return out

"""Adapters side by side over one base: each answers as if it were the only one, whatever happens to the others."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from adapted import METHODS, architecture, needs, option
from finetuned import EVERY, WORDS, base_of, tokenizer
from safetensors.torch import load_file, save_file

from adapt.adapters import folder as files
from adapt.config import ConfigError
from adapt.data.tokens import batching
from adapt.models import heads, loading
from adapt.serving.__main__ import main
from adapt.serving.server import Server
from adapt.training.objectives import model_inputs

MIXED = {"lora", "head_only", "qlora", "int8_lora", "probe"}
NEAR = {None: 1e-6, "nf4": 0.02, "int8": 0.02}  # rounding of bf16 and int8 inputs depends on the rest of the batch
Make = Callable[..., Path]


def texts(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 9))) for _ in range(count)]


@cache
def loaded(folder: Path) -> tuple[heads.Classifier, list[str], Any]:
    model, labels = loading.load_classifier(folder)
    return model.eval(), labels, loading.load_tokenizer(folder)


@torch.no_grad()
def alone(folder: Path, text: str, pair: str | None = None) -> dict[str, float]:
    """The probabilities that the folder's classifier gives for a single text."""
    model, labels, known = loaded(folder)
    encoded = batching.encode(known, [text], 64, None if pair is None else [pair])
    batch = model_inputs(batching.collate(known, encoded, [0]))
    return dict(zip(labels, model(**batch)[0].softmax(-1).tolist(), strict=True))


def near(answer: Mapping[str, Any], expected: dict[str, float], tolerance: float = 1e-6) -> bool:
    result = answer.get("probabilities", {})
    return result.keys() == expected.keys() and all(abs(result[k] - expected[k]) <= tolerance for k in result)


def precision(method: str) -> str | None:
    return option(method).quantization if method in METHODS else None


def usable(method: str) -> None:
    if method in METHODS:
        needs(option(method))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_mixed_batch_is_as_separate_passes(
    method: str, pooling: str, bases: dict[str, Path], finetuned: Make
) -> None:
    usable(method)
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


def weights(server: Server) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in server.base.encoder.state_dict().items()}


def probabilities(answers: list[dict[str, Any]]) -> list[Any]:
    return [answer["probabilities"] for answer in answers]


def test_swap_and_unload_touch_neither_the_base_nor_others(
    method: str, bases: dict[str, Path], finetuned: Make
) -> None:
    usable(method)
    kind = base_of(method)
    other = "llama_adapter" if kind == "llama" else "lora"
    old, new, beside = finetuned(method), finetuned(method, labels=2, seed=1), finetuned(other, labels=4)
    server = Server(bases[kind])
    before = weights(server)
    server.register("beside", beside)
    requests = [{"adapter": "beside", "text": text} for text in texts(5)]
    untouched = probabilities(server.answer(requests))
    asked = {"adapter": "it", "text": "w9 w8 w30"}
    for step in range(2):  # a second time, after all traces should be gone
        server.register("it", old)
        first = server.answer([asked])[0]
        assert near(first, alone(old, asked["text"]), NEAR[precision(method)])
        server.swap("it", new)
        assert near(server.answer([asked])[0], alone(new, asked["text"]), NEAR[precision(method)])
        assert probabilities(server.answer(requests)) == untouched, step
        server.swap("it", old)
        assert probabilities(server.answer([asked])) == [first["probabilities"]]
        server.unload("it")
        assert "possible are beside" in server.answer([asked])[0]["error"]
        assert probabilities(server.answer(requests)) == untouched
    assert weights(server) == before
    assert set(server.adapters) == {"beside"}


def test_a_lora_that_goes_leaves_its_room_to_the_next_alone(bases: dict[str, Path], finetuned: Make) -> None:
    folders = [finetuned("lora"), finetuned("lora", labels=2, seed=1), finetuned("lora", labels=4)]
    server = Server(bases["bert"])
    for number, folder in enumerate(folders[:2]):
        server.register(f"a{number}", folder)
    text = "w9 w8 w30"

    def held() -> int:
        return sum(
            name.endswith(".weight") for mixed in server._passes._mixed.values() for name in mixed._network.state_dict()
        )

    server.swap("a0", folders[2])
    room = held()  # of the two and of one that is free
    for number in range(6):
        server.swap("a0", folders[number % 3])
        assert near(server.answer([{"adapter": "a0", "text": text}])[0], alone(folders[number % 3], text))
        assert near(server.answer([{"adapter": "a1", "text": text}])[0], alone(folders[1], text))
    assert held() == room
    for name in ("a0", "a1"):
        server.unload(name)
    assert held() < room
    server.register("again", folders[1])
    assert near(server.answer([{"adapter": "again", "text": text}])[0], alone(folders[1], text))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_whole_model_is_refused_unless_it_is_the_base(
    pooling: str, bases: dict[str, Path], finetuned: Make, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = loading.new_classifier(bases["bert"], labels=["x", "y"], pooling=pooling, dropout=0.0)
    with torch.no_grad():
        model.encoder.get_parameter("encoder.layer.1.output.dense.bias").add_(1e-3)
    model.save(tmp_path / "full", tokenizer(), ["x", "y"])
    server = Server(bases["bert"])
    with pytest.raises(ConfigError, match=r"has no adapter, and .*\(1 of .* weights differ.*output\.dense\.bias"):
        server.register("full", tmp_path / "full")
    on_itself = Server(tmp_path / "full")
    on_itself.register("full", tmp_path / "full")
    assert near(on_itself.answer([{"adapter": "full", "text": "w7 w6"}])[0], alone(tmp_path / "full", "w7 w6"))
    with pytest.raises(ConfigError, match=r"lora: .* was fine-tuned on another base .* serve it over its own"):
        on_itself.register("lora", finetuned("lora"))
    assert set(on_itself.adapters) == {"full"} and server.adapters == {}


def spoilt(folder: Path, tmp_path: Path) -> Path:
    """A copy of the folder, to be damaged."""
    import shutil

    return Path(shutil.copytree(folder, tmp_path / "spoilt"))


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    file = folder / "adapters" / "0" / files.WEIGHTS
    state = load_file(file)
    change(state)
    save_file(state, file, metadata={"format": "pt"})


def edit(file: Path, **more: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))


def nan(state: dict[str, torch.Tensor]) -> None:
    state[sorted(state)[0]] = torch.full_like(state[sorted(state)[0]], float("nan"))


def narrow(state: dict[str, torch.Tensor]) -> None:
    for name in state:
        state[name] = state[name][..., :1].contiguous()


def lacking(state: dict[str, torch.Tensor]) -> None:
    del state[sorted(name for name in state if "classifier" not in name and "pooler" not in name)[0]]


def pickled(folder: Path) -> None:
    file = folder / "adapters" / "0" / files.WEIGHTS
    file.rename(file.with_name("adapter_model.bin"))


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no head": (lambda folder: (folder / "head.json").unlink(), "holds no fine-tuned classifier"),
    "a tagger": (lambda folder: edit(folder / "head.json", kind="tagging"), "is a model for tagging"),
    "labels": (lambda folder: edit(folder / "head.json", labels=["x"]), "it|1 labels"),
    "torn note": (lambda folder: (folder / "head.json").write_text("{"), "head.json: broken, not JSON"),
    "a start that changes the base": (
        lambda folder: edit(folder / "adapters/0/adapter_config.json", init_lora_weights="pissa"),
        "init_lora_weights=pissa: it changes the base's weights|unexpected keyword",  # BitFit has no such setting
    ),
    "not finite": (lambda folder: rewrite(folder, nan), "not finite"),
    "other shape": (lambda folder: rewrite(folder, narrow), "does not fit a bert"),
    "a weight is missing": (lambda folder: rewrite(folder, lacking), "does not fit a bert"),
    "cut off": (lambda folder: (folder / "adapters/0" / files.WEIGHTS).write_bytes(b"12"), "cannot be read"),
    "pickled": (pickled, "only from safetensors"),
    "config": (
        lambda folder: edit(folder / "config.json", num_attention_heads=1),
        r"differs in num_attention_heads \(1",
    ),
    "architecture": (lambda folder: edit(folder / "config.json", model_type="roberta"), "its architecture is roberta"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("one", ["lora", "bitfit", "dora"])
def test_what_does_not_fit_is_refused_and_nothing_changes(
    one: str, damage: str, bases: dict[str, Path], finetuned: Make, tmp_path: Path
) -> None:
    server = Server(bases["bert"])
    before = weights(server)
    server.register("good", finetuned("lora"))
    server.register("it", finetuned(one))
    requests = [{"adapter": name, "text": text} for text in texts(3) for name in ("good", "it")]
    untouched = probabilities(server.answer(requests))
    folder = spoilt(finetuned(one), tmp_path)
    spoil, words = DAMAGE[damage]
    spoil(folder)
    for change in (lambda: server.swap("it", folder), lambda: server.register("new", folder)):
        with pytest.raises(ConfigError, match=words) as caught:
            change()
        assert "spoilt" in str(caught.value)
    assert probabilities(server.answer(requests)) == untouched and set(server.adapters) == {"good", "it"}
    assert weights(server) == before


def test_another_vocabulary_or_base_is_refused_whatever_its_path(
    bases: dict[str, Path], finetuned: Make, tmp_path: Path
) -> None:
    server = Server(bases["bert"])
    folder = spoilt(finetuned("lora"), tmp_path)  # a copy elsewhere is the same base
    server.register("copy", folder)
    tokenizer(WORDS[::-1]).save_pretrained(folder)
    with pytest.raises(ConfigError, match="another vocabulary"):
        server.swap("copy", folder)
    with pytest.raises(ConfigError, match="architecture is llama, that of the base is bert"):
        server.register("llama", finetuned("llama_adapter"))
    for name, words in (("copy", "swap it"), ("", "must not be empty")):
        with pytest.raises(ConfigError, match=words):
            server.register(name, finetuned("lora"))
    for call in (server.unload, lambda name: server.swap(name, folder)):
        with pytest.raises(ConfigError, match="nobody: no such adapter is served; possible are copy"):
            call("nobody")


MALFORMED = [
    ("no mapping", "a request is a JSON object"),
    ({"text": "w7"}, "adapter=None"),
    ({"adapter": ["lora"], "text": "w7"}, "must be the name of the adapter"),
    ({"adapter": "nobody", "text": "w7"}, "possible are dora, lora"),
    ({"adapter": "lora"}, "no column 'text'"),
    ({"adapter": "lora", "text": 7}, "must be a string"),
    ({"adapter": "lora", "text": "w7", "text_pair": 7}, "must be a string"),
    ({"adapter": "lora", "text": "\ud83d"}, "half a character"),
    ({"adapter": "lora", "text": ""}, "nothing can be read"),
    ({"adapter": "lora", "text": "\u200b\u00ad"}, "nothing can be read"),
    ({"adapter": "lora", "text": "w7", "text_pair": " "}, "column 'text_pair'"),
    ({"adapter": "lora", "text": "영화 정말"}, "has no token that the tokenizer knows"),
    ({"adapter": "lora", "text": "кошка"}, "has no token that the tokenizer knows"),
    ({"adapter": "dora", "text": "??"}, "has no token that the tokenizer knows"),
]


def test_a_malformed_request_disturbs_no_other(bases: dict[str, Path], finetuned: Make) -> None:
    server = Server(bases["bert"])
    good = [{"adapter": name, "text": text} for text in texts(3) for name in ("lora", "dora")]
    for name in ("lora", "dora"):
        server.register(name, finetuned(name))
    expected = server.answer(good)
    mixed = [one for pair in zip(good, MALFORMED, strict=False) for one in (pair[0], pair[1][0])]
    mixed += [one for one, _ in MALFORMED[len(good) :]]
    answers = server.answer(mixed)
    assert [answers[2 * n] for n in range(len(good))] == expected
    refused = [answers[2 * n + 1] for n in range(len(good))] + answers[2 * len(good) :]
    for number, (answer, (_, words)) in enumerate(zip(refused, MALFORMED, strict=True)):
        assert words in answer["error"] and "probabilities" not in answer, number
    assert server.answer(expected) == expected  # answers asked again
    assert "nobody" in server.answer([{**expected[0], "adapter": "nobody"}])[0]["error"]
    assert server.answer([]) == []


@pytest.mark.parametrize("size", [16])
def test_a_thousand_requests_from_eight_threads_while_adapters_change(
    size: int, bases: dict[str, Path], finetuned: Make
) -> None:
    steady = {name: finetuned(name) for name in ("lora", "bitfit", "prompt", "head_only")}
    swapped = {name: [finetuned(name, seed=seed) for seed in (0, 1)] for name in ("dora", "lora")}
    server = Server(bases["bert"])
    for name, folder in steady.items():
        server.register(name, folder)
    for name, folders in swapped.items():
        server.register(f"swapped_{name}", folders[0])
    said = texts(10)
    right = {(name, text): [alone(folder, text)] for name, folder in steady.items() for text in said}
    right |= {(f"swapped_{name}", t): [alone(f, t) for f in folders] for name, folders in swapped.items() for t in said}
    right |= {("coming_and_going", text): [alone(swapped["lora"][0], text)] for text in said}
    done, changes = Event(), []

    def change() -> None:
        while not done.is_set():
            for name, folders in swapped.items():
                server.swap(f"swapped_{name}", folders[len(changes) % 2])
            server.register("coming_and_going", swapped["lora"][0])
            server.unload("coming_and_going")
            changes.append(len(changes))

    def ask(thread: int) -> tuple[int, int, int]:
        draw, good, gone, malformed = random.Random(thread), 0, 0, 0
        for _ in range(1000 // 8 // size + 1):
            requests: list[Any] = [
                {"adapter": name, "text": text} for name, text in draw.choices(sorted(right), k=size)
            ]
            bad = draw.randrange(size)
            requests[bad] = draw.choice(MALFORMED[:3] + MALFORMED[5:])[0]
            for place, (request, answer) in enumerate(zip(requests, server.answer(requests), strict=True)):
                if place == bad:
                    assert "error" in answer
                    malformed += 1
                elif "error" in answer:
                    assert request["adapter"] == "coming_and_going" and "no such adapter" in answer["error"]
                    gone += 1
                else:
                    assert any(near(answer, one, 2e-6) for one in right[request["adapter"], request["text"]])
                    good += 1
        return good, gone, malformed

    before = weights(server)
    with ThreadPoolExecutor(9) as pool:
        changing = pool.submit(change)
        counted = list(pool.map(ask, range(8)))
        done.set()
        changing.result()
    good, gone, malformed = (sum(one) for one in zip(*counted, strict=True))
    assert good + gone + malformed >= 1000 and good > 700 and malformed >= 60
    assert len(changes) >= 2
    assert weights(server) == before


UNREADABLE = {
    '{"adapter": "one", "text": "w7", "id": "\\ud83d"}': "half a character",
    '{"adapter": "\\ud83d", "text": "w7"}': "half a character",
    '{"adapter": "one", "text": "w7", "id": NaN}': "'id' cannot be written back",
    '{"adapter": "one", "text": "w7", "id": [1e999]}': "'id' cannot be written back",
    '{"adapter": "one", "text": "w7", "id": ' + 5000 * "1" + "}": "more than 4300 digits",
    '{"adapter": "one", "text": ' + 100_000 * "[": "nested too deep",
}


def test_the_command_answers_line_by_line(finetuned: Make, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    lora, dora = finetuned("lora"), finetuned("dora", labels=2)
    lines = [
        json.dumps({"adapter": "one", "text": "w7 w8", "id": 5}), "{", "", json.dumps({"adapter": "two", "text": "w9"}),
        json.dumps({"adapter": "three", "text": "w9"}), "[1]",
    ]  # fmt: skip
    file = tmp_path / "requests.jsonl"
    file.write_bytes("\n".join(lines).encode() + b"\n\xff\n" + "\n".join(UNREADABLE).encode())
    given = [f"base={lora}", f"adapters=one:{lora},two:{dora}", str(file)]
    with pytest.raises(SystemExit, match="^10 of the requests were refused"):
        main(given)
    result = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert near(result[0], alone(lora, "w7 w8"), 2e-6) and result[0]["id"] == 5
    assert near(result[2], alone(dora, "w9"), 2e-6)
    for number, line, words in ((1, 2, "not JSON"), (3, 5, "possible are one, two"), (4, 6, "object"), (5, 7, "UTF-8")):
        assert f"requests.jsonl:{line}: " in result[number]["error"] and words in result[number]["error"]
    for number, words in enumerate(UNREADABLE.values(), start=6):
        assert f"requests.jsonl:{number + 2}: " in result[number]["error"] and words in result[number]["error"]
        assert set(result[number]) == {"error"}
    file.write_text(lines[0] + "\n")
    main(given[1:])  # the base in the first adapter's folder; and no exit code
    assert json.loads(capsys.readouterr().out) == result[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["requests.jsonl"], "adapters=: none is named"),
        (["adapters=one", "requests.jsonl"], "'one' is not NAME:MODEL"),
        (["adapters=a:x,a:y", "requests.jsonl"], "a is named twice"),
        (["adapters=a:x"], "one file of requests is read, not 0"),
        (["bases=x", "adapters=a:x", "r"], "bases=x: unknown"),
        (["adapters=a:LORA", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
        (["adapters=a:nobody", __file__], "nobody: no folder with head.json"),
        (["base=LLAMA", "adapters=a:LORA", __file__], "architecture is bert, that of the base is llama"),
    ],
)
def test_the_command_says_what_is_wrong(
    words: list[str], message: str, finetuned: Make, bases: dict[str, Path]
) -> None:
    real = {"LORA": str(finetuned("lora")), "LLAMA": str(bases["llama"])}
    for short, path in real.items():
        words = [word.replace(short, path) for word in words]
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        main(words)


def test_every_option_that_trains_an_adapter_is_among_these() -> None:
    assert set(EVERY) >= set(METHODS) and len({architecture(option(name)) for name in METHODS}) == 2

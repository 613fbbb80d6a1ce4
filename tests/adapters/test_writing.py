"""A decoder under each method writes what its forward pass says, alone as in a batch that is padded on the left."""

from functools import cache
from pathlib import Path

import pytest
import torch
from adapted import LLAMA, METHODS, needs, option, settings_of
from decoders import byte_tokenizer, write_decoder

from adapt.adapters import stage
from adapt.checks.peft import OF_BIASES, VIRTUAL
from adapt.models import language, loading
from adapt.tasks import generation
from adapt.tasks.generation import Decoding

GREEDY = Decoding(max_new_tokens=4, temperature=0.0, top_p=1.0, seed=0)
TEXTS = ["the cat sat on the mat", "iron ore is heavy", "a dog and a cat"]
PROMPTS = [[11, 12, 13, 14, 15, 16], [21], [31, 32, 33]]
OF_LLAMA = [(name, "llama") for name in METHODS if settings_of(name).get("_target_") != OF_BIASES]  # which has none
tokenizer = cache(lambda: byte_tokenizer(TEXTS))
CASES = OF_LLAMA + [(name, "gpt2") for name in METHODS if settings_of(name).get("_target_") in VIRTUAL]


@pytest.mark.parametrize(("name", "architecture"), CASES)
def test_what_is_written_is_what_the_forward_pass_says(name: str, architecture: str, tmp_path: Path) -> None:
    cfg = option(name, *LLAMA)
    needs(cfg)
    folder = write_decoder(tmp_path / "base", TEXTS, architecture)
    torch.manual_seed(0)
    model, _ = loading.load_causal_lm(folder, dropout=0.0)
    plain = written(model, PROMPTS)
    stage.begin(model, cfg, tmp_path / "out", unquantized=["lm_head"])
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.5)
    model.eval()
    together = written(model, PROMPTS)
    assert together != plain or name == "head_only"  # whose head is the embeddings' where they are tied
    for prompt, answer in zip(PROMPTS, together, strict=True):
        assert written(model, [prompt]) == [answer]
        ids = list(prompt)
        for token in answer:
            with torch.no_grad():
                hidden = model.encoder(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)).long())[0]
                assert int(model.model.get_output_embeddings()(hidden)[0, -1].argmax()) == token
            ids.append(token)


def written(model: language.CausalLM, prompts: list[list[int]]) -> list[list[int]]:
    return generation.generate(model, tokenizer(), prompts, GREEDY, batch_size=8, device=torch.device("cpu"))

"""A classifier's logits: fine-tuning chooses its checkpoint by them, evaluation measures them, predict prints them."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from adapt.data.kinds.classification import Example
from adapt.data.tokens import batching
from adapt.models import heads
from adapt.models.padding import SOUND, dependence
from adapt.tasks.kind import NotFinite
from adapt.training.objectives import model_inputs

KEY_NAME = "tasks.prediction"
VERSION = 1


def encode_examples(tokenizer: PreTrainedTokenizerBase, examples: list[Example], max_length: int) -> batching.Encoded:
    """Token ids of one or more examples, cut at max_length tokens; as text pairs if the first example has a pair."""
    pairs = [example.text_pair or "" for example in examples] if examples[0].text_pair is not None else None
    return batching.encode(tokenizer, [example.text for example in examples], max_length, pairs)


def reads_padding(model: heads.Classifier) -> bool:
    """Whether a model's states depend on padding; looked up once. Its batches then hold texts of one length.

    A run refuses such a network before training (adapt/checks/models.py).
    """
    encoder = getattr(model, "encoder", None)
    if encoder is None or encoder.config.model_type in SOUND:
        return False
    known = vars(model).get("_reads_padding")
    if known is None:
        known = dependence(encoder, lambda ids, mask: encoder(input_ids=ids, attention_mask=mask)[0])
        vars(model)["_reads_padding"] = known = known is not None
    return bool(known)


@torch.no_grad()
def predict(
    model: heads.Classifier,
    tokenizer: PreTrainedTokenizerBase,
    data: batching.Encoded,
    batch_size: int,
    device: torch.device,
) -> Tensor:
    """Logits [N, C] in the order of ``data``, on the CPU; the model is in eval mode. Raises NotFinite."""
    logits: dict[int, Tensor] = {}
    for indices in batching.sorted_batches(data.lengths, batch_size, alike=reads_padding(model)):
        batch = model_inputs(batching.collate(tokenizer, data, indices))
        read = {name: value.to(device) for name, value in batch.items()}
        logits.update(zip(indices, model(**read).cpu(), strict=True))
    whole = torch.stack([logits[index] for index in range(len(data.ids))])
    for number in (~whole.isfinite()).any(-1).nonzero().flatten().tolist():
        raise NotFinite(number, f"text {number}")
    return whole

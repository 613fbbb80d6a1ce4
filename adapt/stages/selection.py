"""The selection stages: documents of a corpus chosen for a task's texts, or drawn at random as a control."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adapt.config import RuntimeConfig, SelectionConfig
from adapt.data import corpora
from adapt.data.selection import choose
from adapt.models import heads, loading
from adapt.table.measurement import measurement
from adapt.training import loop

KEY_NAME = "stages.selection"
VERSION = 1
MAX_LENGTH = 128  # the states are averaged over the first tokens of a text, at most this many
BATCH = 64


def select(cfg: SelectionConfig, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig) -> list[dict[str, Any]]:
    """Choose documents of ``corpus`` for the texts of ``query`` by cfg.method; write texts and documents as one corpus.

    inputs: query, corpus; for cfg.method ``states`` also model, for ``sentences`` encoder (a sentence-transformers
    folder). Raises ConfigError if more documents are asked for than there are.
    """
    query, corpus = (corpora.load_corpus(inputs[name]) for name in ("query", "corpus"))
    among = choose.eligible(corpus.train, query.train)
    if cfg.method == "dsir":
        assert cfg.documents is not None
        chosen = choose.by_dsir(query.train, corpus.train, among, cfg.documents, cfg.seed)
    else:
        assert cfg.neighbours is not None
        if cfg.method == "tfidf":
            chosen = choose.by_tfidf(query.train, corpus.train, among, cfg.neighbours)
        else:
            rows = states(inputs["model"], runtime) if cfg.method == "states" else sentences(inputs["encoder"], runtime)
            chosen = choose.by_neighbours(query.train, corpus.train, among, cfg.neighbours, rows)
    return finish(query, corpus, among, chosen, out)


def random_control(
    cfg: SelectionConfig, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig
) -> list[dict[str, Any]]:
    """As many distinct documents as the selection ``like`` has, drawn uniformly from ``corpus`` by cfg.seed."""
    query, corpus = (corpora.load_corpus(inputs[name]) for name in ("query", "corpus"))
    among = choose.eligible(corpus.train, query.train)
    chosen = choose.at_random(among, choose.recorded_documents(inputs["like"]), cfg.seed)
    return finish(query, corpus, among, chosen, out)


def finish(
    query: corpora.Corpus, corpus: corpora.Corpus, among: np.ndarray, chosen: choose.Selection, out: Path
) -> list[dict[str, Any]]:
    """Write the corpus (query texts, then chosen documents; the query's held-out text) and the record; return rows."""
    texts = choose.selected_texts(corpus.train, chosen)
    dropped = {"copy of a task text": len(corpus.train) - len(among), "not chosen": len(among) - len(texts)}
    corpora.write_corpus(corpora.Corpus([*query.train, *texts], query.heldout, dropped), out)
    choose.write_record(chosen, texts, out)
    measures = choose.measures(query.train, corpus.train, among, chosen)
    return [measurement("chosen", metric, value, n=len(texts)) for metric, value in measures.items()]


def states(folder: Path, runtime: RuntimeConfig) -> choose.Rows:
    """A function from texts to mean last hidden states over their first MAX_LENGTH tokens, scaled to norm 1, [N, H]."""
    tokenizer, encoder = loading.load_tokenizer(folder), loading.load_encoder(folder)
    device = loop.device(runtime)
    torch.nn.Module.to(encoder, device)  # transformers annotates its own ``to`` without a device
    encoder.eval()

    @torch.no_grad()
    def rows(texts: Sequence[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))  # for little padding
        pooled_rows = np.empty((len(texts), encoder.config.hidden_size), np.float32)
        for start in range(0, len(order), BATCH):
            indices = order[start : start + BATCH]
            batch = tokenizer(
                [texts[index] for index in indices],
                truncation=True,
                max_length=MAX_LENGTH,
                padding=True,
                padding_side="right",  # as it was trained: a decoder counts positions from the first column
                return_tensors="pt",
            ).to(device)
            hidden = encoder(**batch).last_hidden_state.float()
            pooled = heads.mean_pool(hidden, batch["attention_mask"])
            pooled_rows[indices] = torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy()
        return pooled_rows

    return rows


def sentences(folder: Path, runtime: RuntimeConfig) -> choose.Rows:
    """A function from texts to embeddings of norm 1, [N, H], by the sentence-transformers model in a folder."""
    from sentence_transformers import SentenceTransformer  # optional: the chain refuses a run without it

    encoder = SentenceTransformer(
        str(folder),
        device=str(loop.device(runtime)),
        local_files_only=True,
        trust_remote_code=False,
        model_kwargs={"use_safetensors": True},
    )

    def rows(texts: Sequence[str]) -> np.ndarray:
        embeddings = encoder.encode(list(texts), batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(embeddings, dtype=np.float32)

    return rows

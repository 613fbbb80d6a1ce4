"""The usual baselines: TF-IDF with logistic regression, and a linear probe on frozen features."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from adapt.config import FinetuneConfig, RuntimeConfig
from adapt.data import tasks
from adapt.data.kinds.classification import Example, answers_file
from adapt.data.selection.tfidf import ANALYSIS
from adapt.data.splits import DEV, REPORTED, TRAIN
from adapt.data.tokens import batching
from adapt.models import heads, loading
from adapt.stages.leaks import clean_ids
from adapt.table.measurement import measurement
from adapt.table.metrics import score
from adapt.tasks.prediction import encode_examples
from adapt.tasks.scores import scores
from adapt.training import loop
from adapt.training.objectives import model_inputs

KEY_NAME = "stages.baseline"
VERSION = 3
REGULARISATION = (0.01, 0.1, 1.0, 10.0, 100.0)  # C of the logistic regression, chosen on dev
FEATURE_BATCH = 64
UNSEEN = -1e4  # the logit of a label that the training part lacks: it is never answered, and stays finite


def tfidf(cfg: None, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig) -> list[dict[str, Any]]:
    """Fit a logistic regression on sublinear TF-IDF of words and word pairs; save it, without pickle, into ``out``."""
    started = time.monotonic()
    task = tasks.load_task(inputs["task"])
    vectorizer = TfidfVectorizer(**ANALYSIS, ngram_range=(1, 2), sublinear_tf=True)
    train = vectorizer.fit_transform(joined(task.splits[TRAIN]))
    dev = vectorizer.transform(joined(task.splits[DEV]))
    best = best_regression(train, dev, task)
    weights = {
        "idf": vectorizer.idf_,
        "coef": full(best.coef_, best, task),
        "intercept": full(best.intercept_, best, task, UNSEEN),
    }
    save_file({name: np.ascontiguousarray(value) for name, value in weights.items()}, out / "tfidf.safetensors")
    vocabulary = {word: int(index) for word, index in sorted(vectorizer.vocabulary_.items())}
    (out / "tfidf.json").write_text(json.dumps({"vocabulary": vocabulary, "labels": task.labels}) + "\n")
    return cost(started, weights["coef"].size + weights["intercept"].size)


def tfidf_scores(folder: Path, texts: list[str]) -> np.ndarray:
    """Logits [N, C] of a saved TF-IDF baseline."""
    weights = load_file(folder / "tfidf.safetensors")
    vectorizer = TfidfVectorizer(
        **ANALYSIS,
        ngram_range=(1, 2),
        sublinear_tf=True,
        vocabulary=json.loads((folder / "tfidf.json").read_text())["vocabulary"],
    )
    vectorizer.idf_ = weights["idf"]
    return vectorizer.transform(texts) @ weights["coef"].T + weights["intercept"]


def evaluate_tfidf(cfg: None, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig) -> list[dict[str, Any]]:
    """Scores on dev, test and the clean test examples; there is no embedding space to attack."""
    task = tasks.load_task(inputs["task"])
    rows = []
    for split in task.measured:
        logits = tfidf_scores(inputs["model"], joined(task.splits[split]))
        np.save(out / answers_file(split), logits)
        clean = clean_ids(inputs["leaks"], split) if split in REPORTED else None
        rows += scores(split, task, logits, clean)
    return rows


def linear_probe(
    cfg: FinetuneConfig, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig, *, adapted: bool = True
) -> list[dict[str, Any]]:
    """Fit a logistic regression on the frozen encoder's mean-pooled states; save it like any fine-tuned classifier.

    The features are standardised for the fit; the scaling is then folded into the linear head.
    adapted: False uses only the base model, without the adapters that its parent learned.
    """
    started = time.monotonic()
    task = tasks.load_task(inputs["task"])
    tokenizer = loading.load_tokenizer(inputs["model"])
    model = loading.new_classifier(inputs["model"], labels=task.labels, pooling="mean", dropout=0.0, adapted=adapted)
    device = loop.device(runtime)
    model.to(device).eval()
    scaler, best, _ = fit_probe(model, tokenizer, task, cfg.max_length, device)
    weight = full(best.coef_, best, task) / scaler.scale_
    bias = full(best.intercept_, best, task, UNSEEN) - weight @ scaler.mean_
    assert model.head is not None
    model.head.out.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
    model.cpu().save(out, tokenizer, task.labels, max_length=cfg.max_length)
    return cost(started, weight.size + bias.size)


def fit_probe(
    model: heads.Classifier, tokenizer: Any, task: tasks.Task, max_length: int, device: torch.device
) -> tuple[StandardScaler, LogisticRegression, float]:
    """The scaler of the frozen encoder's mean-pooled states, the regression on them, and its score on dev."""
    features = {}
    for split in (TRAIN, DEV):
        data = encode_examples(tokenizer, task.splits[split], max_length)
        features[split] = pooled(model, tokenizer, data, device)
    scaler = StandardScaler().fit(features[TRAIN])
    dev = scaler.transform(features[DEV])
    best = best_regression(scaler.transform(features[TRAIN]), dev, task)
    return scaler, best, on_dev(best, dev, task)


@torch.no_grad()
def pooled(model: heads.Classifier, tokenizer: Any, data: batching.Encoded, device: torch.device) -> np.ndarray:
    """Mean-pooled last hidden states [N, H] in the order of ``data``."""
    features = np.zeros((len(data.ids), model.encoder.config.hidden_size))
    for indices in batching.sorted_batches(data.lengths, FEATURE_BATCH):
        batch = batching.collate(tokenizer, data, indices)
        read = {name: value.to(device) for name, value in model_inputs(batch).items()}
        hidden = model.encoder(**read).last_hidden_state
        features[indices] = heads.mean_pool(hidden, read["attention_mask"]).cpu().numpy()
    return features


def best_regression(train: Any, dev: Any, task: tasks.Task) -> LogisticRegression:
    """The logistic regression whose C does best on dev by the task's metric; ties go to the smaller C."""
    labels = [example.label for example in task.splits[TRAIN]]
    fitted = [LogisticRegression(C=c, max_iter=2000).fit(train, labels) for c in REGULARISATION]
    return max(fitted, key=lambda model: on_dev(model, dev, task))


def on_dev(model: LogisticRegression, dev: Any, task: tasks.Task) -> float:
    """The task's metric of a regression's answers to features of the dev split."""
    gold = [example.label for example in task.splits[DEV]]
    return score(task.metric, gold, model.predict(dev).tolist(), len(task.labels), task.negative_index)


def full(weights: np.ndarray, model: LogisticRegression, task: tasks.Task, of_unseen: float = 0.0) -> np.ndarray:
    """Weights with one row per label of the task; scikit-learn has a single row for two classes.

    of_unseen: the values of labels that the training part lacks, of which the regression knows nothing.
    """
    rows = weights if len(model.classes_) > 2 else np.concatenate([-weights, weights]) / 2
    whole = np.full((len(task.labels), *rows.shape[1:]), of_unseen)
    whole[model.classes_] = rows
    return whole


def joined(examples: list[Example]) -> list[str]:
    """Each example's one or two texts as one string, joined by a line break."""
    return ["\n".join(example.texts) for example in examples]


def cost(started: float, parameters: int) -> list[dict[str, Any]]:
    """Measurements: the seconds since ``started`` (time.monotonic), and the number of fitted weights."""
    costs = {"train_seconds": time.monotonic() - started, "trainable_parameters": parameters}
    return [measurement("train", metric, value) for metric, value in costs.items()]

"""Many adapters over one base in memory: each request names the one that answers it.

A plain LoRA (``lora``, and over their own quantised base ``qlora`` and ``int8_lora``), ``head_only`` and a new head on
the base as it is share one pass, whatever the rows of a batch want: peft's mixed batches, and after them each head on
its rows. Every other method, and adapters that are stacked, cannot be mixed by peft, or by anybody where what a row
wants changes weights of the base (``dora``, ``adalora``, ``vera``, ``ia3``, ``bitfit``, prompts, prefixes,
``llama_adapter``, bottlenecks): their rows are grouped, with one pass an adapter. Both give what separate passes give.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from adapt.config import ConfigError, first_line
from adapt.data.tokens import batching
from adapt.serving.base import Base
from adapt.serving.passes import Chosen, Passes
from adapt.serving.requests import Request, check_request
from adapt.serving.served import DOES_NOT_FIT, Served, build, read

Answer = dict[str, Any]
OURS = ("predicted", "probabilities", "error")  # of a request they are left out, as when answers are asked again


class Server:
    """A base, and the adapters that were registered on it. May be used from any number of threads."""

    def __init__(self, base: Path, *, device: str = "cpu", batch_size: int = 32) -> None:
        """base: a model's folder. Raises ConfigError where it is none."""
        self.base = Base(base, torch.device(device))
        self.batch_size = batch_size
        self._served: dict[str, Served] = {}  # replaced whole, so that a batch keeps the one that it began with
        self._passes = Passes(self.base)
        self._changing = Lock()

    @property
    def adapters(self) -> dict[str, Served]:
        """What is being served, by name."""
        return dict(self._served)

    def register(self, name: str, folder: Path) -> None:
        """Serve the classifier of a fine-tuning stage's folder (or an export) under a name that is free.

        Raises ConfigError where it was fine-tuned on another base, is of another architecture or kind of task, is
        damaged, or does not answer; nothing that is being served changes then.
        """
        if not name or name != name.strip():
            raise ConfigError(f"{name!r}: the name of an adapter is a word or more, without blanks around")
        with self._changing:
            if name in self._served:
                raise ConfigError(f"{name}: this name is being served; swap it, or unload it first")
            self._put(name, folder)

    def swap(self, name: str, folder: Path) -> None:
        """Serve another folder under a name: requests that came before get the old one's answers. Raises as register.

        The old one goes on being served where the new one is refused.
        """
        with self._changing:
            self._known(name)
            self._put(name, folder)

    def unload(self, name: str) -> None:
        """Serve a name no more. Raises ConfigError for one that is not served."""
        with self._changing:
            self._known(name)
            self._publish({one: served for one, served in self._served.items() if one != name})

    def answer(self, requests: Sequence[Any], where: Sequence[str] | None = None) -> list[Answer]:
        """Answer requests ``{"adapter", "text"}``, perhaps with ``text_pair``, in their order.

        An answer is the request with ``predicted`` and the ``probabilities`` of its adapter's labels. A request that is
        none, names no adapter that is served, has a text of which the tokenizer makes no token at all, or with which a
        pass fails gets ``error`` in their place, and disturbs no other. A text is cut after as many tokens as the base
        has positions for, 512 at most. where: what errors call each request.
        """
        called = where if where is not None else [f"request {number}" for number in range(len(requests))]
        answers: list[Answer] = [
            {key: value for key, value in given.items() if key not in OURS} if isinstance(given, Mapping) else {}
            for given in requests
        ]
        wanted: list[Request] = []
        for place, given in enumerate(requests):
            try:
                wanted.append(check_request(place, called[place], given))
            except ConfigError as error:
                answers[place]["error"] = str(error)
        encoded = self.base.encode([(one.text, one.text_pair) for one in wanted])
        for number, (served, logits) in self._logits(wanted, encoded).items():
            answer, labels = answers[wanted[number].place], served.folder.labels
            if isinstance(logits, str):
                answer["error"] = f"{called[wanted[number].place]}: adapter={wanted[number].adapter}: {logits}"
                continue
            probabilities = logits.softmax(-1).tolist()
            answer["predicted"] = labels[max(range(len(labels)), key=probabilities.__getitem__)]
            answer["probabilities"] = dict(zip(labels, probabilities, strict=True))
        for number, request in enumerate(wanted):
            answer = answers[request.place]
            if not encoded.ids[number]:
                answer["error"] = f"{called[request.place]}: {request.text[:40]!r} has no token"
            elif not {"predicted", "error"} & answer.keys():
                answer["error"] = (
                    f"{called[request.place]}: adapter={request.adapter}: no such adapter is served; possible are "
                    f"{', '.join(sorted(self._served)) or 'none: register one'}"
                )
        return answers

    def _known(self, name: str) -> None:
        if name not in self._served:
            raise ConfigError(
                f"{name}: no such adapter is served; possible are {', '.join(sorted(self._served)) or 'none yet'}"
            )

    def _put(self, name: str, path: Path) -> None:
        """Build, try and publish an adapter; only after that the one of the same name goes."""
        served: Served | None = None
        try:
            served = build(self.base, read(self.base, name, path))
            self._passes.take_in(served)
            self._try(name, served)
        except DOES_NOT_FIT as error:
            if served is not None:
                self._passes.end(served)
            if isinstance(error, ConfigError):
                raise
            kind = self.base.identity.architecture
            raise ConfigError(f"{name}: {path}: what it holds does not fit a {kind}: {error}") from error
        self._publish({**self._served, name: served})

    def _publish(self, served: dict[str, Served]) -> None:
        """Serve these; what is no longer among them goes as soon as no call is at work with it."""
        gone = [one for name, one in self._served.items() if served.get(name) is not one]
        self._served = served
        for one in gone:
            self._passes.end(one)

    def _try(self, name: str, served: Served) -> None:
        """One pass, so that what cannot answer is refused when it is registered. Raises ConfigError."""
        encoded = self.base.encode([("a", None), ("a b c", None)])
        if not all(encoded.ids):  # of a tokenizer that knows none of these letters
            encoded = batching.Encoded([[0], [0, 0]], None)
        logits = self._passes.run([served, served], self.base.batch(encoded, [0, 1]))
        labels = len(served.folder.labels)
        if logits[0].ndim != 1:  # ALBERT's pooler is a linear layer, and its model does the rest
            raise ConfigError(
                f"{name}: the own head of a {self.base.identity.architecture} does not read last hidden states alone; "
                "served is one of finetune.pooling=mean"
            )
        if logits[0].shape[-1] != labels:
            raise ConfigError(f"{name}: its head has {logits[0].shape[-1]} answers, but its note {labels} labels")
        if not all(row.isfinite().all() for row in logits):
            raise ConfigError(f"{name}: {served.folder.path} answers with numbers that are not finite")

    def _logits(self, wanted: list[Request], encoded: batching.Encoded) -> dict[int, tuple[Served, Tensor | str]]:
        """By the number of each request whose adapter is served, who answers, and its logits [C] or what went wrong."""
        readable = [number for number in range(len(wanted)) if encoded.ids[number]]

        def among() -> Chosen:
            served = self._served
            return {number: served[wanted[number].adapter] for number in readable if wanted[number].adapter in served}

        with self._passes.holding(among) as who:
            groups: dict[Any, list[int]] = defaultdict(list)
            for number, one in who.items():
                groups[self._passes.group(one)].append(number)
            found: dict[int, Tensor | str] = {}
            for group in groups.values():
                for places in batching.sorted_batches([len(encoded.ids[number]) for number in group], self.batch_size):
                    found |= self._answered([group[place] for place in places], who, encoded)
            return {number: (who[number], logits) for number, logits in found.items()}

    def _answered(self, numbers: list[int], who: Chosen, encoded: batching.Encoded) -> dict[int, Tensor | str]:
        """One batch; where its pass fails each row gets one of its own, so that what fails alone is alone left out."""
        try:
            logits = self._passes.run([who[number] for number in numbers], self.base.batch(encoded, numbers))
        except (RuntimeError, IndexError, ValueError) as error:
            if len(numbers) == 1:
                return {numbers[0]: first_line(error)}
            alone = [self._answered([number], who, encoded) for number in numbers]
            return {number: answer for found in alone for number, answer in found.items()}
        finite = [bool(row.isfinite().all()) for row in logits]
        return {
            number: row.cpu() if known else "its logits are not finite"
            for number, row, known in zip(numbers, logits, finite, strict=True)
        }

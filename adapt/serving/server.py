"""Many adapters over one base in memory: each request names the adapter that answers it.

Plain LoRAs (``lora``, and over their own quantised base ``qlora`` and ``int8_lora``), ``head_only`` and new heads on
the base as it is share one pass: peft's mixed batches, and then each head on its own rows. The other methods
(``dora``, ``adalora``, ``vera``, ``ia3``, ``bitfit``, prompts, prefixes, ``llama_adapter``, bottlenecks) and stacked
adapters cannot be mixed by peft, and methods that change weights of the base cannot be mixed at all: their rows are
grouped, with one pass per adapter. Both ways give the same answers as separate passes.
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
OURS = ("predicted", "probabilities", "error")  # dropped from a request, which may be an answer that is sent again


class Server:
    """A base, and the adapters that were registered on it. Thread-safe."""

    def __init__(self, base: Path, *, device: str = "cpu", batch_size: int = 32) -> None:
        """base: a model's folder. Raises ConfigError if it is not one."""
        self.base = Base(base, torch.device(device))
        self.batch_size = batch_size
        self._served: dict[str, Served] = {}  # replaced as a whole, so that a batch keeps the dict that it started with
        self._passes = Passes(self.base)
        self._changing = Lock()

    @property
    def adapters(self) -> dict[str, Served]:
        """The adapters that are being served, by name."""
        return dict(self._served)

    def register(self, name: str, folder: Path) -> None:
        """Serve the classifier of a fine-tuning stage's folder (or an export) under a name that is not in use.

        Raises ConfigError if it was fine-tuned on another base, is of another architecture or kind of task, is
        damaged, or does not answer; then nothing that is being served changes.
        """
        if not name or name != name.strip():
            raise ConfigError(f"{name!r}: the name of an adapter must not be empty, nor begin or end with a blank")
        with self._changing:
            if name in self._served:
                raise ConfigError(f"{name}: an adapter of this name is being served; swap it, or unload it first")
            self._put(name, folder)

    def swap(self, name: str, folder: Path) -> None:
        """Serve another folder under a name: earlier requests still get the old adapter's answers.

        Raises as ``register`` does; the old adapter is served on if the new one is refused.
        """
        with self._changing:
            self._known(name)
            self._put(name, folder)

    def unload(self, name: str) -> None:
        """Stop serving a name. Raises ConfigError for one that is not served."""
        with self._changing:
            self._known(name)
            self._publish({one: served for one, served in self._served.items() if one != name})

    def answer(self, requests: Sequence[Any], where: Sequence[str] | None = None) -> list[Answer]:
        """Answer requests ``{"adapter", "text"}``, optionally with ``text_pair``, in their order.

        An answer is the request with ``predicted`` and the ``probabilities`` of its adapter's labels. It has ``error``
        instead if the request is malformed or names no adapter that is served, if the tokenizer knows no token of its
        text, or if its pass fails; other requests are not affected. A text is cut at as many tokens as in the training
        of its adapter. where: what errors call each request.
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
        lengths = [self._length(one.adapter) for one in wanted]
        encoded = self.base.encode([(one.text, one.text_pair) for one in wanted], lengths)
        readable = self.base.readable(encoded)
        for number, (served, logits) in self._logits(wanted, encoded, readable).items():
            answer, labels = answers[wanted[number].place], served.folder.labels
            if isinstance(logits, str):
                answer["error"] = f"{called[wanted[number].place]}: adapter={wanted[number].adapter}: {logits}"
                continue
            probabilities = logits.softmax(-1).tolist()
            answer["predicted"] = labels[max(range(len(labels)), key=probabilities.__getitem__)]
            answer["probabilities"] = dict(zip(labels, probabilities, strict=True))
        for number, request in enumerate(wanted):
            answer = answers[request.place]
            if not readable[number]:
                answer["error"] = (
                    f"{called[request.place]}: {request.text[:40]!r} has no token that the tokenizer knows"
                )
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
        """Build, try and publish an adapter; only then is the old one of the same name removed."""
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
            kind = self.base.content.architecture
            raise ConfigError(f"{name}: {path}: its content does not fit a {kind}: {error}") from error
        self._publish({**self._served, name: served})

    def _publish(self, served: dict[str, Served]) -> None:
        """Serve these; an adapter that is no longer among them is removed as soon as no call uses it."""
        gone = [one for name, one in self._served.items() if served.get(name) is not one]
        self._served = served
        for one in gone:
            self._passes.end(one)

    def _length(self, adapter: str) -> int | None:
        """At how many tokens an adapter's texts are cut; None if it is not served, or does not say."""
        served = self._served.get(adapter)
        return None if served is None else served.folder.max_length

    def _try(self, name: str, served: Served) -> None:
        """Run one pass, so that an adapter that cannot answer is refused at registration. Raises ConfigError."""
        encoded = self.base.encode([("a", None), ("a b c", None)])
        if not all(encoded.ids):  # the tokenizer knows none of these letters
            encoded = batching.Encoded([[0], [0, 0]], None)
        logits = self._passes.run([served, served], self.base.batch(encoded, [0, 1]))
        labels = len(served.folder.labels)
        if logits[0].ndim != 1:  # ALBERT's pooler is a linear layer, and its model does the rest
            raise ConfigError(
                f"{name}: the own head of a {self.base.content.architecture} reads more than last hidden states; only "
                "one with finetune.pooling=mean is served"
            )
        if logits[0].shape[-1] != labels:
            raise ConfigError(f"{name}: its head has {logits[0].shape[-1]} outputs, but its note {labels} labels")
        if not all(row.isfinite().all() for row in logits):
            raise ConfigError(f"{name}: {served.folder.path} gives numbers that are not finite")

    def _logits(
        self, wanted: list[Request], encoded: batching.Encoded, readable: list[bool]
    ) -> dict[int, tuple[Served, Tensor | str]]:
        """For each request whose adapter is served, by its number: the adapter, and logits [C] or what went wrong.

        readable: whether each request's text has a token that the tokenizer knows; the others are not answered.
        """

        def among() -> Chosen:
            served = self._served
            return {
                number: served[one.adapter]
                for number, one in enumerate(wanted)
                if readable[number] and one.adapter in served
            }

        with self._passes.holding(among) as who:
            groups: dict[Any, list[int]] = defaultdict(list)
            for number, one in who.items():
                groups[self._passes.group(one)].append(number)
            results: dict[int, Tensor | str] = {}
            for group in groups.values():
                for places in batching.sorted_batches([len(encoded.ids[number]) for number in group], self.batch_size):
                    results |= self._answered([group[place] for place in places], who, encoded)
            return {number: (who[number], logits) for number, logits in results.items()}

    def _answered(self, numbers: list[int], who: Chosen, encoded: batching.Encoded) -> dict[int, Tensor | str]:
        """The logits of one batch; if its pass fails, each row gets a pass of its own, so that only bad rows fail."""
        try:
            logits = self._passes.run([who[number] for number in numbers], self.base.batch(encoded, numbers))
        except (RuntimeError, IndexError, ValueError) as error:
            if len(numbers) == 1:
                return {numbers[0]: first_line(error)}
            one_by_one = [self._answered([number], who, encoded) for number in numbers]
            return {number: answer for results in one_by_one for number, answer in results.items()}
        finite = [bool(row.isfinite().all()) for row in logits]
        return {
            number: row.cpu() if known else "its logits are not finite"
            for number, row, known in zip(numbers, logits, finite, strict=True)
        }

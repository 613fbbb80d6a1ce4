"""Answer a file of requests with many adapters over one base; each request names its adapter. JSON lines in and out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from adapt.config import ConfigError, first_line

AT_ONCE = 256  # requests that are sorted by length together
USAGE = "adapt serve [base=FOLDER] adapters=NAME:MODEL[,NAME:MODEL...] REQUESTS.jsonl [options]"
MORE = """
arguments:
  base=FOLDER          the model that all adapters were fine-tuned on (default: the base in the first adapter's folder)
  adapters=NAME:MODEL  serve MODEL under this name; MODEL is a run id (see the table), or a folder that a run
                       exported. For several, separate them by commas or repeat the argument
  REQUESTS.jsonl       lines {"adapter": NAME, "text": ...}, optionally with "text_pair"; - is the standard input

Each request gets one line of answer, in the same order: the request with "predicted" and the "probabilities" of its
adapter's labels, or with "error", which names file and line. Texts are cut to as many tokens as the base has positions
for, at most 512. Lines from a pipe are answered as they arrive. The exit code is 1 if a request was refused, or if
nothing could be served. An adapter of another base, architecture or kind of task is refused before any request is read.

example:
  adapt serve base=outputs/base adapters=topic:1f3a9c,section:7be210 requests.jsonl > answers.jsonl
"""


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="adapt serve", usage=USAGE, description=__doc__, epilog=MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("arguments", nargs="+", metavar="ARGUMENT", help="see below")
    parser.add_argument("--root", type=Path, default=Path("outputs"), help="where the runs are (default: outputs)")
    parser.add_argument("--batch-size", type=int, default=32, help="requests per pass (default: 32)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps ... (default: cpu)")
    args = parser.parse_args(arguments)
    try:
        base, adapters, requests = parsed_arguments(args.arguments)
        refused = serve(base, adapters, requests, args.root, args.batch_size, args.device)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    if refused:
        sys.exit(f"{refused} of the requests were refused; their answers say why")


def parsed_arguments(arguments: Iterable[str]) -> tuple[str | None, dict[str, str], Path]:
    """The base, the model of each adapter, and the file of requests. Raises ConfigError."""
    base, adapters, files = None, {}, []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key == "base":
            base = value
        elif equals and key == "adapters":
            for one in value.split(","):
                name, colon, model = one.partition(":")
                if not (name and colon and model):
                    raise ConfigError(f"adapters={value}: {one!r} is not NAME:MODEL")
                if name in adapters:
                    raise ConfigError(f"adapters={value}: {name} is named twice")
                adapters[name] = model
        elif equals and not Path(argument).exists():
            raise ConfigError(f"{argument}: unknown; possible are base=, adapters= and a file of requests")
        else:
            files.append(Path(argument))
    if not adapters:
        raise ConfigError("adapters=: none is named; give adapters=NAME:MODEL, where MODEL is a run id or a folder")
    if len(files) != 1:
        raise ConfigError(f"one file of requests is read, not {len(files)}; use - for the standard input")
    return base, adapters, files[0]


def serve(base: str | None, adapters: dict[str, str], requests: Path, root: Path, batch_size: int, device: str) -> int:
    """Write the answers to the standard output; returns how many requests were refused. Raises ConfigError."""
    import torch
    from tqdm import tqdm

    from adapt.runs.finetuned import finetuned_folder
    from adapt.serving.requests import read_requests
    from adapt.serving.server import Server

    if batch_size < 1:
        raise ConfigError(f"--batch-size={batch_size}: must be 1 or more")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device={device}: not on this machine ({first_line(error)})") from error
    batches = read_requests(requests, AT_ONCE)
    folders = {name: finetuned_folder(model, root) for name, model in adapters.items()}
    server = Server(Path(base) if base else next(iter(folders.values())), device=device, batch_size=batch_size)
    for name, folder in folders.items():
        server.register(name, folder)
    refused = 0
    with tqdm(unit=" requests", desc="serving") as bar:
        for lines in batches:
            for answer in answers(server, lines):
                refused += "error" in answer
                print(json.dumps(answer, ensure_ascii=False))
            sys.stdout.flush()  # so that the answers so far are written if the command is stopped
            bar.update(len(lines))
    return refused


def answers(server: Any, lines: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    """One answer per line, with probabilities to six digits; for a line that is not JSON, only its error."""
    readable = [(where, given) for where, given in lines if not isinstance(given, ConfigError)]
    given = iter(server.answer([request for _, request in readable], [where for where, _ in readable]))
    results: list[dict[str, Any]] = [
        {"error": str(line)} if isinstance(line, ConfigError) else next(given) for _, line in lines
    ]
    for answer in results:
        if "probabilities" in answer and "error" not in answer:
            answer["probabilities"] = {label: round(value, 6) for label, value in answer["probabilities"].items()}
    return results


if __name__ == "__main__":
    main()

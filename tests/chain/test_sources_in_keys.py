"""A stage's key knows the VERSION of every source that can change what the stage makes, and of no other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from reached import Name, reached
from safetensors.numpy import save_file

from adapt.chain.compose import chain_of, readings_of
from adapt.chain.finetuning import finetune_stage
from adapt.chain.pretraining import option
from adapt.chain.stage import Stage
from adapt.checks.run import check_values
from adapt.config import CONF, AdversaryConfig, Config, PeftConfig, TaskConfig
from adapt.store import keys
from adapt.store.sources import FileHashes

# Modules, or names in them, that never change what a stage computes.
NOT_COUNTING = {
    "adapt.models.padding": "in which batches a network answers that no run accepts",
    "adapt.models.weights": "opens what models.loading asks for, or refuses it; what it opens is whole",
    "adapt.models.segments": "leaves out an input that the network has no weights for; with it there is an error",
    "adapt.config": "types; a stage's settings are in its key by their values",
    "adapt.table.measurement": "the shape of a row; its numbers come from the stage",
    "adapt.training.preemption": "when a training that is told to stop saves; it goes on to the same bytes",
    "adapt.training.loop.device": "finds the accelerator; which one it is stands in the provenance",
    "adapt.data.masking.strategies": "what the strategies are called; the name is in the key",
    "adapt.text_attacks.names": "what the attacks are called; the names are in the key",
    "adapt.data.tasks.load_task": "reads what a task stage wrote, as it was written; the key knows its bytes",
    "adapt.data.corpora.load_corpus": "reads what a stage wrote, as it was written; the key knows its bytes",
    "adapt.data.kinds.kind": "types, and how the table of predictions calls answers",
    "adapt.data.kinds.classification.Example": "a type",
    "adapt.data.kinds.classification.answers_file": "what the file is called that an evaluation writes answers to",
    "adapt.tasks.kind": "types",
    "adapt.data.adversarial_embeddings.load_embeddings": "reads what the perturbations stage wrote, as it was written",
    "adapt.stages.leaks.clean_ids": "reads what the leaks stage wrote, as it was written",
}


@dataclass(frozen=True)
class Case:
    """A stage of a run."""

    words: str  # of the command
    cfg: Config
    stage: Stage

    def methods(self) -> list[PeftConfig]:
        """The PEFT methods of the stage and of the stages that its model comes from."""
        return [stage.more["peft"] for stage in with_inputs(self.stage) if "peft" in stage.more]

    def adapted(self) -> bool:
        """Whether the model has an adapter or a quantised base."""
        return any(peft.method is not None for peft in self.methods()) or self.exported()

    def exported(self) -> bool:
        """Whether the base model comes with adapters."""
        return "{files}" in self.words and "model.path" in self.words

    def tagged(self) -> bool:
        """Whether the stage's task has a tag for each word."""
        return (self.stage.argument if self.stage.kind == "task" else self.cfg.task).kind == "tagging"


# Modules, or names in them, that a stage reaches but runs only for some configs: for which, and why not for others.
NOT_ALWAYS: dict[str, tuple[Callable[[Case], bool], str]] = {
    "adapt.adapters": (Case.adapted, "a model without adapters passes through as it is"),
    "adapt.adapters.bits": (
        lambda case: case.exported() or any(peft.quantization is not None for peft in case.methods()),
        "no layer of the base is in bits",
    ),
    "adapt.tasks.tagging": (
        lambda case: case.tagged() or case.stage.kind in ("importance", "marks"),
        "the task has one label for a text",
    ),
    "adapt.tasks.classification": (lambda case: not case.tagged(), "the task has a tag for each word"),
    "adapt.data.tasks.KINDS": (
        lambda case: case.stage.kind == "task",
        "asks what the kind does, and reads no text by it",
    ),
    "adapt.data.kinds.tagging": (Case.tagged, "the task has one label for a text"),
    "adapt.data.kinds.classification": (lambda case: not case.tagged(), "the task has a tag for each word"),
    "adapt.data.pydoc": (
        lambda case: getattr(case.stage.argument, "format", "") == "pydoc",
        "the text is in files, or was written by a stage",
    ),
    "adapt.stages.robustness.attacked": (lambda case: case.cfg.task.kind == "classification", "attacks classifiers"),
    "adapt.text_attacks": (lambda case: case.cfg.evaluate.text is not None, "the evaluation attacks no text"),
    "adapt.data.masking.marks": (
        lambda case: case.stage.kind == "marks" or case.stage.argument.masking.strategy == "selective",
        "another strategy",
    ),
    "adapt.models.language.save_language_model": (
        lambda case: case.stage.kind == "pretrain",
        "the stage keeps no language model",
    ),
    "adapt.training.processes": (lambda case: case.stage.trains, "one process works on the stage"),
    "adapt.training.sharding": (lambda case: case.stage.trains, "one process works on the stage"),
    "adapt.stages.selection.states": (lambda case: case.stage.argument.method == "states", "another method"),
}
RUNS = [
    *("finetune=linear_probe", "model=tfidf", "evaluate=text", "evaluate=ensemble", "evaluate=clean"),
    "task=pydoc_entities evaluate=clean",
    "task=pydoc_entities evaluate=clean peft=lora",
    "task=conll task.path={files} evaluate=clean",
    "task=csv task.path={files} pretrain=[dapt] corpus=files corpus.path={files}/train.jsonl",
    "pretrain=[dapt] adversary@pretrain_adversary=pgd peft@pretrain_peft=qlora adversary=pseudo_labelled",
    "pretrain=[dapt] peft@pretrain_peft=qlora finetune=linear_probe",
    "adversary=pseudo_labelled peft=lora",
    "model=hf model.path={files} pretrain=[dapt] adversary@pretrain_adversary=smart",
    "model=tiny_decoder pretrain=[dapt] evaluate=samples",
    "model=tiny_decoder pretrain=[dapt] evaluate=samples peft@pretrain_peft=lora",
    "pretrain=[dapt,tapt] vocabulary=extended evaluate=adaptation evaluate.domains.along=[dapt,tapt]",
    "pretrain=[dapt] peft@pretrain_peft=lora evaluate=adaptation evaluate.domains.along=[dapt]",
    "pretrain=[curated_tapt]",
    "pretrain=[transfer_tapt]",
    "pretrain=[rand_dsir]",
    "pretrain=[dapt,knn_tapt_states] peft@pretrain_peft=lora",
    "pretrain=[tapt] pretrain.tapt.masking.strategy=selective pretrain.tapt.leaks=keep",
    "pretrain=[dapt,tapt] pretrain.tapt.masking.strategy=selective peft@pretrain_peft=qlora",
    "pretrain=[tapt] pretrain.tapt.masking.strategy=difference +pretrain.tapt.mix.general=0.1",
]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """All stages of runs that together have every stage function, adversary and method."""
    folder = tmp_path_factory.mktemp("files")
    for split in ("train", "dev", "test"):
        for ending in ("jsonl", "csv", "conll"):
            (folder / f"{split}.{ending}").touch()
    (folder / "adapters").mkdir()  # a model that a run has exported
    (folder / "config.json").write_text("{}")
    save_file({}, folder / "model.safetensors")
    ConfigStore.instance().store(name="schema", node=Config)
    hashes = FileHashes(folder / "hashes.json")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        configs = {words: composed(words.format(files=folder)) for words in ["", *RUNS]}
        chains = {words: chain_of(cfg, task, hashes) for words, cfg in configs.items()}
        for words, cfg in configs.items():  # the evaluation, which reads none of them, stays the last
            chains[words] = [*readings_of(cfg, chains[words], hashes), *chains[words]]
    tried = chains[""][-1].inputs["model"]
    assert isinstance(tried, Stage)
    model, labelled = (tried.inputs[name] for name in ("model", "task"))
    assert isinstance(labelled, Stage)
    for name in sorted(file.stem for file in (CONF / "adversary").glob("*.yaml")):
        words = f"adversary={name}"
        configs[words] = replace(configs[""], adversary=option(AdversaryConfig, "adversary", name))
        chains[words] = [finetune_stage(configs[words], model, labelled)]
    return [Case(words, configs[words], stage) for words in chains for stage in distinct(chains[words])]


def composed(words: str) -> Config:
    return check_values(compose("config", overrides=["budget=smoke", *words.split()]))


@cache
def task(name: str) -> TaskConfig:
    return composed(f"task={name}").task


def with_inputs(stage: Stage) -> list[Stage]:
    """A stage and all stages that it is made from."""
    below = [each for given in stage.inputs.values() if isinstance(given, Stage) for each in with_inputs(given)]
    return [stage, *below]


def distinct(chain: list[Stage]) -> list[Stage]:
    """The stages of a chain and all stages that they are made from, each once."""
    return list({id(stage): stage for last in chain for stage in with_inputs(last)}.values())


def targets(settings: Any) -> Iterator[Name]:
    """The definitions of adapt that a config names; ``kept.method`` trains another stage."""
    if is_dataclass(settings) and not isinstance(settings, type):
        settings = asdict(settings)
    if isinstance(settings, dict):
        for key, value in settings.items():
            if key == "_target_" and value.startswith("adapt."):
                module, _, name = value.rpartition(".")
                yield module, name
            elif key != "kept":
                yield from targets(value)


def stopper(case: Case, used: set[str]) -> Callable[[Name], bool]:
    """Whether the walk stops before a name; records which entries of the two tables stop it."""

    def stops(name: Name) -> bool:
        parts = ".".join(name).strip(".").split(".")
        for entry in (".".join(parts[:end]) for end in range(len(parts), 1, -1)):
            if entry in NOT_COUNTING or (entry in NOT_ALWAYS and not NOT_ALWAYS[entry][0](case)):
                used.add(entry)
                return True
        return False

    return stops


def can_run(case: Case, used: set[str]) -> dict[str, str]:
    """The modules that a stage can run, each with one path to it."""
    module, _, name = case.stage.function.partition(":")
    trained_by = [*targets(case.stage.more)]
    return reached([(module, name), *trained_by], stopper(case, used))


HINT = """
Two ways out. If the source can change what the stage makes: name it in the stage's modules= in adapt/chain/, with
KEY_NAME and VERSION at its head. If it cannot: an entry with the reason in a table of this test, NOT_COUNTING (never)
or NOT_ALWAYS (not for this config)."""


def test_a_key_knows_every_source_that_its_stage_can_run(cases: list[Case]) -> None:
    missing = {}
    for case in cases:
        ways = can_run(case, set())
        for module in sorted(set(ways) - set(case.stage.modules)):
            missing.setdefault((case.stage.kind, module), f"({case.words or 'defaults'}): {ways[module]}")
    told = [f"the key of a {kind} stage does not know {module} {why}" for (kind, module), why in missing.items()]
    assert not missing, "\n".join(told) + HINT


def test_a_key_knows_no_source_that_its_stage_never_runs(cases: list[Case]) -> None:
    named: set[Name] = set()
    run: set[Name] = set()
    for case in cases:
        named |= {(case.stage.function, module) for module in case.stage.modules}
        run |= {(case.stage.function, module) for module in can_run(case, set())}
    assert sorted(named - run) == []


def test_a_key_knows_no_source_that_this_config_leaves_out(cases: list[Case]) -> None:
    """A change of a tagger's source must train no classifier again."""
    for case in cases:
        for entry, (runs, why) in NOT_ALWAYS.items():
            whole = [module for module in case.stage.modules if module == entry or module.startswith(f"{entry}.")]
            assert not whole or runs(case), f"{case.words}: {case.stage.label}: {whole}, but {why}"


def test_every_entry_of_the_tables_is_used(cases: list[Case]) -> None:
    used: set[str] = set()
    for case in cases:
        can_run(case, used)
    assert used == {*NOT_COUNTING, *NOT_ALWAYS}


def test_the_runs_reach_every_stage_function_and_every_source_with_a_version(cases: list[Case]) -> None:
    chain = "".join(file.read_text() for file in Path(keys.__file__).parents[1].glob("chain/*.py"))
    assert {case.stage.function for case in cases} == set(re.findall(r'"(adapt\.stages\.\w+:\w+)"', chain))
    package = Path(keys.__file__).parents[1]
    versioned = {
        ".".join(file.relative_to(package.parent).with_suffix("").parts)
        for file in package.rglob("*.py")
        if re.search(r"^VERSION = ", file.read_text(), re.MULTILINE)
    }
    assert versioned == {module for case in cases for module in case.stage.modules}, "a VERSION that no key reads"

"""The selection stages: the files that they write, and that a control has as many documents as its method."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import adapt_here
from world import overrides, pipeline, sentence

from adapt import results
from adapt.chain.pretraining import step_name
from adapt.config import ConfigError, PretrainConfig, RuntimeConfig, SelectionConfig
from adapt.data import corpora
from adapt.runs.finetuned import finetuned_folder
from adapt.stages import selection as stage
from adapt.store import sources

RUNTIME = RuntimeConfig(device="cpu", threads=1)


@pytest.fixture(scope="module")
def inputs(world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("inputs")
    query = [sentence("animal", number) for number in range(12)]
    corpus = [sentence(label, number) for number in range(1000, 1060) for label in ("animal", "metal")]
    corpus[7] = query[0].upper() + "."  # a copy of a query text
    heldout = [sentence("animal", 500)]
    for name, train in (("query", query), ("corpus", corpus)):
        (folder / name).mkdir()
        corpora.write_corpus(corpora.Corpus(train, heldout, {}), folder / name)
    return {
        "query": folder / "query",
        "corpus": folder / "corpus",
        "model": world / "model",
        "encoder": world / "model",
    }


def settings(method: str, number: int, seed: int = 0) -> SelectionConfig:
    counts = (
        {"documents": number, "neighbours": None} if method == "dsir" else {"documents": None, "neighbours": number}
    )
    return SelectionConfig(method=method, encoder=None, control=False, seed=seed, **counts)


def run(function, cfg: SelectionConfig, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    out.mkdir()
    rows = function(cfg, inputs, out, RUNTIME)
    assert {row["split"] for row in rows} == {"chosen"}
    return {row["metric"]: row["value"] for row in rows}


@pytest.mark.parametrize("method", ["tfidf", "states", "sentences", "dsir"])
def test_a_selection_and_its_control(inputs: dict[str, Path], tmp_path: Path, method: str) -> None:
    if method == "sentences":
        pytest.importorskip("sentence_transformers", reason="an optional extra")
    cfg = settings(method, 20 if method == "dsir" else 3)
    chosen = run(stage.select, cfg, inputs, tmp_path / "chosen")
    query, corpus = corpora.load_corpus(inputs["query"]), corpora.load_corpus(inputs["corpus"])
    written = corpora.load_corpus(tmp_path / "chosen")
    record = pq.read_table(tmp_path / "chosen" / "chosen.parquet").to_pydict()
    assert list(written.train) == [*query.train, *record["text"]] and list(written.heldout) == list(query.heldout)
    assert record["text"] == [corpus.train[number] for number in record["document"]]
    assert 7 not in record["document"] and chosen["documents"] == len(record["text"]) == len(set(record["document"]))
    assert json.loads((tmp_path / "chosen" / "report.json").read_text())["dropped"]["copy of a task text"] == 1
    again = run(stage.select, cfg, inputs, tmp_path / "again")
    assert again == chosen
    assert (tmp_path / "again/chosen.parquet").read_bytes() == (tmp_path / "chosen/chosen.parquet").read_bytes()

    like = {**inputs, "like": tmp_path / "chosen"}
    control = run(stage.random_control, cfg, like, tmp_path / "control")
    assert control["documents"] == chosen["documents"] and "kl_reduction" in control
    assert "mean_similarity" in chosen or method == "dsir"
    drawn = pq.read_table(tmp_path / "control" / "chosen.parquet").to_pydict()["document"]
    assert len(set(drawn)) == chosen["documents"] and 7 not in drawn and drawn != record["document"]


def test_neighbours_by_words_are_nearer_than_chance(inputs: dict[str, Path], tmp_path: Path) -> None:
    chosen = run(stage.select, settings("tfidf", 2), inputs, tmp_path / "chosen")
    control = run(stage.random_control, settings("tfidf", 2), {**inputs, "like": tmp_path / "chosen"}, tmp_path / "c")
    record = pq.read_table(tmp_path / "chosen" / "chosen.parquet").to_pydict()
    assert np.mean([number % 2 == 0 for number in record["document"]]) > 0.8  # even numbers are of the query's kind
    assert chosen["kl_reduction"] > control["kl_reduction"]


def test_states_do_not_depend_on_the_batch(inputs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [sentence("animal", number) + " the" * (number % 5) for number in range(20)]
    rows = stage.states(inputs["model"], RUNTIME)
    together = rows(texts)
    monkeypatch.setattr(stage, "BATCH", 3)
    np.testing.assert_allclose(rows(texts), together, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows([texts[3]])[0], together[3], atol=1e-5)


def test_asking_for_more_neighbours_than_documents(inputs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"selection\.neighbours=500: the corpus has 119 documents"):
        run(stage.select, settings("tfidf", 500), inputs, tmp_path / "chosen")


def test_sentences_without_the_package_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install sentence-transformers"):
        sources.sentence_encoder("all-MiniLM-L6-v2")


def test_an_encoder_that_is_no_model_folder(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="an optional extra")
    with pytest.raises(ConfigError, match=r"selection\.encoder=.* has no config\.json"):
        sources.sentence_encoder(str(tmp_path))


def test_a_control_never_has_the_label_of_its_method() -> None:
    def label(*names: str, control: bool) -> str | None:
        selection = SelectionConfig(control=control)
        return "+".join(step_name(PretrainConfig(name=name, selection=selection)) for name in names)

    assert label("knn_tapt_150", control=False) == "knn_tapt_150"
    assert label("knn_tapt_150", control=True) == "knn_tapt_150_control"
    assert label("rand_tapt", "rand_dsir", control=True) == "rand_tapt+rand_dsir"


def test_a_chain_chooses_by_its_parent_s_states_and_says_what_it_chose(world: Path, tmp_path: Path) -> None:
    chain = "pretrain=[dapt,knn_tapt_states,rand_dsir]"
    ran = adapt_here(*overrides(world, tmp_path), "evaluate=clean", chain)
    assert ran.code == 0, ran.err
    rows = results.load(tmp_path).set_index(["split", "metric"])["value"]
    assert rows["states 50 selection/chosen", "documents"] >= 50
    assert (
        rows["dsir 20 selection/chosen", "documents"] == rows["random for dsir 20 selection/chosen", "documents"] == 20
    )
    (chosen,) = (path.parent for path in tmp_path.glob("store/selection/*/stage.json") if "states" in path.read_text())
    (dapt,) = (path for path in tmp_path.glob("store/pretrain/*/stage.json") if is_first(path))
    assert json.loads((chosen / "stage.json").read_text())["inputs"]["model"].startswith(dapt.parent.name)


def test_two_arms_that_come_to_the_same_text_are_two_runs_of_one_training(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        pipeline(world, tmp_path, "pretrain=[dsir]", "budget.selected_documents=100000").run()
    everything = re.search(r"the corpus has (\d+) documents", str(refused.value))[1]  # type: ignore[index]
    shared = ("evaluate=clean", f"budget.selected_documents={everything}")
    runs = {name: pipeline(world, tmp_path, f"pretrain=[{name}]", *shared).run() for name in ("dsir", "rand_dsir")}
    assert len(list(tmp_path.glob("store/pretrain/*/stage.json"))) == 1
    assert len(list(tmp_path.glob("store/evaluate/*/stage.json"))) == 1
    rows = results.load(tmp_path)
    assert runs == rows.groupby("pretrain")["run_id"].unique().map("".join).to_dict()
    scores = rows[(rows["split"] == "test") & (rows["metric"] == "macro_f1")]
    assert len(scores) == 2 and scores["value"].nunique() == 1
    chosen, drawn = f"dsir {everything} selection/chosen", f"random for dsir {everything} selection/chosen"
    for name, expected in (("dsir", {chosen}), ("rand_dsir", {chosen, drawn})):  # a control counts what it is like
        splits = set(rows.loc[rows["pretrain"] == name, "split"])
        assert f"{name}/heldout" in splits and {one for one in splits if one.endswith("/chosen")} == expected
    other = rows[rows["pretrain"] == "rand_dsir"].dropna(axis="columns", how="all")
    assert other["pretrain.rand_dsir.selection.control"].all() and "pretrain.dsir.steps" not in other
    finetuned = {finetuned_folder(run_id, tmp_path) for run_id in runs.values()}
    assert len(finetuned) == 1


def is_first(manifest: Path) -> bool:
    """Whether a pretraining stage began from the base model: no other stage's key is what it knows its model by."""
    keys = {path.parent.name for path in manifest.parents[1].glob("*/stage.json")}
    return json.loads(manifest.read_text())["inputs"]["model"][:32] not in keys


def test_a_run_that_asks_for_more_than_there_is_stops_before_it_trains(world: Path, tmp_path: Path) -> None:
    few = "budget.corpus_documents=40"
    ran = adapt_here(*overrides(world, tmp_path), "evaluate=clean", "pretrain=[knn_tapt_50]", few)
    assert ran.code != 0 and "selection.neighbours=50: the corpus has " in ran.err
    assert not list(tmp_path.glob("store/pretrain/*/stage.json"))

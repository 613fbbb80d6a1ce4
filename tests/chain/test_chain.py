"""The chain over the store: what is shared, what is trained again, and the rows at its end."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from world import REPOSITORY, overrides, pipeline, sentence, write_jsonl

from adapt import results
from adapt.data.corpora import load_corpus
from adapt.runs.plan import describe
from adapt.store import code
from analysis.study import record

CONF = Path(__file__).parents[2] / "conf"


def built(root: Path) -> Counter:
    return Counter(path.parent.parent.name for path in root.glob("store/*/*/stage.json"))


@pytest.fixture(scope="module")
def grid(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 chains x 2 adversaries x 2 seeds over one store."""
    root = tmp_path_factory.mktemp("grid")
    for chain in ("[dapt]", "[dapt,tapt]"):
        for adversary in ("none", "pgd"):
            for seed in (0, 1):
                pipeline(world, root, f"pretrain={chain}", f"adversary={adversary}", f"seed={seed}").run()
    return root


def test_a_sweep_trains_each_stage_once(grid: Path) -> None:
    # the task is there twice: cut to the budget and, for what the corpus must leave out, whole
    assert built(grid) == {
        **{"task": 2, "corpus": 1, "task_text": 1, "tokens": 2, "leaks": 1, "reading": 1},
        **{"pretrain": 2, "finetune": 8, "evaluate": 8},
    }


def test_the_same_run_again_trains_nothing_and_gives_the_same_rows(world: Path, grid: Path) -> None:
    before, table = sorted(grid.glob("store/*/*/stage.json")), results.load(grid)
    times = [path.stat().st_mtime_ns for path in before]
    pipeline(world, grid, "pretrain=[dapt,tapt]", "adversary=pgd", "seed=1").run()
    assert [path.stat().st_mtime_ns for path in sorted(grid.glob("store/*/*/stage.json"))] == times
    assert results.same_rows(table, results.load(grid))


def test_a_finished_run_is_looked_up_without_torch(world: Path, grid: Path) -> None:
    words = [*overrides(world, grid), "pretrain=[dapt,tapt]", "adversary=pgd", "seed=1"]
    script = "import sys; from adapt.__main__ import main; main(); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert done.stdout.rstrip().endswith("False") and "finished in" in done.stdout + done.stderr


def test_a_dirty_run_is_clean_once_a_commit_holds_its_sources(
    world: Path, grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[str | None] = [None]
    monkeypatch.setattr(code, "differing", lambda sources: [*sources][:1])
    monkeypatch.setattr(code, "commit_of", lambda sources: held[0])

    def run() -> str:
        chain = pipeline(world, tmp_path, "pretrain=[]", "adversary=none", "evaluate=clean")
        chain.cfg.experiment = "mine"
        return chain.run()

    run_id = run()
    assert results.load(tmp_path)["dirty"].all() and results.commit_of(tmp_path, run_id) is None
    assert results.uncommitted(tmp_path, run_id)
    refused = record.merge("mine", tmp_path, tmp_path / "lab")
    assert refused.refused == [run_id] and refused.uncommitted and refused.table.empty
    held[0] = "c0ffee"
    merged = record.merge("mine", tmp_path, tmp_path / "lab")
    assert merged.merged == [run_id] and not merged.refused
    assert set(merged.table["commit"]) == {"c0ffee"} and not merged.table["dirty"].any()
    stages = built(tmp_path)
    run()
    table = results.load(tmp_path)
    assert built(tmp_path) == stages and set(table["commit"]) == {"c0ffee"} and not table["dirty"].any()


def test_the_same_run_in_another_place_has_the_same_rows_and_weights(world: Path, grid: Path, tmp_path: Path) -> None:
    run_id = pipeline(world, tmp_path, "pretrain=[dapt,tapt]", "adversary=pgd", "seed=1").run()
    table = results.load(grid)
    mine = table[table["run_id"] == run_id]
    assert results.same_rows(mine, results.load(tmp_path))
    for weights in tmp_path.glob("store/*/*/*.safetensors"):
        assert weights.read_bytes() == (grid / weights.relative_to(tmp_path)).read_bytes()


def test_rows_have_factors_measurements_and_costs(grid: Path) -> None:
    table = results.load(grid)
    assert table["run_id"].nunique() == 8
    one = table[(table["pretrain"] == "dapt+tapt") & (table["adversary"] == "pgd") & (table["seed"] == 1)]
    stages = {f"{stage}/{split}" for stage in ("dapt", "tapt") for split in ("train", "heldout", "text")}
    assert {"dev", "test", "train"} | stages <= set(one["split"])
    value = one.set_index(["split", "attack", "attack_epsilon", "metric"])["value"]
    assert value["dapt/train", "none", 0.0, "steps"] == value["tapt/train", "none", 0.0, "steps"] == 3  # budget=smoke
    assert value["train", "none", 0.0, "forward_passes"] / value["train", "none", 0.0, "steps"] == 4.0  # K + 1
    assert value["train", "none", 0.0, "backward_passes"] / value["train", "none", 0.0, "steps"] == 2.0
    assert value["train", "none", 0.0, "delta_backward_passes"] / value["train", "none", 0.0, "steps"] == 2.0  # K - 1
    curve = [value["test", "pgd", epsilon, "accuracy"] for epsilon in (0.0, 0.01, 0.02, 0.05, 0.1)]
    assert curve == sorted(curve, reverse=True)
    assert one["adaptation"].nunique() == 1
    assert (one["adversary_epsilon"] == "0.05").all()


def test_seeds_share_an_adaptation_and_a_seed_of_its_own_makes_another(world: Path, grid: Path, tmp_path: Path) -> None:
    table = results.load(grid)
    assert table[table["pretrain"] == "dapt"]["adaptation"].nunique() == 1
    one, other = (pipeline(world, tmp_path, "pretrain=[dapt]", f"pretrain.dapt.seed={seed}") for seed in (0, 1))
    assert one.factors()["adaptation"] != other.factors()["adaptation"]


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        ("runtime.threads=2", True),  # where it runs
        ("model.name=other", True),  # a label
        ("seed=5", False),
        ("finetune.optimizer.learning_rate=0.1", False),
        ("adversary.ball.epsilon=0.07", False),
        ("finetune.optimizer.precision=bf16", False),
    ],
)
def test_what_a_fine_tuning_key_depends_on(world: Path, tmp_path: Path, change: str, shared: bool) -> None:
    def key(*more: str) -> str:
        chain = pipeline(world, tmp_path, "adversary=fgm", *more)
        return chain.key(chain.stages[-2])

    assert (key() == key(change)) is shared


def test_equal_text_from_another_place_shares_what_follows(world: Path, tmp_path: Path) -> None:
    text = (world / "corpus.jsonl").read_text()
    (tmp_path / "renamed.jsonl").write_text(text)
    one = pipeline(world, tmp_path, "pretrain=[dapt]")
    other = pipeline(world, tmp_path, "pretrain=[dapt]", f"corpus.path={tmp_path / 'renamed.jsonl'}")
    assert one.key(one.stages[0]) == other.key(other.stages[0])


def test_dev_and_test_text_never_reaches_pretraining(world: Path, tmp_path: Path) -> None:
    leaked = sentence("animal", 200)
    rows = [json.loads(line) for line in (world / "corpus.jsonl").read_text().splitlines()]
    write_jsonl(tmp_path / "leaky.jsonl", [*rows, {"text": f"Before. {leaked.upper()} After."}])
    chain = pipeline(world, tmp_path, "pretrain=[dapt]", f"corpus.path={tmp_path / 'leaky.jsonl'}")
    corpus = chain.stages[0].inputs["text"].inputs["text"]  # type: ignore[union-attr]
    folder = chain.build(corpus).folder  # type: ignore[arg-type]
    kept = load_corpus(folder)
    assert leaked not in "\n".join([*kept.train, *kept.heldout]).lower()
    assert json.loads((folder / "report.json").read_text())["dropped"]["banned"] == 1
    clean = pipeline(world, tmp_path, "pretrain=[dapt]")
    assert chain.key(chain.stages[0]) == clean.key(clean.stages[0])  # the text that remains is the same


def test_a_dry_run_trains_nothing_and_knows_what_is_there(world: Path, grid: Path, tmp_path: Path) -> None:
    fresh = describe(pipeline(world, tmp_path, "pretrain=[dapt]"))
    assert built(tmp_path) == {}
    assert fresh.count("to build") == 8
    partly = describe(pipeline(world, grid, "pretrain=[dapt]", "adversary=fgm"))
    assert partly.count("in the store") == 6 and partly.count("to build") == 2
    assert built(grid)["finetune"] == 8


@pytest.mark.parametrize("baseline", ["model=tfidf", "finetune=linear_probe"])
def test_baselines_are_runs_like_any_other(world: Path, tmp_path: Path, baseline: str) -> None:
    more = ["model.path=null"] if baseline == "model=tfidf" else []
    pipeline(world, tmp_path, baseline, *more).run()
    table = results.load(tmp_path)
    clean = table[(table["split"] == "test") & (table["attack"] == "none") & (table["metric"] == "macro_f1")]
    assert clean["value"].item() > 0.6


def test_a_corrupt_stage_is_built_again_with_the_same_bytes(world: Path, tmp_path: Path) -> None:
    pipeline(world, tmp_path, "pretrain=[dapt]").run()
    weights = next(tmp_path.glob("store/pretrain/*/model.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    pipeline(world, tmp_path, "pretrain=[dapt]", "seed=1").run()
    assert weights.read_bytes() == whole


def test_a_saved_folder_holds_no_absolute_path(grid: Path, world: Path) -> None:
    for file in grid.glob("store/[pfe]*/*/*.json"):
        assert str(world) not in file.read_text() and str(grid) not in file.read_text(), file

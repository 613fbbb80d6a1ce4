"""Several sources in one training: exact shares at every step; each source is read whole, in an order of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import sentence

from adapt.data.tokens import tokens
from adapt.data.tokens.batching import collate
from adapt.data.tokens.mixing import MixedSteps, Mixture, schedule
from adapt.data.tokens.pieces import SequenceFormat
from adapt.models import loading


@given(st.lists(st.integers(1, 100), min_size=2, max_size=5), st.integers(1, 400))
@settings(deadline=None)
def test_a_source_is_never_more_than_one_sequence_from_its_share(weights: list[int], slots: int) -> None:
    shares = [weight / sum(weights) for weight in weights]
    had = np.stack([np.cumsum(schedule(shares, slots) == source) for source in range(len(shares))], axis=1)
    due = np.arange(1, slots + 1)[:, None] * np.array(shares)
    assert np.abs(had - due).max() <= 1 - 1 / (2 * len(shares) - 2) + 1e-6


def test_a_twentieth_of_replay_is_every_twentieth_sequence() -> None:
    slots_of_sources = schedule([0.95, 0.05], 100)
    assert np.diff(np.flatnonzero(slots_of_sources == 1)).tolist() == [20] * 4 and (slots_of_sources == 1).sum() == 5


@pytest.fixture(scope="module")
def mixture(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    """60, 25 and 7 sequences of 5 to 16 tokens."""
    folder, tokenizer = tmp_path_factory.mktemp("mixture"), loading.load_tokenizer(world / "model")
    sources = []
    for name, count in (("a", 60), ("b", 25), ("c", 7)):
        texts = [" ".join(sentence("metal", number).split()[: 3 + number % 12]) for number in range(count)]
        tokens.write_tokens(folder / name, tokenizer, texts, SequenceFormat(32, packed=False))
        sources.append(tokens.Sequences(folder / name))
    return Mixture(sources)


SHARES = (0.7, 0.25, 0.05)


def sources_of(mixture: Mixture, indices: list[int]) -> list[int]:
    return (np.searchsorted(mixture.firsts, indices, side="right") - 1).tolist()


def test_ids_are_unique_and_lead_back_to_their_source(mixture: Mixture) -> None:
    assert len(mixture) == 92 and mixture.firsts.tolist() == [0, 60, 85, 92]
    assert mixture.ids(60).tolist() == mixture.sources[1].ids(0).tolist()
    assert mixture.ids(91).tolist() == mixture.sources[2].ids(6).tolist()
    assert mixture.lengths.tolist() == [len(mixture.ids(index)) for index in range(92)]


def test_every_step_has_its_size_and_its_shares(mixture: Mixture) -> None:
    steps = MixedSteps(mixture, SHARES, batch_size=6, steps=70, seed=3)
    read: list[int] = []
    for step in range(70):
        assert len(steps[step]) == 6
        read += sources_of(mixture, steps[step])
        for source, share in enumerate(SHARES):
            assert abs(read.count(source) - share * len(read)) < 1
    assert len(steps) == 70
    with pytest.raises(IndexError):
        steps[70]


def test_each_source_is_read_whole_before_it_is_read_again(mixture: Mixture) -> None:
    steps = MixedSteps(mixture, SHARES, batch_size=32, steps=64, seed=0)  # two pools of 1024: 1433, 512 and 103 or so
    times = np.bincount([index for step in range(64) for index in steps[step]], minlength=92)
    for source in range(3):
        own = times[mixture.firsts[source] : mixture.firsts[source + 1]]
        assert own.max() - own.min() <= 1 and own.sum() == pytest.approx(2048 * SHARES[source], abs=1)


def test_a_step_is_a_function_of_seed_and_step(mixture: Mixture) -> None:
    def steps(seed: int = 0) -> MixedSteps:
        return MixedSteps(mixture, SHARES, batch_size=5, steps=80, seed=seed)

    in_order = list(map(steps().__getitem__, range(80)))
    assert in_order == [steps()[step] for step in reversed(range(80))][::-1]  # as a resumed run asks
    assert in_order != list(map(steps(1).__getitem__, range(80)))


def test_a_step_holds_sequences_of_about_equal_length(mixture: Mixture) -> None:
    steps = MixedSteps(mixture, SHARES, batch_size=8, steps=96, seed=0)

    def spread(batch: list[int]) -> int:
        return int(np.ptp(mixture.lengths[batch]))

    shuffled = np.random.default_rng(0).permutation([index for step in range(96) for index in steps[step]])
    assert np.mean([spread(steps[step]) for step in range(96)]) < 0.6 * np.mean(
        [spread(batch.tolist()) for batch in shuffled.reshape(96, 8)]
    )


def test_a_batch_of_several_sources(mixture: Mixture, world: Path) -> None:
    batch = collate(loading.load_tokenizer(world / "model"), mixture, [0, 61, 90])
    assert batch["example_ids"].tolist() == [0, 61, 90]
    assert batch["attention_mask"].sum(1).tolist() == mixture.lengths[[0, 61, 90]].tolist()

"""Anchors of difference masking: TF-ICF by hand, and nearness to the nearest one."""

from collections import Counter

import numpy as np
import pytest

from adapt.config import ConfigError, RuntimeConfig
from adapt.data.corpora import Corpus, write_corpus
from adapt.data.masking import anchors
from adapt.stages.anchors import anchors as anchors_stage


def test_tf_icf_by_hand() -> None:
    text, general = Counter({"the": 90, "enzyme": 12, "typo": 1}), Counter({"the": 899, "enzyme": 2})
    scores = anchors.tf_icf(text, general)
    assert scores == {"the": 0.1, "enzyme": 4.0, "typo": 1.0}
    assert anchors.highest(scores, 2) == [("enzyme", 4.0), ("typo", 1.0)]


def test_equal_scores_are_in_the_order_of_the_alphabet() -> None:
    assert anchors.highest({"b": 1.0, "a": 1.0, "c": 2.0}, 2) == [("c", 2.0), ("a", 1.0)]


@pytest.mark.parametrize("text", ["हिन्दी कीमत", "বাংলা ভাষা", "schön café", "e\u0301te\u0301 cafe\u0301"])
def test_marks_belong_to_the_words(text: str) -> None:
    assert list(anchors.count_words([text])) == text.split()


def test_words_are_runs_of_letters_in_lower_case() -> None:
    assert anchors.count_words(["An enzyme, Enzyme's x2 a_b"]) == Counter({"an": 1, "enzyme": 2})


def test_nearness_is_the_cosine_to_the_nearest_anchor() -> None:
    embeddings = np.array([[1, 0], [0, 2], [3, 3], [-1, 0], [0, 0]], dtype=np.float32)
    near = anchors.Nearness(embeddings, [[0], [0, 1]])  # the anchors are (1, 0) and the mean (.5, 1)
    nearness = near([np.array([0]), np.array([1]), np.array([0, 1]), np.array([3]), np.array([4])])
    expected = [1.0, 2 / 5**0.5, 1.0, anchors.FARTHEST, anchors.FARTHEST]
    np.testing.assert_allclose(nearness, expected, rtol=1e-6)


def test_the_stage_reads_training_text_and_writes_words(tmp_path) -> None:
    for name, texts in {"text": ["enzyme binds the enzyme"], "general": ["the cat binds the dog"]}.items():
        (tmp_path / name).mkdir()
        write_corpus(Corpus(texts, ["heldout heldout heldout"], {}), tmp_path / name)
    inputs = {name: tmp_path / name for name in ("text", "general")}
    assert anchors_stage(1, inputs, tmp_path, RuntimeConfig()) == []
    assert anchors.read_anchors(tmp_path) == ["enzyme"]
    with pytest.raises(ConfigError, match="masking.anchors=9: the text has only 3 different words"):
        anchors_stage(9, inputs, tmp_path, RuntimeConfig())

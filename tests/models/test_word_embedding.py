"""Words whose vectors are learned and words whose vectors stay, held against one table for all."""

import numpy as np
import pytest

from minilm import layers, models
from minilm.models.word_embedding import WordEmbedding

V, F, E = 5, 3, 4
RNG = np.random.default_rng(8)
IDS = np.array([[4, 5, 0, 7], [1, 6, 2, 1]])  # of all kinds: learned, fixed, unknown


def both(**options):
    """The layer with fixed words, and a table of all words with the same vectors."""
    ours = WordEmbedding(V, E, 0, fixed_words=F, dtype=np.float64, seed=1, **options)
    ours.put(np.arange(1, V), RNG.standard_normal((V - 1, E)), RNG.standard_normal((F, E)))
    table = layers.Embedding(V + F, E, 0, dtype=np.float64)
    table.weight.value = np.concatenate([ours.weight.value, ours.fixed.value[1:]])
    return ours, table


def test_it_is_one_table_of_which_a_part_is_learned():
    ours, table = both()
    y, saved = ours.forward(IDS)
    expected, wanted = table.forward(IDS)
    np.testing.assert_array_equal(y, expected)
    assert not y[0, 2].any()  # unknown
    dy = RNG.standard_normal(y.shape)
    ours.backward(dy, saved)
    table.backward(dy, wanted)
    np.testing.assert_array_equal(ours.weight.gradient, table.weight.gradient[:V])
    assert not ours.fixed.gradient.any() and not ours.fixed.trainable and ours.weight.trainable
    assert list(ours.parameters) == ["fixed", "weight"]  # what is learned comes last, side by side with the model's rest


def test_without_fixed_words_it_is_an_embedding():
    ours, table = WordEmbedding(V, E, 0, seed=3), layers.Embedding(V, E, 0, seed=3)
    assert list(ours.parameters) == ["weight"] and ours.words == V
    np.testing.assert_array_equal(ours.weight.value, table.weight.value)
    with pytest.raises(ValueError, match="padding_idx must be the id of unknown words"):
        WordEmbedding(V, E, fixed_words=1)


@pytest.mark.parametrize("kind", [models.RecurrentClassifier, models.MeanClassifier])
def test_a_classifier_reads_fixed_words_and_learns_none(kind):
    options = {"embedding_size": E, "unk_id": 0, "dtype": np.float64, "seed": 2}
    model, lengths = kind(V, 2, fixed_words=F, **options), np.array([4, 3])
    before = model.logits(IDS, lengths)
    model.embedding.put(np.arange(0), np.zeros((0, E)), RNG.standard_normal((F, E)))
    assert np.all(model.logits(IDS, lengths) != before)
    _, saved = model.forward(IDS, np.array([0, 1]), lengths)
    model.backward(saved)
    gradient = model.embedding.weight.gradient
    assert gradient[[1, 2, 4]].any(axis=1).all() and not gradient[[0, 3]].any() and not model.embedding.fixed.gradient.any()
    with pytest.raises(ValueError, match=r"\[0, 8\)"):
        model.logits(np.array([[8]]))


def test_a_bag_has_its_fixed_words_behind_the_buckets_of_ngrams():
    model = models.MeanClassifier(V, 2, fixed_words=F, embedding_size=E, ngrams=2, buckets=11, unk_id=0)
    rows, mask = model.grams(np.array([[1, 5, 7]]))
    assert rows[0, :3].tolist() == [1, 16, 18] and mask.all()
    assert V <= rows[0, 3:].min() and rows[0, 3:].max() < V + 11

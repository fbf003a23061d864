"""Several token files as one stream, of which a damaged one is named, and left out where that is wished."""

import numpy as np
import pytest

from minilm import data, tokenizers
from minilm.data import batching


@pytest.fixture
def files(tmp_path):
    """Three token files, and their ids joined."""
    paths, ids = [], []
    for number, text in enumerate(("to be or not\n" * 40, "be\n", "or to be\n" * 70)):
        (tmp_path / f"{number}.txt").write_text(text)
        folder = tmp_path / "tokens"
        ids.append(np.array(data.tokens(tmp_path / f"{number}.txt", tokenizers.Character("to benr\n"), folder)))
        paths += [path for path in sorted(folder.iterdir()) if path not in paths]
    return paths, np.concatenate(ids)


def test_slices_are_those_of_the_joined_ids(files):
    paths, ids = files
    tokens = data.shards(paths)
    assert tokens.size == len(tokens) == ids.size and tokens.dtype == ids.dtype
    rng = np.random.default_rng(0)
    for start, stop in [
        (0, ids.size),
        (519, 525),
        (5, 5),
        (ids.size, ids.size),
        *np.sort(rng.integers(0, ids.size, (50, 2)), axis=1),
    ]:
        assert np.array_equal(tokens[start:stop], ids[start:stop])
    assert tokens[-1] == ids[-1] and tokens[521] == ids[521]
    with pytest.raises(IndexError):
        tokens[ids.size]
    with pytest.raises(ValueError, match="without a step"):
        tokens[::2]


@pytest.mark.parametrize("carried", [False, True])
def test_batches_are_those_of_the_joined_ids(files, carried):
    paths, ids = files
    one, other = (data.batches(tokens, 3, 9, seed=4, carried=carried) for tokens in (data.shards(paths[0].parent), ids))
    for step in range(60):
        assert all(np.array_equal(a, b) for a, b in zip(one.batch(step), other.batch(step), strict=True))
    evaluation = [data.EvaluationBatches(tokens, 3, 9) for tokens in (data.shards(paths), ids)]
    assert all(np.array_equal(a, b) for one, other in zip(*evaluation, strict=True) for a, b in zip(one, other, strict=True))


def test_a_damaged_file_is_named_and_left_out_by_choice(files):
    paths, ids = files
    content = bytearray(paths[1].read_bytes())
    content[130] ^= 1
    paths[1].write_bytes(content)
    with pytest.raises(ValueError, match=f"{paths[1].name} is damaged.*damaged='skip' leaves the file out"):
        data.shards(paths)
    with pytest.warns(RuntimeWarning, match=f"left out: .*{paths[1].name} is damaged"):
        tokens = data.shards(paths, damaged="skip")
    assert np.array_equal(tokens[0 : tokens.size], np.concatenate([ids[:520], ids[523:]]))
    for path in paths:
        path.write_bytes(b"")
    with pytest.warns(RuntimeWarning), pytest.raises(ValueError, match="no token file that could be read"):
        data.shards(paths, damaged="skip")


def test_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there are no token files"):
        data.shards(tmp_path)
    with pytest.raises(TypeError, match="got none"):
        data.Shards([])
    with pytest.raises(TypeError, match=r"got one of shape \(2, 2\) of int64"):
        data.Shards([np.zeros((2, 2), np.int64)])
    with pytest.raises(ValueError, match="damaged must be"):
        data.shards(tmp_path, damaged="yes")


def test_pages_that_were_read_are_let_go_of(files, monkeypatch):
    monkeypatch.setattr(batching, "FORGET", 10)
    batches = data.batches(data.load_tokens(files[0][0]), 4, 10, seed=0)
    (mapped,) = batches._maps
    assert len(mapped) >= 2 * 520
    first = batches.batch(0)
    for step in range(9):
        batches.batch(step)
    assert all(np.array_equal(a, b) for a, b in zip(first, batches.batch(0), strict=True))
    assert batching._maps(np.arange(5)) == [] == batching._maps(np.load(files[0][0], mmap_mode="c"))

"""Philox 4x32-10: the known answers of its authors, and what the layers rely on."""

import numpy as np
import pytest

import minilm
from minilm.ops import philox
from minilm.ops.philox import cpu, oracle, spec
from minilm.random import Key, at

# counter, key, words: the known-answer vectors of the Random123 library for philox4x32 of ten rounds
KNOWN = (
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
)


def words(text):
    return np.array([int(word, 16) for word in text.split()], np.uint32)


@pytest.mark.parametrize("counter, key, expected", KNOWN)
def test_known_answers(counter, key, expected):
    counter, key, expected = words(counter), words(key), words(expected)
    assert np.array_equal(oracle.blocks(counter[None], key)[0], expected)
    out = np.zeros((4, 1), np.uint32)
    cpu.fill(int(counter[0]), np.concatenate([key, counter[1:]]), out)
    assert np.array_equal(out[:, 0], expected)


@pytest.mark.parametrize("implementation", ["oracle", "cpu"])
def test_known_answers_through_a_key(implementation):
    """(seed, step, place) go where the specification says."""
    seed, step = 0x299F31D0A4093822, 0x0370734413198A2E
    with minilm.implementation(implementation):
        drawn = philox.bits(Key(seed, step, 0x85A308D3), 8)
    expected = oracle.blocks(np.array([[b, 0x85A308D3, 0x13198A2E, 0x03707344] for b in (0, 1)]), (0xA4093822, 0x299F31D0))
    assert np.array_equal(drawn, expected.reshape(-1))
    with minilm.implementation(implementation):
        assert np.array_equal(philox.bits(Key(0), 4), words(KNOWN[0][2]))


def test_elements_do_not_depend_on_shape_or_size():
    key = Key(5, 6, 7)
    whole = philox.bits(key, 5000)
    assert whole.dtype == np.uint32
    for size in (1, 3, 4, 1023, 1024, 1025):
        assert np.array_equal(philox.bits(key, size), whole[:size])
    assert np.array_equal(philox.bits(key, (50, 4, 25)).reshape(-1), whole)
    assert philox.bits(key, (0, 3)).shape == (0, 3) and philox.bits(key, ()).shape == ()


def test_every_part_of_the_key_counts():
    keys = [Key(1, 2, 3), Key(2, 2, 3), Key(1, 3, 3), Key(1, 2, 4)]
    keys += [Key(1 + 2**32, 2, 3), Key(1, 2 + 2**32, 3), Key(1, 2, 3 + 2**33)]
    drawn = [philox.bits(key, 100).tobytes() for key in keys]
    assert len(set(drawn)) == len(keys)


def test_places_of_a_model_are_all_different():
    """Of more layers than any model has, some of them inside others: no two share a place, and the names say where one is."""
    key = Key(1, 2)
    parts = [key.at(f"{kind}.{i}") for kind in ("h", "encoder", "layers", "steps") for i in range(1000)]
    inner = [part.at(name) for part in parts for name in ("attn", "attn.dropout", "mlp.dropout", "l1", "weight_hh_l0_reverse")]
    places = {each.place for each in (key, *parts, *inner)}
    assert len(places) == 1 + 4000 + 20_000
    assert len({place % 2**32 for place in places}) > len(places) - 10  # both halves count, and neither alone would do
    assert key.at("h.3").at("attn") == key.at("h.3").at("attn") != key.at("h.31").at("attn")
    assert {(each.seed, each.step) for each in inner} == {(1, 2)}
    assert at(None, "h.0") is None and at(key, "h.0") == key.at("h.0")
    assert key.at("h.3").place == 0x18123D11F9EDB61F  # as in every checkpoint
    drawn = {philox.bits(each, 4).tobytes() for each in inner[:2000]}
    assert len(drawn) == 2000


@pytest.mark.parametrize("implementation", ["oracle", "cpu"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform(dtype, implementation):
    with minilm.implementation(implementation):
        u = philox.uniform(Key(11), (200, 500), dtype)
    assert u.dtype == dtype and u.shape == (200, 500)
    assert u.min() >= 0 and u.max() < 1
    N = u.size
    sums = [abs((u.astype(np.float64) ** k).mean() - 1 / (k + 1)) for k in (1, 2, 3)]
    assert max(sums) < 5 / np.sqrt(12 * N)  # five standard deviations of the mean of a uniform number, which is the widest
    counts = np.bincount((u.reshape(-1) * 64).astype(int), minlength=64)
    chi_square = ((counts - N / 64) ** 2 / (N / 64)).sum()
    assert 63 - 5 * np.sqrt(126) < chi_square < 63 + 5 * np.sqrt(126)
    assert abs(np.corrcoef(u.reshape(-1)[:-1], u.reshape(-1)[1:])[0, 1]) < 5 / np.sqrt(N)


def test_uniform_is_made_of_the_bits():
    key = Key(3)
    single = philox.bits(key, 10) >> 8
    assert np.array_equal(philox.uniform(key, 10), (single * 2.0**-24).astype(np.float32))
    pairs = philox.bits(key, (10, 2)).astype(np.uint64)
    whole = (pairs[:, 0] >> np.uint64(5)) * np.uint64(2**26) + (pairs[:, 1] >> np.uint64(6))
    assert np.array_equal(philox.uniform(key, 10, np.float64), whole * 2.0**-53)
    with minilm.Workspace(poison=True):
        held = philox.uniform(key, 10)
    assert np.array_equal(held, philox.uniform(key, 10))


@pytest.mark.parametrize(
    "key, shape, error, named",
    [
        (3, 4, TypeError, "key"),
        ((1, 2, 3), 4, TypeError, "key"),
        (Key(-1), 4, ValueError, "key.seed"),
        (Key(2**64), 4, ValueError, "key.seed"),
        (Key(0, 2**64), 4, ValueError, "key.step"),
        (Key(0, 0, 2**64), 4, ValueError, "key.place"),
        (Key(0.5), 4, TypeError, "key.seed"),
        (Key(0), -1, ValueError, "shape"),
        (Key(0), (2, -1), ValueError, "shape"),
        (Key(0), (2.0,), TypeError, "shape"),
        (Key(0), "4", TypeError, "shape"),
        (Key(0), (2**20, 2**20), ValueError, "shape"),
    ],
)
def test_wrong_arguments(key, shape, error, named):
    for function in (philox.bits, philox.uniform):
        with pytest.raises(error, match=named):
            function(key, shape)


def test_wrong_dtype():
    for dtype in (np.float16, np.int32):
        with pytest.raises(TypeError, match="dtype"):
            philox.uniform(Key(0), 3, dtype)
    assert spec.MOST == 2**34

"""GPT: sizes, first values, masks, memory, recomputation, what it refuses, and that it learns."""

import contextlib
import tracemalloc

import numpy as np
import pytest

import minilm
from minilm import models, optimizers
from minilm.random import Key

V, B, T = 13, 3, 8
DROPS = {"resid_pdrop": 0.2, "embd_pdrop": 0.2, "attn_pdrop": 0.2}
NONE = dict.fromkeys(DROPS, 0.0)


def make(dtype=np.float64, **changes):
    settings = {"vocab_size": V, "n_positions": 16, "n_embd": 12, "n_layer": 2, "n_head": 3, **NONE, **changes}
    model = models.GPT(models.GPTConfig(**settings), dtype=dtype)
    rng = np.random.default_rng(50)
    for value in model.parameters.values():
        value[...] = rng.uniform(0.1, 0.5, value.shape) * rng.choice([-1, 1], value.shape)
    return model


def text(seed=0, batch=B, time=T):
    ids = np.random.default_rng(seed).integers(0, V, (batch, time + 1))
    return ids[:, :-1], ids[:, 1:]


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size, count", [("small", 124_439_808), ("medium", 354_823_168), ("large", 774_030_080), ("xl", 1_557_611_200)]
)
def test_gpt2_has_the_published_sizes(size, count):
    assert models.GPTConfig.gpt2(size).parameter_count == count


def test_gpt1_has_the_published_size():
    assert models.GPTConfig.gpt1().parameter_count == 116_534_784


@pytest.mark.parametrize(
    "size, step", [("125M", 1e6), ("350M", 10e6), ("760M", 10e6), ("1.3B", 1e8), ("2.7B", 1e8), ("6.7B", 1e8)]
)
def test_gpt3_has_the_papers_sizes(size, step):
    wanted = float(size[:-1]) * {"M": 1e6, "B": 1e9}[size[-1]]
    assert abs(models.GPTConfig.gpt3(size).parameter_count - wanted) <= step


def test_the_largest_gpt3():
    assert round(models.GPTConfig.gpt3("13B").parameter_count / 1e9) == 13
    assert round(models.GPTConfig.gpt3("175B").parameter_count / 1e9) == 175
    assert models.GPTConfig.gpt3("175B").n_layer == 96


@pytest.mark.parametrize("changes", [{}, {"norm_first": False}, {"n_inner": 7, "n_layer": 3}, {"n_positions": 3, "n_embd": 9}])
def test_the_count_without_making_it_is_the_count(changes):
    model = make(**changes)
    assert model.parameters.count == model.config.parameter_count


def test_first_values():
    config = models.GPTConfig.gpt2(vocab_size=500, n_embd=96, n_layer=8, n_head=4, n_positions=64)
    values = models.GPT(config, seed=0).parameters
    assert values["wte.weight"].std() == pytest.approx(0.02, rel=0.02)
    assert values["h.3.attn.c_attn.weight"].std() == pytest.approx(0.02, rel=0.02)
    for name in ("h.3.attn.c_proj.weight", "h.7.mlp.c_proj.weight"):
        assert values[name].std() == pytest.approx(0.02 / 4, rel=0.03)
    assert not any(value.any() for name, value in values.items() if name.endswith(".bias"))
    assert models.GPT(models.GPTConfig.gpt1(n_layer=1, n_embd=96, vocab_size=50)).parameters[
        "h.0.mlp.c_proj.weight"
    ].std() == pytest.approx(0.02, rel=0.03)


def test_gpt3_is_banded_in_every_second_block():
    config = models.GPTConfig.gpt3("125M", n_layer=4, n_embd=12, n_head=3, vocab_size=V, n_positions=16, band=2)
    assert [block.attn.band for block in models.GPT(config).h] == [None, 2, None, 2]
    assert models.GPTConfig.gpt3().resid_pdrop == 0 and models.GPTConfig.gpt3().n_positions == 2048


# --- masks -----------------------------------------------------------------------------------------------------------


def test_no_position_sees_a_later_one():
    model = make()
    ids, _ = text()
    before, _ = model.logits(ids)
    ids = ids.copy()
    ids[:, 5] = (ids[:, 5] + 1) % V
    after, _ = model.logits(ids)
    assert np.array_equal(before[:, :5], after[:, :5]) and (before[:, 5:] != after[:, 5:]).any(axis=(0, 2)).all()


def test_padding_at_the_left_changes_nothing():
    model = make(norm_first=False)
    ids, targets = text(batch=1, time=5)
    alone, saved = model.forward(ids, targets)
    model.backward(saved)
    wanted = model.parameters.gradient_flat.copy()
    model.parameters.zero_gradients()
    padded, mask = np.concatenate([[[1, 2, 3]], ids], axis=1), np.array([[0] * 3 + [1] * 5], bool)
    loss, saved = model.forward(padded, np.concatenate([[[-100] * 3], targets], axis=1), key_mask=mask)
    model.backward(saved)
    assert loss == pytest.approx(alone, rel=1e-12)
    assert np.allclose(model.parameters.gradient_flat, wanted, rtol=1e-9, atol=1e-13)
    assert model.loss(padded, np.concatenate([[[-100] * 3], targets], axis=1), key_mask=mask) == pytest.approx(alone, rel=1e-12)


def test_texts_of_different_lengths_in_one_batch():
    model = make()
    (a, ta), (b, tb) = text(1, 1, 8), text(2, 1, 3)
    losses = [float(model.loss(*pair)) for pair in ((a, ta), (b, tb))]
    ids = np.concatenate([a, np.pad(b, ((0, 0), (0, 5)))])
    targets = np.concatenate([ta, np.pad(tb, ((0, 0), (0, 5)), constant_values=-100)])
    assert model.loss(ids, targets) == pytest.approx((8 * losses[0] + 3 * losses[1]) / 11, rel=1e-12)


# --- training --------------------------------------------------------------------------------------------------------


def test_recomputed_gradients_are_the_same_bits():
    found = []
    for recompute in (False, True):
        model = make(np.float32, recompute=recompute, **DROPS)
        loss, saved = model.forward(*text(), key=Key(1, 2))
        model.backward(saved)
        found.append((loss, model.parameters.gradient_flat.copy()))
    assert found[0][0] == found[1][0] and np.array_equal(found[0][1], found[1][1])


def test_a_weight_of_the_loss_is_one_of_the_gradients():
    model, other = make(), make()
    for each, weight in ((model, 1.0), (other, 0.25)):
        _, saved = each.forward(*text())
        each.backward(saved, dloss=weight)
    assert np.allclose(other.parameters.gradient_flat, 0.25 * model.parameters.gradient_flat, rtol=1e-12)


@pytest.mark.parametrize("recompute", [False, True])
def test_a_training_step_after_the_first_allocates_nothing_large(recompute):
    model = make(np.float32, n_positions=64, n_embd=48, recompute=recompute, **DROPS)
    adam = optimizers.AdamW(model.parameters, lr=1e-3, weight_decay=0.1, decay="matrices", clip_norm=1.0)
    workspace = minilm.Workspace()
    ids, targets = text(batch=8, time=64)  # activations of 8 * 64 * 48 * 4 = 98304 bytes each

    def step(number):
        with workspace.step():
            _, saved = model.forward(ids, targets, key=Key(0, number))
            model.backward(saved)
        adam.step()

    for number in range(3):
        step(number)
    held = workspace.nbytes
    tracemalloc.start()
    for number in range(3, 6):
        step(number)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert workspace.nbytes == held > 500_000
    assert peak < 90_000


def test_a_workspace_changes_nothing():
    losses = []
    for workspace in (None, minilm.Workspace(poison=True)):
        model = make(np.float32, **DROPS)
        adam = optimizers.Adam(model.parameters, lr=0.01, clip_norm=1.0)
        for number in range(4):
            with contextlib.nullcontext() if workspace is None else workspace.step():
                loss, saved = model.forward(*text(number), key=Key(0, number))
                model.backward(saved)
            adam.step()
            losses.append(float(loss))
            with contextlib.nullcontext() if workspace is None else workspace:
                losses.append(float(model.loss(*text(9))))
    assert losses[:8] == losses[8:] and len(set(losses)) == 8


def test_dropout_needs_a_key_and_follows_it():
    model, plain = make(**DROPS), make()
    assert model.forward(*text())[0] == plain.forward(*text())[0]
    losses = [model.forward(*text(), key=key)[0] for key in (Key(1, 1), Key(1, 1), Key(1, 2), Key(2, 1))]
    assert losses[0] == losses[1] and len({float(loss) for loss in losses}) == 3


def test_every_block_drops_other_elements():
    model = make(n_layer=70, n_embd=3, n_head=1, **DROPS)  # more blocks than one level of keys has room for
    loss, saved = model.forward(*text(), key=Key(1, 1))
    keys = {kept.halves.attn[1].attention.rng for kept in saved.hidden.h}
    assert np.isfinite(loss) and len(keys) == 70


def test_biases_and_norms_are_not_decayed():
    model = models.GPT(models.GPTConfig(vocab_size=V, n_positions=8, n_embd=12, n_layer=1, n_head=3), seed=0)
    for value in model.parameters.values():
        value[...] = 1
    optimizers.AdamW(model.parameters, lr=0.1, weight_decay=0.5, decay="matrices").step()  # all gradients are zero
    for name, value in model.parameters.items():
        assert (value == 1).all() if value.ndim == 1 else np.allclose(value, 0.95), name


def test_it_learns():
    config = models.GPTConfig(vocab_size=V, n_positions=64, n_embd=32, n_layer=2, n_head=4, **NONE)
    model = models.GPT(config, seed=0)
    adam = optimizers.AdamW(model.parameters, lr=3e-3, clip_norm=1.0)
    ids = np.tile(np.random.default_rng(0).permutation(V), (2, 4))  # each token determines the next
    for _ in range(80):
        loss, saved = model.forward(ids[:, :-1], ids[:, 1:])
        model.backward(saved)
        adam.step()
    assert loss < 0.1


# --- what it refuses, and what it says -------------------------------------------------------------------------------


def test_diagnose():
    model = make()
    assert model.diagnose(*text()) is None
    model.parameters.gradients["ln_f.bias"][3] = np.inf
    assert model.diagnose(*text()) == "gradient of ln_f.bias"
    model.h[1].mlp.c_proj.bias.value[0] = np.nan
    assert model.diagnose(*text()) == "parameter h.1.mlp.c_proj.bias"
    big = make(np.float32)
    big.h[0].mlp.c_proj.bias.value[...] = 3e38
    big.h[1].mlp.c_proj.bias.value[...] = 3e38
    assert big.diagnose(*text()) == "output of h.1"


def test_wrong_arguments():
    model = make()
    ids, targets = text()
    long, _ = text(time=17)
    bad = ids.copy()
    bad[1, 4] = V
    mask = np.ones((B, T), bool)
    mask[0, -1] = False
    for call, error, message in (
        (lambda: model.forward(bad, targets), ValueError, rf"ids\[1, 4\] is {V}"),
        (lambda: model.forward(ids, targets[:, 1:]), ValueError, "targets must have shape"),
        (lambda: model.forward(ids[:, :0], targets[:, :0]), ValueError, "at least one"),
        (lambda: model.loss(long, long), ValueError, "ids has 17 tokens a row, more than the context of n_positions = 16"),
        (lambda: model.forward(ids, targets, key_mask=mask), ValueError, "False for the first tokens of a row"),
        (lambda: model.forward(ids, targets, key_mask=mask.astype(int)), TypeError, "key_mask must be a numpy array of bool"),
        (lambda: model.step(np.array([V])), ValueError, r"ids\[0\]"),
        (lambda: models.GPTConfig(n_embd=10, n_head=3), ValueError, "n_embd must be a multiple of n_head, got 10 and 3"),
        (lambda: models.GPTConfig.gpt2("tiny"), ValueError, "size must be one of 'small', 'medium'"),
        (lambda: models.config_of({"model_type": "gpt", "n_layers": 3}), ValueError, "did you mean 'n_layer'"),
    ):
        with pytest.raises(error, match=message):
            call()

"""Outputs and gradients beside PyTorch's, on random weights: 1e-5 relative in float32, 1e-10 in float64."""

import itertools

import numpy as np
import pytest

from minilm import ops

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional

TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-10}
DTYPES = [pytest.param(np.float32, id="float32"), pytest.param(np.float64, id="float64")]
both = pytest.mark.parametrize("dtype", DTYPES)


def normal(dtype, *shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def close(ours, theirs, what):
    """Within the tolerance of its dtype, relative to the largest number; non-finite numbers in the same places."""
    theirs = theirs.detach().numpy()
    ours = np.asarray(ours)
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape, what
    finite = np.isfinite(theirs)
    assert np.array_equal(ours[~finite], theirs[~finite], equal_nan=True) and np.isfinite(ours[finite]).all(), what
    error = np.abs(ours[finite] - theirs[finite]).max(initial=0)
    assert error <= TOLERANCE[ours.dtype] * np.abs(theirs[finite]).max(initial=0), f"{what}: {error}"


def compare(pair, arguments, theirs, names, **options):
    """Forward and all gradients, for one random cotangent."""
    y, saved = pair.forward(*arguments.values(), **options)
    dy = normal(y.dtype, *y.shape, seed=1)
    found = pair.backward(dy if y.ndim else y.dtype.type(1.7), saved)
    gradients = [g for g in (found if isinstance(found, tuple) else (found,)) if g is not None]
    tensors = {k: torch.from_numpy(v.copy()) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    for name in names:
        tensors[name].requires_grad_()
    output = theirs(*tensors.values())
    close(y, output, "y")
    wanted = torch.autograd.grad(
        output, [tensors[k] for k in names], torch.from_numpy(dy) if y.ndim else torch.tensor(1.7, dtype=output.dtype)
    )
    for name, ours, other in zip(names, gradients, wanted, strict=True):
        close(ours, other, f"d{name}")


@both
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (0, 5)], ids=str)
def test_linear(dtype, bias, shape):
    arguments = {"x": normal(dtype, *shape), "W": normal(dtype, 4, 5), **({"b": normal(dtype, 4)} if bias else {})}
    compare(ops.linear, arguments, F.linear, list(arguments))


@both
@pytest.mark.parametrize("padding", [None, 0, 3, -1])
def test_embedding(dtype, padding):
    ids = np.random.default_rng(0).integers(0, 7, (5, 6))
    ids[0, :4] = (0, 3, 6, 3)
    table = normal(dtype, 7, 5)
    compare(ops.embedding, {"ids": ids, "W": table, "padding": padding}, F.embedding, ["W"])


@both
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "silu", "gelu_erf", "gelu_tanh"])
def test_activation(dtype, name):
    theirs = {
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "relu": torch.relu,
        "silu": F.silu,
        "gelu_erf": F.gelu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    }[name]
    for span in (0.1, 1, 10):
        compare(getattr(ops, name), {"x": span * normal(dtype, 3, 70)}, theirs, ["x"])
    edges = np.array([0, -0.0, 30, -30, 1e4, -1e4, np.nan], dtype)
    compare(getattr(ops, name), {"x": edges}, theirs, ["x"])


@both
@pytest.mark.parametrize("name, gate", [("swiglu", F.silu), ("geglu", lambda a: F.gelu(a, approximate="tanh"))])
def test_gated(dtype, name, gate):
    for shape in ((7,), (2, 3, 70), (0, 3)):
        for span in (0.1, 1, 10):
            arguments = {"a": span * normal(dtype, *shape), "b": normal(dtype, *shape, seed=2)}
            compare(getattr(ops, name), arguments, lambda a, b: gate(a) * b, ["a", "b"])
    edges = np.array([0, -0.0, 30, -30, 1e4, -1e4, np.nan], dtype)
    compare(getattr(ops, name), {"a": edges, "b": np.ones_like(edges)}, lambda a, b: gate(a) * b, ["a", "b"])


@both
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("shape", [(9,), (4, 9), (2, 3, 33), (0, 9)], ids=str)
def test_rms_norm(dtype, scaled, shape):
    D = shape[-1]
    arguments = {"x": normal(dtype, *shape) + dtype(0.3), **({"gamma": normal(dtype, D, seed=2)} if scaled else {})}
    compare(ops.rms_norm, arguments, lambda x, gamma=None: F.rms_norm(x, (D,), gamma, 1e-6), list(arguments))


@both
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(dtype, name):
    pair = ops.softmax if name == "softmax" else ops.softmax.log_softmax
    for shape in ((9,), (4, 9), (2, 3, 9), (2, 3, 1, 9), (0, 9), (4, 1)):
        compare(pair, {"x": normal(dtype, *shape)}, lambda x: getattr(torch, name)(x, -1), ["x"])
    compare(pair, {"x": 1e4 * normal(dtype, 4, 9)}, lambda x: getattr(torch, name)(x, -1), ["x"])


@both
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_of_infinities(dtype, name):
    """-inf is probability 0; a row of nothing else, or with +inf, is NaN."""
    x = normal(dtype, 5, 6)
    x[0, 2], x[1, :5], x[2], x[3, 1], x[4, 1] = -np.inf, -np.inf, -np.inf, np.inf, np.nan
    pair = ops.softmax if name == "softmax" else ops.softmax.log_softmax
    close(pair.forward(x)[0], getattr(torch, name)(torch.from_numpy(x), -1), name)


@both
@pytest.mark.parametrize(
    "weighted, smoothing, reduction",
    list(itertools.product([False, True], [0.0, 0.1, 1.0], ["mean", "sum", "none"])),
)
def test_cross_entropy(dtype, weighted, smoothing, reduction):
    logits = 3 * normal(dtype, 11, 7)
    targets = np.random.default_rng(1).integers(0, 7, 11)
    weight = np.random.default_rng(2).uniform(0.3, 2, 7).astype(dtype) if weighted else None
    for ignored in (0, 4, 11):
        targets[:ignored] = -100
        arguments = {"logits": logits, "targets": targets, "weight": weight}
        options = {"label_smoothing": smoothing, "reduction": reduction}
        compare(ops.cross_entropy, arguments, lambda x, t, w, o=options: F.cross_entropy(x, t, w, **o), ["logits"], **options)


@both
def test_cross_entropy_of_sequences_and_odd_rows(dtype):
    """Classes are our last axis and PyTorch's second; another ignore_index; huge and infinite logits; one class; no rows."""
    logits, targets = normal(dtype, 2, 5, 7), np.random.default_rng(1).integers(0, 7, (2, 5))
    theirs = lambda x, t: F.cross_entropy(x.movedim(-1, 1), t, ignore_index=3)  # noqa: E731
    compare(ops.cross_entropy, {"logits": logits, "targets": targets}, theirs, ["logits"], ignore_index=3)
    rows = 1e4 * normal(dtype, 6, 7)
    rows[0, 2] = -np.inf
    t = np.array([1, 2, 3, 4, 5, 6])
    compare(ops.cross_entropy, {"logits": rows, "targets": t}, F.cross_entropy, ["logits"])
    rows[0, 1] = -np.inf  # the target's: an infinite loss
    compare(ops.cross_entropy, {"logits": rows, "targets": t}, F.cross_entropy, ["logits"])
    compare(ops.cross_entropy, {"logits": normal(dtype, 3, 1), "targets": np.zeros(3, int)}, F.cross_entropy, ["logits"])
    compare(ops.cross_entropy, {"logits": normal(dtype, 0, 4), "targets": np.zeros(0, int)}, F.cross_entropy, ["logits"])


@both
def test_cross_entropy_of_one_row(dtype):
    logits, target = normal(dtype, 7), np.array(3)
    loss, saved = ops.cross_entropy.forward(logits, target)
    tensor = torch.from_numpy(logits).requires_grad_()
    theirs = F.cross_entropy(tensor, torch.tensor(3))
    theirs.backward()
    close(loss, theirs, "loss")
    close(ops.cross_entropy.backward(1.0, saved), tensor.grad, "dlogits")


@both
@pytest.mark.parametrize("affine", ["both", "gamma", "none"])
@pytest.mark.parametrize("shape", [(9,), (4, 9), (2, 3, 33), (0, 9)], ids=str)
def test_layer_norm(dtype, affine, shape):
    D = shape[-1]
    arguments = {"x": 3 * normal(dtype, *shape) + 1}
    if affine != "none":
        arguments["gamma"] = 1 + 0.3 * normal(dtype, D)
    if affine == "both":
        arguments["beta"] = normal(dtype, D, seed=3)
    names = list(arguments)
    compare(ops.layer_norm, arguments, lambda x, g=None, b=None: F.layer_norm(x, (D,), g, b, 1e-3), names, eps=1e-3)


def several_steps(ours, theirs, dtype):
    """Six updates of 50 parameters by both; gradients are random, the third is zero."""
    start = normal(dtype, 50)
    param, tensor = start.copy(), torch.from_numpy(start.copy()).requires_grad_()
    optimizer = theirs([tensor])
    for step in range(1, 7):
        grad = 0 * param if step == 3 else normal(dtype, 50, seed=step)
        ours(param, grad, step)
        tensor.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        close(param, tensor, f"step {step}")


@both
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("momentum, dampening, nesterov", [(0, 0, False), (0.9, 0, False), (0.9, 0.3, False), (0.9, 0, True)])
def test_sgd(dtype, decay, momentum, dampening, nesterov):
    options = {"lr": 0.05, "momentum": momentum, "dampening": dampening, "nesterov": nesterov, "weight_decay": decay}
    buffer = np.full(50, np.nan, dtype) if momentum else None  # what it holds at first does not matter
    several_steps(
        lambda param, grad, step: ops.sgd.step(param, grad, buffer, step=step, **options),
        lambda tensors: torch.optim.SGD(tensors, **options),
        dtype,
    )


@both
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam(dtype, decay, amsgrad, decoupled):
    m, v, v_max = np.zeros(50, dtype), np.zeros(50, dtype), np.zeros(50, dtype) if amsgrad else None
    options = {"lr": 0.03, "eps": 1e-6, "weight_decay": decay}
    theirs = torch.optim.AdamW if decoupled else torch.optim.Adam
    ours = {"beta1": 0.8, "beta2": 0.95, "decoupled": decoupled, **options}
    several_steps(
        lambda param, grad, step: ops.adam.step(param, grad, m, v, v_max, step=step, **ours),
        lambda tensors: theirs(tensors, betas=(0.8, 0.95), amsgrad=amsgrad, **options),
        dtype,
    )


@both
@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clip(dtype, max_norm):
    grad = normal(dtype, 40_000)
    tensor = torch.zeros(40_000, dtype=torch.from_numpy(grad).dtype, requires_grad=True)
    tensor.grad = torch.from_numpy(grad.copy())
    theirs = torch.nn.utils.clip_grad_norm_([tensor], max_norm)
    norm = ops.clip.norm(grad)
    close(norm, theirs, "norm")
    close(grad * grad.dtype.type(ops.clip.scale(norm, max_norm)), tensor.grad, "gradient")

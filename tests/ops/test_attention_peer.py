"""Attention beside PyTorch's, and views that are not copied."""

import numpy as np
import pytest

from minilm import devices
from tests.ops.test_attention import attention, drawn, see
from tests.ops.test_ops_peer import both, close, normal

OPTIONS = [
    {},
    {"causal": True},
    {"causal": True, "band": 20},
    {"band": 30},
    {"key_mask": True},
    {"causal": True, "key_mask": True},
    {"scale": -0.3},
]


@both
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(
    "Tq, Tk, K, Kv", [(9, 9, 8, 8), (70, 150, 64, 64), (150, 150, 33, 40), (2, 100, 32, 32), (100, 70, 1, 1)]
)
def test_beside_pytorch(dtype, options, Tq, Tk, K, Kv):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    arrays = drawn(dtype, Tq=Tq, Tk=Tk, K=K, Kv=Kv)
    options = dict(options)
    if "key_mask" in options:
        options["key_mask"] = np.random.default_rng(4).random((2, Tk)) < 0.8
    seen = see(Tq, Tk, **{k: v for k, v in options.items() if k != "scale"})
    y, saved = attention.forward(*arrays, **options)
    dy = normal(dtype, *y.shape, seed=7)
    gradients = attention.backward(dy, saved)
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    S = torch.einsum("bihk,bjhk->bhij", *tensors[:2]) * options.get("scale", K**-0.5)
    P = torch.softmax(S.masked_fill(~torch.tensor(seen), -torch.finfo(S.dtype).max), -1)
    theirs = torch.einsum("bhij,bjhc->bihc", P, tensors[2])
    rows = seen.any(axis=-1)  # (B or 1, 1, Tq)
    keep = np.broadcast_to(rows.transpose(0, 2, 1)[..., None], y.shape)
    close(np.where(keep, y, 0), theirs * torch.tensor(keep), "y")
    wanted = torch.autograd.grad(theirs, tensors, torch.tensor(dy * keep))
    for name, ours, other in zip(("query", "key", "value"), gradients, wanted, strict=True):
        close(ours, other, f"d{name}")


@both
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("H, G, Tq", [(6, 2, 70), (4, 1, 70), (6, 2, 1), (3, 3, 2)])
def test_grouped_and_capped_beside_pytorch(dtype, softcap, H, G, Tq):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    query, (key, value) = drawn(dtype, Tq=Tq, H=H, K=32)[0], drawn(dtype, Tk=90, H=G, K=32, Kv=32)[1:]
    y, saved = attention.forward(query, key, value, causal=True, softcap=softcap)
    dy = normal(dtype, *y.shape, seed=7)
    tensors = [torch.tensor(a, requires_grad=True) for a in (query, key, value)]
    k, v = (x.repeat_interleave(H // G, dim=2) for x in tensors[1:])
    S = torch.einsum("bihk,bjhk->bhij", tensors[0], k) * 32**-0.5
    S = S if softcap is None else softcap * torch.tanh(S / softcap)
    P = torch.softmax(S.masked_fill(~torch.tensor(see(Tq, 90, causal=True)), -torch.inf), -1)
    theirs = torch.einsum("bhij,bjhc->bihc", P, v)
    close(y, theirs, "y")
    gradients = attention.backward(dy, saved)
    for ours, other in zip(gradients, torch.autograd.grad(theirs, tensors, torch.tensor(dy)), strict=True):
        close(ours, other, "gradient")


def test_grouped_heads_on_several_threads():
    """Heads that share keys are summed in the same order by each of the two ways of backward."""
    query, (key, value) = drawn(np.float32, Tq=150, H=6)[0], drawn(np.float32, Tk=300, H=2)[1:]
    results = []
    try:
        for number in (1, 2, 3):
            devices.set_threads(number)
            y, saved = attention.forward(query[:1], key[:1], value[:1], causal=True, softcap=3.0)
            results.append([a.tobytes() for a in (y, *attention.backward(np.cos(y), saved))])
    finally:
        devices.set_threads(None)
    assert results[0] == results[1] == results[2]


@both
def test_beside_scaled_dot_product_attention(dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    arrays = drawn(dtype, Tq=130, Tk=130, K=64, Kv=64)
    y, saved = attention.forward(*arrays, causal=True)
    dy = normal(dtype, *y.shape, seed=7)
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    heads = [t.transpose(1, 2) for t in tensors]
    theirs = torch.nn.functional.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2)
    close(y, theirs, "y")
    for ours, other in zip(attention.backward(dy, saved), torch.autograd.grad(theirs, tensors, torch.tensor(dy)), strict=True):
        close(ours, other, "gradient")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_fused_projection_is_read_where_it_lies(dtype):
    fused = normal(dtype, 2, 70, 3, 4, 32)  # (B, T, 3, H, K)
    views = [fused[:, :, part] for part in range(3)]
    y, saved = attention.forward(*views, causal=True)
    assert all(np.shares_memory(fused, array) for array in saved[:3])
    dy = normal(dtype, 2, 70, 2, 4, 32)[:, :, 1]
    found = [y, *attention.backward(dy, saved)]
    y, saved = attention.forward(*(view.copy() for view in views), causal=True)
    for ours, other in zip(found, [y, *attention.backward(dy.copy(), saved)], strict=True):
        assert ours.tobytes() == other.tobytes()

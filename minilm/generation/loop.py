"""The loop of generation, on ids: read the prompt, then draw a token and feed it back, again and again.

::

    logits, state = model.logits(ids, model.initial_state(B), last=True)     (B, V)     `read_prompt`
    id            = a draw from softmax(logits)                              (B,)       `minilm.generation.sampling`
    logits, state = model.step(id, state)                                    (B, V)     `minilm.generation.writing`
    ... and the next draw

The draw of token t of text b is a function of the seed, t and b alone. `minilm.generation.text` turns ids into text as they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from minilm import devices
from minilm.generation.padding import left_padded
from minilm.generation.protocol import CausalLanguageModel
from minilm.generation.sampling import drawn_ids
from minilm.generation.writing import GraphedWriter, Writer
from minilm.ops import checks, sampling
from minilm.ops.workspace import lasting
from minilm.typing import Array, Ids

__all__ = ["check_context", "end_ids", "read_prompt", "reordered", "ruled_out", "stream_ids"]

WINDOW = 1024  # a prompt is read in pieces of so many tokens, so that memory does not grow with its length


def stream_ids(
    model: CausalLanguageModel,
    ids: Ids | Sequence[Ids],
    tokens: int | None = 200,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    greedy: bool = False,
    suppress: Iterable[int] = (),
    vocab_size: int | None = None,
    block: int = 16,
    cuda_graphs: bool = False,
) -> Iterator[np.ndarray]:
    """The tokens that follow `ids`, one of every text at a time.

    Parameters
    ----------
    model : RNNLanguageModel, or another with ``initial_state``, ``logits`` and ``step``
    ids : ndarray of integers, shape (B, T), or a list of arrays, shape (T_b,)
        The prompts, T >= 1; ``logits`` checks that every id is in the model's vocabulary. A list holds prompts of different
        lengths: each is read as if it stood alone.
    tokens : int or None
        How many to draw; None goes on for ever.
    temperature, top_k, top_p
        See `minilm.generation.probabilities`.
    seed : int
        The t-th token of text b is drawn with number b of ``Key(seed, t)``: it depends neither on B nor on `tokens`.
    greedy : bool
        Take the most probable token; the same as temperature 0.
    suppress : iterable of int
        Ids that are never drawn.
    vocab_size : int, optional
        The tokenizer's. A model may have more ids, which stand for nothing, so that its arrays have even sizes: those from
        `vocab_size` on are never drawn.
    block : int
        Of a model on a GPU: so many tokens are drawn before the host reads them, the first time 1, then 2, 4, and so on. Nothing
        waits for the GPU in between; what is drawn beyond the last token that the caller wants is lost.
    cuda_graphs : bool
        On a GPU, launch the kernels of a token as one CUDA graph: see `minilm.generation.writing`. The same ids.

    Yields
    ------
    ids : ndarray, shape (B,), int64

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or a prompt longer than the model's context, at the call; if the model's logits are not
        finite, at that token (on a GPU when its block is read).

    Notes
    -----
    The state after the prompt is computed once, and every further token costs one ``step``. On a CPU a text's logits are the same
    bits alone and beside others. On a GPU another B may change the last bits of the matrix products, and so, rarely, which token
    a number falls on.
    """
    temperature, *limits = sampling.checked_options(temperature, top_k, top_p)
    checks.whole("seed", seed, 0, 2**64)
    if tokens is not None:
        checks.whole("tokens", tokens, 0, 2**63)
    ids, mask = _prompts(model, ids)
    block = checks.whole("block", block, 1, 2**31)
    suppressed = _whole_ids("suppress", suppress)  # (S,)
    if vocab_size is not None:
        checks.whole("vocab_size", vocab_size, 1, 2**31)
    graphed = checks.flag("cuda_graphs", cuda_graphs) and getattr(model, "device", "cpu") == "cuda"
    writer = GraphedWriter if graphed else Writer
    options = (0 if greedy else temperature, *limits)
    return lasting(_stream(model, ids, mask, tokens, options, seed, (suppressed, vocab_size), block, writer))


def _prompts(model, ids):
    """The prompts as one array (B, T), and the mask of their padding (B, T), or None where there is none."""
    mask = None
    if isinstance(ids, (list, tuple)):
        ids, mask = left_padded(ids)
        mask = None if mask.all() else mask
        if mask is not None and not hasattr(model, "carries_state"):
            raise ValueError(f"ids holds prompts of different lengths, which a {type(model).__name__} cannot read side by side")
    checks.integers("ids", ids, (None, None), "(B, T)")
    if ids.shape[1] == 0:
        raise ValueError(f"ids must hold at least one token of every text, got shape {ids.shape}")
    check_context(model, ids.shape[1])
    return ids, mask


def check_context(model: CausalLanguageModel, length: int) -> None:
    """ValueError if a prompt of so many tokens is longer than the model's context, or the model does not write at all."""
    if not hasattr(model, "step"):
        raise ValueError(f"a {type(model).__name__} does not write: it predicts no next token")
    context = getattr(model, "context", None)
    if context is not None and length > context:
        raise ValueError(f"the prompt has {length} tokens, more than the model's context of {context}: shorten it")


def _stream(model, ids, mask, tokens, options, seed, without, block, writer):
    on_device = getattr(model, "device", "cpu") == "cuda"
    logits, state = read_prompt(model, ids, mask)  # (B, V)
    writer = writer(model, logits, state, ruled_out(model, logits, *without), seed, options)
    step, count = 0, 1  # tokens of each text so far, and how many are drawn before the host reads them
    while tokens is None or step < tokens:
        count = count if tokens is None else min(count, tokens - step)
        together = writer.write(step, count)  # (B,) each
        step += count
        if on_device:
            together = map(drawn_ids, np.stack(together).get())  # the one wait of the block
            count = min(2 * count, block)
        yield from together


def ruled_out(model: CausalLanguageModel, logits: Array, suppress: Iterable[int], vocab_size: int | None = None) -> Ids:
    """The ids that are never drawn, (S,), on the model's device: `suppress`, and those of logits (B, V) from `vocab_size` on."""
    V = logits.shape[1]
    suppress = checks.ids("suppress", _whole_ids("suppress", suppress), V)
    return devices.to_device_of(
        model, np.union1d(suppress, np.arange(V if vocab_size is None else vocab_size, V)).astype(np.int64)
    )


def end_ids(model: CausalLanguageModel, end: int | Iterable[int] | None = None) -> tuple[int, ...]:
    """The ids that end a text: `end`, one or several; None stands for those that the model's folder names, if any."""
    if end is None:
        return tuple(getattr(model, "end_ids", ()))
    return tuple(_whole_ids("end", [end] if isinstance(end, int | np.integer) else end).tolist())


def _whole_ids(name: str, ids) -> np.ndarray:
    return np.array([checks.whole(name, id, 0, 2**31) for id in ids], np.int64)  # (N,)


def read_prompt(model: CausalLanguageModel, ids: Ids, mask: Array | None = None) -> tuple[Array, Any]:
    """Logits (B, V) and the state after the prompts `ids` (B, T), which have padding where `mask` (B, T) is False.

    ids and mask lie on the host, what is returned on the model's device.
    """
    if hasattr(model, "config"):
        ids = checks.ids("ids", ids, model.config.vocab_size)  # on the host, once
    if mask is not None and model.carries_state:
        return _read_by_length(model, ids, mask)
    ids = devices.to_device_of(model, ids)
    with devices.ids_are_checked():
        state = model.initial_state(len(ids))
        if mask is not None:
            return model.logits(ids, state, last=True, key_mask=mask)
        for start in range(0, ids.shape[1], WINDOW):
            logits, state = model.logits(ids[:, start : start + WINDOW], state, last=True)
    return logits, state


def _read_by_length(model, ids, mask):
    """`read_prompt` of a recurrent model, whose state would take padding for text: the prompts of one length at a time."""
    lengths, rows, parts = mask.sum(axis=1), [], []
    for length in np.unique(lengths):
        rows.append(np.flatnonzero(lengths == length))
        parts.append(read_prompt(model, ids[rows[-1], ids.shape[1] - length :]))
    order = np.argsort(np.concatenate(rows))  # (B,)
    logits, states = zip(*parts, strict=True)
    return reordered(_joined(logits), order), reordered(_joined(states), order)


def _joined(parts):
    """Arrays (..., B_i, H), or tuples of such, as one of all B rows."""
    if isinstance(parts[0], tuple):
        return tuple(_joined(each) for each in zip(*parts, strict=True))
    return np.concatenate(parts, axis=-2)


def reordered(state: Any, rows: Ids) -> Any:
    """A model's state of some of its texts, by their numbers `rows` (N,) on the host; one may come several times.

    It is what the state's ``reorder`` gives, or those rows of arrays (..., B, H), alone or in tuples.
    """
    if hasattr(state, "reorder"):
        return state.reorder(rows)
    if isinstance(state, tuple):
        return tuple(reordered(part, rows) for part in state)
    return checks.kernel_ready(state[..., devices.to_device_of(state, rows), :])

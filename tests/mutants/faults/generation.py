"""Faults in sampling, beam search, caches and writing."""

from tests.mutants.fault import area

SAMPLING = "tests/generation/test_sampling.py"
BEAM = "tests/generation/test_beam.py"
CACHE = "tests/generation/test_cache.py"

FAULTS = area(
    "generation",
    ("top-p: one token more at the boundary", "minilm/generation/sampling.py", "wanted = p * e.sum() * (1 - ROUNDING)",
     "wanted = p * e.sum() * (1 + ROUNDING)", SAMPLING),
    ("top-p: one token less", "minilm/generation/sampling.py", "searchsorted(wanted) + 1", "searchsorted(wanted)", SAMPLING),
    ("top-p: the nucleus is looked for among 512 alone", "minilm/generation/sampling.py",
     "if size < len(order) or len(some) == len(possible):", "if True:", SAMPLING),
    ("top-k: all that tie with the k-th", "minilm/generation/sampling.py", "if np.count_nonzero(kept) > k * len(logits):",
     "if False:", SAMPLING),
    ("a cache's reorder keeps the old rows' padding", "minilm/layers/cache.py", "self.length, self.length, self.padding[rows])",
     "self.length, self.length, self.padding[: len(rows)])", CACHE + " " + BEAM),
    ("a cache's reorder keeps the old rows", "minilm/layers/cache.py", "= old[rows, start:length]",
     "= old[: len(rows), start:length]", CACHE + " " + BEAM),
    ("a second continuation writes over the first", "minilm/layers/cache.py", "if store.filled > self.length:", "if False:",
     CACHE),
    ("the new positions count padding", "minilm/layers/cache.py", "np.maximum(new - self.padding[:, None], 0)",
     "np.maximum(new + 0 * self.padding[:, None], 0)", CACHE),
    ("padding is seen by what comes after", "minilm/layers/cache.py", "np.arange(length) >= padding[:, None]) if padding.any()",
     "np.arange(length) >= 0 * padding[:, None]) if padding.any()", CACHE),
    ("beam: scores are not divided by the length", "minilm/generation/beam.py", "float(sums[k]) / n**alpha))", "float(sums[k])))",
     BEAM),
    ("beam: a text that ended takes a beam's place", "minilm/generation/beam.py", "on = np.flatnonzero(~over)[:beams]",
     "on = np.flatnonzero(~over[:beams])", BEAM),
    ("beam: states stay with the old rows", "minilm/generation/beam.py", "totals, state = sums[on], _rows(state, parents[on])",
     "totals = sums[on]", BEAM),
    ("beam: the search ends too early", "minilm/generation/beam.py", "totals.max() / tokens**alpha <= ended[-1].score",
     "totals.max() / n**alpha <= ended[0].score", BEAM),
    ("suppressed tokens are drawn", "minilm/generation/writing.py", "            logits[:, self.suppressed] = -np.inf\n",
     "            pass\n", SAMPLING + " tests/generation/test_text.py"),
    ("every token is drawn with the same number", "minilm/generation/writing.py",
     "Key(self.seed, now))\n"
     "        return",
     "Key(self.seed, 0))\n"
     "        return", SAMPLING + " tests/generation/test_text.py"),
    ("a long prompt is read from a new state piece by piece", "minilm/generation/loop.py",
     "logits, state = model.logits(ids[:, start : start + WINDOW], state, last=True)",
     "logits, state = model.logits(ids[:, start : start + WINDOW], model.initial_state(len(ids)), last=True)",
     "tests/generation"),
    ("full context: the older half is kept", "minilm/models/gpt_state.py",
     "state.ids[:, self.context - self.context // 2 :]", "state.ids[:, : self.context // 2]", CACHE),
    ("greedy targets: the token that ends is part of the text", "minilm/generation/sequences.py",
     "row[: int(np.argmax(row == end)) if", "row[: int(np.argmax(row == end)) + 1 if", "tests/generation/test_sequences.py"),
    ("beam targets: all beams of a source begin alike", "minilm/generation/sequences.py", "    totals[:, 0] = 0\n",
     "    totals[:] = 0\n", "tests/generation/test_sequences.py"),
)  # fmt: skip

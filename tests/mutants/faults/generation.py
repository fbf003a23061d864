"""Faults in sampling, beam search, caches and writing."""

from tests.mutants.fault import area

SAMPLING = "tests/generation/test_sampling.py"
BEAM = "tests/generation/test_beam.py"
CACHE = "tests/generation/test_cache.py"

FAULTS = area(
    "generation",
    ("top-p: one token more at the boundary", "minilm/ops/sampling/oracle.py", "sums <= p * sums[:, -1:] * (1 - ROUNDING)",
     "sums <= p * sums[:, -1:] * (1 + ROUNDING)", SAMPLING),
    ("top-p: one token less", "minilm/ops/sampling/oracle.py", "1 + np.count_nonzero(sums", "np.count_nonzero(sums", SAMPLING),
    ("top-k: of equal logits the last ones", "minilm/ops/sampling/oracle.py",
     'return _keep(x, np.argsort(-x, axis=1, kind="stable"), k)', "return _keep(x, np.argsort(x, axis=1)[:, ::-1], k)", SAMPLING),
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
    ("beam: scores are not divided by the length", "minilm/generation/beam.py", "float(total) / len(text) ** length_penalty)",
     "float(total))", BEAM),
    ("beam: a text that ended takes a beam's place", "minilm/generation/beam.py", "beams + len(ends) * k)", "beams)", BEAM),
    ("beam: states stay with the old rows", "minilm/generation/beam.py", "reordered(state, rows.reshape(-1))",
     "reordered(state, np.arange(rows.size) // rows.shape[1])", BEAM + " tests/generation/test_sequences.py"),
    ("beam: the search ends too early", "minilm/generation/beam.py", "totals[:, 0] / tokens**length_penalty",
     "totals[:, 0] / n**length_penalty", BEAM),
    ("beam: of equal continuations the last ones", "minilm/ops/largest.py", "best[c - 1] < number",
     "best[c - 1] <= number", BEAM),
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
    ("full context: the older half is kept", "minilm/models/causal_model.py",
     "state.ids[:, self.context - self.context // 2 :]", "state.ids[:, : self.context // 2]", CACHE),
    ("greedy targets: the token that ends is part of the text", "minilm/generation/sequences.py",
     "row[: int(np.argmax(row == end)) if", "row[: int(np.argmax(row == end)) + 1 if", "tests/generation/test_sequences.py"),
    ("beam targets: the token that ends is part of the text", "minilm/generation/sequences.py", "ids=each.ids[:-1]",
     "ids=each.ids", "tests/generation/test_sequences.py"),
)  # fmt: skip

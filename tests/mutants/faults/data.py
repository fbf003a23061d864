"""Faults in batches, masking, pairs and files of data."""

from tests.mutants.fault import area

MASKING = "tests/data/test_masking.py"
BATCHING = "tests/data/test_batching.py"

FAULTS = area(
    "data",
    ("masking: a random second segment may be the one that follows", "minilm/data/masking.py",
     "            if other == start + n:\n"
     "                other = (other + 1) % (N - m + 1)\n", "", MASKING),
    ("masking: next_sentence turned round", "minilm/data/masking.py", "self._pair(layout[b], bool(follows[b]))",
     "self._pair(layout[b], not follows[b])", MASKING),
    ("masking: special tokens may be masked", "minilm/data/masking.py", "free = ~np.isin(ids, special.special)",
     "free = ids != special.pad", MASKING),
    ("masking: special tokens take the place of others", "minilm/data/masking.py",
     "ordinary = np.setdiff1d(np.arange(special.vocab_size), special.special)", "ordinary = np.arange(special.vocab_size)",
     MASKING),
    ("masking: the same pairs in every step", "minilm/data/masking.py", '[self.seed, _count("step", step, 0)]', "[self.seed, 0]",
     MASKING),
    ("masking: places of tokens that are not masked", "minilm/data/masking.py", "np.argsort(~counts, axis=1",
     "np.argsort(counts, axis=1", "tests/models/test_encoders_on_device.py -k masked_places"),
    ("batches: targets are the ids themselves", "minilm/data/batching.py", "targets[b, :size] = window[1:]",
     "targets[b, :size] = window[:-1]", BATCHING),
    ("batches: the last window never", "minilm/data/batching.py", "places = self.tokens.size - self.time\n",
     "places = self.tokens.size - self.time - 1\n", BATCHING),
    ("batches: all rows begin with the text", "minilm/data/batching.py",
     "return [first + b * (last - first) // rows for b in range(rows + 1)]",
     "return [first + b * (last - first - 1) // rows for b in range(rows + 1)]", BATCHING),
    ("batches: every epoch begins at the same token", "minilm/data/batching.py", "if self.seed is None or epoch == 0:",
     "if True:", BATCHING),
    ("batches: an epoch's offset leaves the last step empty", "minilm/data/batching.py", "* min(self.time, spare) >> 64",
     "* self.time >> 64", BATCHING),
    ("batches: evaluation counts a target twice", "minilm/data/batching.py", "starts = [(step * B + b) * T for b in range(B)]",
     "starts = [(step * B + b) * (T - 1) for b in range(B)]", BATCHING),
    ("hold out: pairs of one source on both sides", "minilm/data/pairs.py", "[pair for pair in mixed if pair.source in held]",
     "mixed[: max(1, round(part * len(mixed)))]", "tests/data/test_pairs.py tests/recipes/test_pairs.py"),
    ("pairs: files of unequal length are cut", "minilm/data/pairs.py", "if counts[0] != counts[1]:", "if False:",
     "tests/data/test_pairs.py"),
    ("token files: another text's file is taken", "minilm/data/token_files.py", "{source.fingerprint()}", "{source.path}",
     "tests/data/test_token_files.py"),
    ("token files: ids above 65,535 wrap", "minilm/data/token_files.py", "if tokenizer.vocab_size <= 1 << 16",
     "if tokenizer.vocab_size <= 1 << 17", "tests/data/test_token_files.py"),
    ("token files: an id that does not fit is stored", "minilm/data/token_writer.py", "if ids.size and not (0 <= ids.min() and",
     "if ids.size and False and not (0 <= ids.min() and", "tests/data/test_token_files.py"),
    ("texts: the part for validation begins one character early", "minilm/data/texts.py",
     "begin, end = max(self.start - position, 0), len(piece)", "begin, end = max(self.start - 1 - position, 0), len(piece)",
     "tests/data/test_texts.py"),
    ("download: a wrong file that stands there is written over", "minilm/data/download.py",
     '    if fault != "missing":\n        os.replace(entry.path, _aside(entry.path))\n', "",
     "tests/data/test_download.py -k set_aside"),
)  # fmt: skip

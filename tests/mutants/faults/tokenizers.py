"""Faults in tokenizers."""

from tests.mutants.fault import area

BPE = "tests/tokenizers/bpe"
KEYS = f"{BPE}/test_keys.py"

FAULTS = area(
    "tokenizers",
    ("BPE: a short piece's key lacks its last byte", "minilm/tokenizers/bpe/encoding.py", "2 ** (8 * max(n - 8, 0)) - 1 for n",
     "2 ** (8 * max(n - 9, 0)) - 1 for n", KEYS),
    ("BPE: a short piece's key lacks its eighth byte", "minilm/tokenizers/bpe/encoding.py", "2 ** (8 * min(n, 8)) - 1 for n",
     "2 ** (8 * min(n, 7)) - 1 for n", KEYS),
    ("BPE: a short piece's key lacks its length", "minilm/tokenizers/bpe/encoding.py",
     "_SECOND[length] | np.uint64(length) << np.uint64(56)", "_SECOND[length] | np.uint64(1) << np.uint64(56)", KEYS),
    ("BPE: a long piece's key lacks its last byte", "minilm/tokenizers/bpe/encoding.py",
     "last = ~np.uint64(0) >> np.uint64(8 * (8 * words - length))",
     "last = (~np.uint64(0) >> np.uint64(8 * (8 * words - length))) >> np.uint64(8)", KEYS),
    ("BPE: a long piece is known by its length alone", "minilm/tokenizers/bpe/encoding.py",
     "same = same and keys[row, k] == word", "same = same and (keys[row, k] == word or k > 0)", KEYS + f" {BPE}/test_encode.py"),
    ("BPE: pieces of 128 bytes and more are merged with too little room", "minilm/tokenizers/bpe/encoding.py",
     "ids[row, 0] = length if n <= LONG_IDS else 0", "ids[row, 0] = length", f"{KEYS} {BPE}/test_encode.py"),
    ("BPE: long pieces take pairs that are gone", "minilm/tokenizers/bpe/merging.py",
     "        if work[ranks + i] != rank:\n"
     "            continue\n", "", f"{BPE}/test_encode.py"),
    ("BPE: a run of blanks keeps its last", "minilm/tokenizers/bpe/pieces.py", "return last if last > i else j", "return j",
     f"{BPE}/test_encode.py"),
    ("BPE: the last byte of a block decides of itself", "minilm/tokenizers/bpe/pieces.py",
     "return starts & ((_ONE << known) >> _ONE) - _ONE & ~_ONE if known",
     "return starts & (_ONE << known) - _ONE & ~_ONE if known", f"{BPE}/test_encode.py -k beyond_ascii"),
    ("BPE: training counts pieces of one hash as one", "minilm/tokenizers/bpe/counting.py",
     "                    and _equal(text, i, counts.content, start, length)\n", "", KEYS),
    ("BPE: training's counts forget a piece that has grown the table", "minilm/tokenizers/bpe/counting.py",
     "new.hashes[:used], new.counts[:used] = old.hashes[:used], old.counts[:used]", "new.hashes[:used] = old.hashes[:used]",
     f"{KEYS} -k growth"),
    ("added tokens: of those that begin together the shorter", "minilm/tokenizers/added/automaton.py",
     "if longest >= 0 and (found < 0 or i - automaton.lengths[longest] <= begin):", "if longest >= 0 and found < 0:",
     "tests/tokenizers/added tests/tokenizers/bpe/test_encode.py"),
    ("GPT-1: an unknown character gives the first token", "minilm/tokenizers/bpe/gpt1.py",
     "return np.where(known[place] == codes, ids[place], self.unk_token_id)", "return ids[place]", f"{BPE}/test_gpt1.py"),
    ("WordPiece: the shortest piece", "minilm/tokenizers/word_piece/kernels.py",
     "                    found, stop = trie.tokens[node], i + 1\n",
     "                    found, stop = trie.tokens[node], i + 1\n"
     "                    break\n", "tests/tokenizers/word_piece"),
    ("WordPiece: a word that cannot be cut keeps its first pieces", "minilm/tokenizers/word_piece/kernels.py",
     "            n = first\n"
     "            ids[n] = unknown", "            ids[n] = unknown", "tests/tokenizers/word_piece"),
    ("WordPiece: a word may be one character longer", "minilm/tokenizers/word_piece/kernels.py",
     "while at < end and end - begin <= limit:", "while at < end and end - begin <= limit + 1:", "tests/tokenizers/word_piece"),
    ("WordPiece: marks keep the order in which they came", "minilm/tokenizers/word_piece/kernels.py",
     "\n                    while n - place < min(run, limit) and orders[place - 1] > order:",
     "\n                    while n - place < min(run, limit) and orders[place - 1] > order + 250:",
     "tests/tokenizers/word_piece"),
    ("WordPiece: pairs, the second segment is of type 0", "minilm/tokenizers/word_piece/pairs.py",
     "types.append(np.full(part_ids.size + 1, number))", "types.append(np.full(part_ids.size + 1, 0))",
     "tests/tokenizers/word_piece/test_pairs.py"),
    ("WordPiece: the longer text is cut last", "minilm/tokenizers/word_piece/pairs.py", "longer = max(shorter, room - shorter)",
     "longer = max(0, room - shorter)", "tests/tokenizers/word_piece/test_pairs.py"),
    ("words: a text is cut within a word", "minilm/tokenizers/word_level.py",
     "                return index + 1\n"
     "        return 0",
     "                return index\n"
     "        return 0", "tests/tokenizers/test_word_level.py"),
    ("characters: ties to the higher code point", "minilm/tokenizers/character.py",
     'codes = codes[np.argsort(-counts[codes], kind="stable")[:room]]',
     'codes = codes[::-1][np.argsort(-counts[codes[::-1]], kind="stable")[:room]]', "tests/tokenizers/test_character.py"),
    ("Keras's words: ties by the alphabet", "minilm/tokenizers/word.py",
     "ranked = sorted(self.word_counts, key=self.word_counts.get, reverse=True)",
     "ranked = sorted(self.word_counts, key=lambda w: (-self.word_counts[w], w))", "tests/tokenizers/test_keras_word.py"),
)  # fmt: skip

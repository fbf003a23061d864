"""GPT1BPE: the tokenizer of GPT-1, byte-pair encoding of characters, word by word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from minilm.tokenizers import files
from minilm.tokenizers.base import Tokenizer, check_ids, check_text
from minilm.tokenizers.bpe import hugging_face, special
from minilm.tokenizers.bpe.vocabulary import merge_ids
from minilm.tokenizers.character import code_points
from minilm.tokenizers.word_piece.characters import Basic, Characters

SUFFIX = "</w>"
UNKNOWN = "<unk>"
BLOCK = 1 << 15  # characters worked on at a time
REORDERED = 1 << 12  # marks in a row that are put in order; no text has so many


class GPT1BPE(Tokenizer):
    """Byte-pair encoding of the characters of lower-cased words, as GPT-1 uses it.

    Parameters
    ----------
    vocabulary : iterable of str
        All tokens in the order of their ids. Those that end a word end in "</w>".
    merges : iterable of (str, str)
        Pairs of tokens, the first to be merged first.
    special_tokens : iterable of str
        Tokens of the vocabulary that a text may spell, `unk_token` among them.
    unk_token : str
        For characters that the vocabulary lacks, one for each.

    Notes
    -----
    The text is cut into words by BERT's basic tokenizer (white space, punctuation, ideographs; control characters and accents
    removed, lower case), which is what transformers does without ftfy and spaCy; GPT-1 itself used those two, and its ids of
    texts with contractions and the like differ. The characters of a word are its first symbols, the last one with "</w>", and
    are merged by rank, see `bpe.merging`.

    Lossy: `decode` puts a blank after every token that ends a word but the last. Encoding what was decoded gives the same ids.

    References
    ----------
    A. Radford et al., Improving language understanding by generative pre-training, 2018.
    R. Sennrich, B. Haddow, A. Birch, Neural machine translation of rare words with subword units, ACL 2016.
    """

    def __init__(self, vocabulary, merges, *, special_tokens: Iterable[str] = (UNKNOWN,), unk_token: str = UNKNOWN):
        special_tokens = special.check(special_tokens)
        super().__init__(vocabulary, special_tokens if unk_token in special_tokens else (unk_token, *special_tokens))
        self._special_ids = special.ids_of(self._special_tokens, self._ids)
        self._special_tokens, self.unk_token = tuple(self._special_ids), unk_token
        for token in self._special_tokens:
            if token.split() != [token]:
                raise ValueError(f"special tokens must be without white space, got {token!r}")
        self._merges = tuple((left, right) for left, right in merges)
        self._merge_ids = merge_ids(self._merges, self._ids)  # (M, 3)
        # What a token adds to a text, less the blank after it, and whether there is one.
        plain = [token if token in self._special_ids else token.removesuffix(SUFFIX) for token in self._vocabulary]
        self._plain, self._ends = plain, [len(text) < len(token) for text, token in zip(plain, self._vocabulary, strict=True)]
        self._first = _symbols(self._ids, "")
        self._last = _symbols(self._ids, SUFFIX)
        self._characters = Characters(Basic())
        self._table = None

    # Text to ids

    def encode_with_offsets(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Encode a text, with the place in it that each token comes from.

        Returns
        -------
        ids : ndarray, shape (T,), int32
        offsets : ndarray, shape (T, 2), int64
            ``text[begin:end]`` of each token, in code points of the text as it was given.
        """
        check_text(text)
        parts, places = [np.empty(0, np.int32)], [np.empty((0, 2), np.int64)]
        codes = code_points(text)  # (N,)
        for begin, end, id in special.segments(text, self._special_ids):
            if id >= 0:
                parts.append(np.array([id], np.int32))
                places.append(np.array([[begin, end]]))
                continue
            for words, source, at in self._words(codes[begin:end]):
                ids = self._merged(words)  # (t,)
                lengths = np.array(
                    [1 if id in self._special_ids.values() else len(self._plain[id]) for id in ids.tolist()]
                )  # (t,)
                stops = np.cumsum(lengths)  # (t,): in the characters of the words, without blanks
                source = source[words != 0x20].astype(np.int64) + begin + at  # (n,)
                parts.append(ids)
                places.append(np.stack([source[stops - lengths], source[stops - 1] + 1], axis=1))
        return np.concatenate(parts), np.concatenate(places)

    def _encode(self, text, start, source):
        codes = code_points(text, start, source)  # (N,)
        parts = [np.empty(0, np.int32)]
        for begin, end, id in special.segments(text, self._special_ids):
            parts += (
                [np.array([id], np.int32)] if id >= 0 else [self._merged(words) for words, *_ in self._words(codes[begin:end])]
            )
        return np.concatenate(parts)  # (T,)

    def _words(self, codes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        """Words of a text (N,), block by block: characters with a blank between words, where in the block each is from, where the
        block begins."""
        from minilm.tokenizers.word_piece import kernels

        begin, room = 0, 2 * min(BLOCK, codes.size) + 4 * kernels.ROOM
        while begin < codes.size:
            out, source, orders = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.uint8)
            status, size, at = kernels.split(codes[begin:], 0, BLOCK, self._characters.table, REORDERED, out, source, orders)
            if status == kernels.FULL:
                room *= 2
            elif status == kernels.NO_PAGE:
                self._characters.add_page(at)
            else:
                if size:
                    yield out[:size], source[:size], begin
                begin += at

    def _merged(self, words: np.ndarray) -> np.ndarray:
        """Ids (T,) of words (N,), a blank between them."""
        from minilm.tokenizers.bpe import merging
        from minilm.tokenizers.bpe.words import BLANK, merge_words

        if self._table is None:
            self._table = merging.make_merges(*np.ascontiguousarray(self._merge_ids.T))
        blank = words == 0x20  # (N,)
        last = np.append(blank[1:], True)  # (N,)
        symbols = np.where(last, self._lookup(self._last, words), self._lookup(self._first, words))  # (N,)
        symbols[blank] = BLANK
        return merge_words(symbols.astype(np.int32), self._table)

    def _lookup(self, table, codes):
        known, ids = table  # (C,), (C,)
        place = np.minimum(np.searchsorted(known, codes), max(known.size - 1, 0))  # (N,)
        return np.where(known[place] == codes, ids[place], self.unk_token_id)  # (N,)

    def _safe_cut(self, text):
        for index in range(len(text) - 1, -1, -1):
            if text[index] in " \t\n\r":
                return index + 1
        return 0

    # Ids to text

    def decode(self, ids, *, skip_special_tokens: bool = False) -> str:
        """Decode ids; with `skip_special_tokens` those of special tokens give nothing."""
        ids = check_ids(ids, self.vocab_size)  # (T,)
        return super().decode(ids[~np.isin(ids, list(self._special_ids.values()))] if skip_special_tokens else ids)

    def _decode(self, ids, state):
        pieces = []
        for id in ids.tolist():
            pieces += [" ", self._plain[id]] if state else [self._plain[id]]
            state = self._ends[id]
        return "".join(pieces), state

    # Files

    @property
    def merges(self) -> tuple[tuple[str, str], ...]:
        """The pairs of tokens that are merged, first to last."""
        return self._merges

    @classmethod
    def from_files(cls, vocabulary, merges) -> GPT1BPE:
        """Read a vocab.json and a merges.txt; ValueError names the file and what is wrong in it."""
        return hugging_face.from_files(cls, vocabulary, merges, (UNKNOWN,))

    @classmethod
    def from_pretrained(cls, folder) -> GPT1BPE:
        """Read the tokenizer of a folder: vocab.json and merges.txt, or a tokenizer.json."""
        return hugging_face.from_folder(cls, folder)

    def save_pretrained(self, folder) -> None:
        """Write vocab.json, merges.txt and tokenizer.json into a folder."""
        hugging_face.write_folder(self._json(), folder)

    def _json(self) -> dict:
        basic = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
        cutting = {
            "normalizer": {"type": "BertNormalizer", **basic},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": None,
            "decoder": {"type": "BPEDecoder", "suffix": SUFFIX},
        }
        model = {"unk_token": self.unk_token, "continuing_subword_prefix": "", "end_of_word_suffix": SUFFIX}
        return hugging_face.tokenizer_json(self, cutting, **model)

    def to_json(self) -> str:
        """The content of the tokenizer's file: a tokenizer.json as Hugging Face's `tokenizers` reads and writes it."""
        return hugging_face.to_json(self._json())

    def save(self, path) -> None:
        """Write the tokenizer to a JSON file (or as tokenizer.json into the folder `path`), whole or not at all."""
        files.write_atomically(files.file_in(path), self.to_json().encode("utf-8"))

    @classmethod
    def load(cls, path) -> GPT1BPE:
        """Read a tokenizer.json, or a folder as `from_pretrained` does."""
        return hugging_face.load(cls, path)

    def _fields(self):
        unknown = {"unk_token": self.unk_token, "special_tokens": self._special_tokens}
        return {**unknown, "vocabulary": self._vocabulary, "merges": self._merges}

    @classmethod
    def _from_fields(cls, fields):
        basic = hugging_face.part(fields, "normalizer", "BertNormalizer", "GPT-1's")
        for name, wanted in (("clean_text", (True,)), ("handle_chinese_chars", (True,)), ("strip_accents", (None, True))):
            if basic.get(name, wanted[0]) not in wanted or basic.get("lowercase", True) is not True:
                raise ValueError(f"normalizer must be BERT's with all its steps, as in GPT-1's tokenizer, got {basic}")
        hugging_face.part(fields, "pre_tokenizer", "BertPreTokenizer", "GPT-1's")
        tokens, merges, special_tokens = hugging_face.model_parts(fields, (SUFFIX,))
        unknown = files.field(files.field(fields, "model", dict), "unk_token", str)
        return cls(tokens, merges, special_tokens=special_tokens, unk_token=unknown)

    # Training

    @classmethod
    def train_from_chunks(cls, chunks, **options) -> GPT1BPE:
        """GPT1BPE is there to load; what trains is `ByteLevelBPE`. Raises NotImplementedError."""
        raise NotImplementedError("GPT1BPE loads a vocabulary and does not train one: train a ByteLevelBPE")

    @classmethod
    def _train(cls, texts, source, **options):
        return cls.train_from_chunks(texts)


def _symbols(ids: dict[str, int], suffix: str) -> tuple[np.ndarray, np.ndarray]:
    """Characters that with `suffix` are tokens, (C,), sorted, and the ids of these, (C,); with one that is in no text."""
    found = {-1: 0}
    for token, id in ids.items():
        if token.endswith(suffix) and len(token) == len(suffix) + 1:
            found[ord(token[0])] = id
    codes = np.array(sorted(found), np.int64)  # (C,)
    return codes, np.array([found[code] for code in codes.tolist()], np.int64)

"""The class `WordPiece`."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

import numpy as np

from ..base import Tokenizer, check_ids, check_text
from ..character import code_points
from . import hugging_face, pairs
from .characters import Basic, Characters
from .trie import build

BLOCK = 1 << 15  # characters that are worked on at a time, so that what lies between the two kernels stays in the cache
ROLES = ("unk", "cls", "sep", "pad", "mask")


class WordPiece(pairs.Pairs, Tokenizer):
    """BERT's tokenizer: words are cut into the longest pieces that the vocabulary has.

    Parameters
    ----------
    vocabulary : iterable of str
        The tokens; a token's place is its id. Those that go on in a word begin with `prefix`.
    lower : bool
        Lower-case.
    strip_accents : bool or None
        Remove accents; None means if `lower`.
    split_cjk : bool
        Make every ideograph a word.
    clean_text : bool
        Remove control characters.
    max_word_chars : int
        A longer word becomes `unk_token`.
    prefix : str
    clean_up : bool
        Decode without the blanks that English does not set, such as the one before a full stop.
    unk_token : str
    cls_token, sep_token, pad_token, mask_token : str or None
        None where the vocabulary has no such token.
    special_tokens : iterable of str
        Further tokens of the vocabulary that a text may spell, such as "[PAR]".

    Raises
    ------
    ValueError
        A token is twice in the vocabulary, or a special token is not in it.

    Notes
    -----
    The basic tokenizer works on code points: remove control characters, set ideographs apart, strip accents (NFD without category
    Mn), lower-case, cut at white space and around punctuation. Each word w of at most `max_word_chars` characters is then cut
    greedily, with V the vocabulary and a_1 = 0::

        b_k = max {b : prefix(a_k) + w[a_k:b] in V},   a_{k+1} = b_k,   prefix(0) = "", else "##"

    If there is no such b, all of w becomes `unk_token`. A special token spelled in the text, as "[MASK]", is that token.

    All promises of `Tokenizer` hold: chunks, streams, and the same ids from what was decoded, provided that none is unknown. But
    the tokenizer is lossy: what was decoded is not the text.

    `encode` adds no special tokens, as in all tokenizers here; `encode_pair` and `encode_pairs` make BERT's sequences.

    References
    ----------
    J. Devlin et al., BERT: pre-training of deep bidirectional transformers for language understanding, NAACL 2019.
    Y. Wu et al., Google's neural machine translation system, 2016 (WordPiece; there the words are cut as here).
    """

    def __init__(
        self,
        vocabulary: Iterable[str],
        *,
        lower: bool = True,
        strip_accents: bool | None = None,
        split_cjk: bool = True,
        clean_text: bool = True,
        max_word_chars: int = 100,
        prefix: str = "##",
        clean_up: bool = True,
        unk_token: str = "[UNK]",
        cls_token: str | None = "[CLS]",
        sep_token: str | None = "[SEP]",
        pad_token: str | None = "[PAD]",
        mask_token: str | None = "[MASK]",
        special_tokens: Iterable[str] = (),
    ):
        roles = dict(zip(ROLES, (unk_token, cls_token, sep_token, pad_token, mask_token), strict=True))
        vocabulary = tuple(vocabulary)
        known = set(vocabulary)
        for token in vocabulary:
            if not isinstance(token, str):
                raise TypeError(f"vocabulary must hold str, got {token!r}")
        if unk_token is None:
            raise ValueError("unk_token must be a token of the vocabulary: there is always text that no piece spells")
        special = dict.fromkeys(token for token in (*roles.values(), *special_tokens) if token is not None)
        for token in special:
            if not isinstance(token, str) or token.split() != [token]:
                raise ValueError(f"special tokens must be non-empty str without white space, got {token!r}")
            if token not in known:
                role = next((f" (give {role}_token=None if there is none)" for role in ROLES[1:] if roles[role] == token), "")
                raise ValueError(f"special token {token!r} is not in the vocabulary of {len(vocabulary)} tokens{role}")
        if max_word_chars < 1:
            raise ValueError(f"max_word_chars must be at least 1, got {max_word_chars!r}")
        super().__init__(vocabulary, sorted(special, key=vocabulary.index))
        for role, token in roles.items():
            setattr(self, f"{role}_token", token)
        self.lower, self.strip_accents = bool(lower), strip_accents
        self.split_cjk, self.clean_text = bool(split_cjk), bool(clean_text)
        self.max_word_chars, self.prefix = int(max_word_chars), prefix
        self.clean_up = bool(clean_up)
        self._basic = Basic(self.clean_text, self.split_cjk, self.lower if strip_accents is None else strip_accents, self.lower)
        self._characters = Characters(self._basic)
        # The longest first: of two that begin at one place, the longer is meant.
        spelled = sorted(self._special_tokens, key=len, reverse=True)
        self._special_pattern = re.compile("|".join(map(re.escape, spelled)))

    @property
    def cls_token_id(self) -> int | None:
        """The id of the token that begins a sequence, or None."""
        return self._ids.get(self.cls_token)

    @property
    def sep_token_id(self) -> int | None:
        """The id of the token that ends each part of a sequence, or None."""
        return self._ids.get(self.sep_token)

    @property
    def pad_token_id(self) -> int | None:
        """The id that fills a batch up, or None."""
        return self._ids.get(self.pad_token)

    @property
    def mask_token_id(self) -> int | None:
        """The id that stands where a token is to be guessed, or None."""
        return self._ids.get(self.mask_token)

    # Text to ids

    def basic_tokens(self, text: str) -> list[str]:
        """The words of a text, normalised, as they are before they are cut into pieces; special tokens are not looked for."""
        check_text(text)
        found = []
        for out, size, _, _ in self._split(code_points(text)):
            found += np.asarray(out[:size], "<u4").tobytes().decode("utf-32-le").split(" ") if size else []
        return found

    def encode_with_offsets(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Encode a text, with the place in it that each token comes from.

        Returns
        -------
        ids : ndarray, shape (T,), int32
            As `encode` gives them.
        offsets : ndarray, shape (T, 2), int64
            ``text[begin:end]`` of each token, in code points of the text as it was given, accents and capitals included.
        """
        ids, offsets, _ = self._places(text)
        return ids, offsets

    def _places(self, text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids (T,), offsets (T, 2), and the number of the word that each token is part of (T,)."""
        check_text(text)
        code_points(text)  # a lone surrogate is an error with its position in the whole text
        parts, words = [(np.empty(0, np.int32), np.empty((0, 2), np.int64), np.empty(0, np.int64))], 0
        for begin, end, special in self._segments(text):
            if special is not None:
                parts.append((np.array([special], np.int32), np.array([[begin, end]]), np.array([words])))
                words += 1
                continue
            for out, size, source, at in self._split(code_points(text[begin:end])):
                ids, first, last, word, count = self._match(out, size, places=True)
                offsets = np.stack([source[first], source[last] + 1], axis=1).astype(np.int64) + (begin + at)  # (t, 2)
                parts.append((ids, offsets, word + words))
                words += count
        return tuple(np.concatenate(each) for each in zip(*parts, strict=True))

    def _encode(self, text, start, source):
        codes = code_points(text, start, source)  # (T,)
        parts = []
        for begin, end, special in self._segments(text):
            if special is None:
                parts += [self._match(out, size)[0] for out, size, _, _ in self._split(codes[begin:end])]
            else:
                parts.append(np.array([special], np.int32))
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.int32), *parts])  # (T,)

    def _segments(self, text: str):
        """Begin, end and id of each special token spelled in the text; with None for an id, of what lies between."""
        begin = 0
        if any(token in text for token in self._special_tokens):  # many times quicker than the expression, where there is none
            for found in self._special_pattern.finditer(text):
                if begin < found.start():
                    yield begin, found.start(), None
                yield found.start(), found.end(), self._ids[found.group()]
                begin = found.end()
        if begin < len(text):
            yield begin, len(text), None

    def _split(self, codes: np.ndarray):
        """Words of a text (T,), block by block: characters, how many, where in the block each is from, where the block begins."""
        from . import kernels

        begin, room = 0, 2 * min(BLOCK, codes.size) + 4 * kernels.ROOM
        while begin < codes.size:
            out, source, orders = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.uint8)
            part = codes[begin:]
            status, size, at = kernels.split(part, 0, BLOCK, self._characters.table, self.max_word_chars, out, source, orders)
            if status == kernels.FULL:
                room *= 2
            elif status == kernels.NO_PAGE:
                self._characters.add_page(at)
            else:
                yield out, size, source, begin
                begin += at

    def _match(self, out: np.ndarray, size: int, places: bool = False):
        """Ids (t,) of the words in `out`; with `places` also the first and last character and the word of each, and the words."""
        from . import kernels

        ids = np.empty(size, np.int32)
        first, last, word = (np.empty(size if places else 0, np.int32) for _ in range(3))
        count, words = kernels.match(
            out, size, self._trie, self._ids[self.unk_token], self.max_word_chars, ids, first, last, word, places
        )
        return ids[:count].copy(), first[:count], last[:count], word[:count], words

    @functools.cached_property
    def _trie(self):
        return build(self._vocabulary, self.prefix)

    def _safe_cut(self, text):
        # White space ends words, and special tokens have none.
        for index in range(len(text) - 1, -1, -1):
            if text[index] in " \t\n\r":
                return index + 1
        return 0

    # Ids to text

    def decode(self, ids, skip_special_tokens: bool = False) -> str:
        """Decode ids: pieces joined to words, words joined by blanks, and no blank before what English sets without one.

        Parameters
        ----------
        ids : array_like of int, shape (T,) or ()
        skip_special_tokens : bool
            Leave out `special_tokens`.
        """
        ids = check_ids(ids, self.vocab_size)
        if skip_special_tokens:
            ids = ids[~np.isin(ids, [self._ids[token] for token in self._special_tokens])]
        return super().decode(ids)

    def _decode(self, ids, state):
        if not ids.size:
            return "", state
        pieces = [self._spelled[id] for id in ids.tolist()]
        if state is None:  # nothing stands before the first token, so it is written as it is, prefix and all
            pieces[0] = tidy(self._vocabulary[ids[0]]) if self.clean_up else self._vocabulary[ids[0]]
        return "".join(pieces), True

    @functools.cached_property
    def _spelled(self) -> list[str]:
        """What each token adds to a text."""
        n = len(self.prefix)
        spelled = [token[n:] if token.startswith(self.prefix) else f" {token}" for token in self._vocabulary]
        return [tidy(each) for each in spelled] if self.clean_up else spelled

    # Training and files

    @classmethod
    def train_from_chunks(cls, chunks, **options) -> WordPiece:
        """Build the vocabulary of one text; options as in `minilm.tokenizers.word_piece.train.train`, and the constructor's."""
        return cls._train([chunks], "text", **options)

    @classmethod
    def _train(cls, texts, source, **options):
        from .train import train

        return train(cls, texts, source, **options)

    @classmethod
    def load(cls, path) -> WordPiece:
        """Read a WordPiece tokenizer of Hugging Face's or our own making.

        Parameters
        ----------
        path : str or os.PathLike
            A tokenizer.json, a vocab.txt, or a folder with one of them; what its tokenizer_config.json says of lower-casing,
            accents, ideographs and special tokens then goes before what the tokenizer.json says, as in `transformers`.

        Raises
        ------
        FileNotFoundError
        ValueError
            Naming the file and what is wrong in it.
        """
        return hugging_face.load(cls, path)

    def save_vocabulary(self, path) -> None:
        """Write vocab.txt (into the folder `path`, or to that file): a token a line, the line's number its id."""
        hugging_face.save_vocabulary(self, path)

    def to_json(self) -> str:
        """The content of the tokenizer's file: a tokenizer.json as Hugging Face's `tokenizers` reads and writes it."""
        return hugging_face.to_json(self)

    def save(self, path) -> None:
        """Write the tokenizer to a JSON file (or as tokenizer.json into the folder `path`), whole or not at all."""
        hugging_face.save(self, path)

    def save_pretrained(self, folder) -> None:
        """Write tokenizer.json, vocab.txt and tokenizer_config.json into a folder, as `transformers` reads them."""
        hugging_face.save_pretrained(self, folder)

    def settings(self) -> dict:
        """The constructor's keyword arguments."""
        roles = {f"{role}_token": getattr(self, f"{role}_token") for role in ROLES}
        more = [token for token in self._special_tokens if token not in roles.values()]
        names = ("lower", "strip_accents", "split_cjk", "clean_text", "max_word_chars", "prefix", "clean_up")
        return {**{name: getattr(self, name) for name in names}, **roles, "special_tokens": more}

    def _fields(self):
        return {**self.settings(), "vocabulary": list(self._vocabulary)}

    @classmethod
    def _from_fields(cls, fields):
        return hugging_face.from_fields(cls, fields)


def tidy(text: str) -> str:
    """A decoded token without the blank that English does not set, such as the one before a full stop."""
    for spaced, wanted in TIDY:
        text = text.replace(spaced, wanted)
    return text


TIDY = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)

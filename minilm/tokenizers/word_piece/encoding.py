"""Text to ids and offsets: the layer between the class and the kernels."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from ..added.holder import WithAddedTokens
from ..character import code_points
from ..checks import check_text, several
from ..cuts import safe_cut
from .basic import after_blanks

SHORT_TEXT = 512  # characters of a text that one compiled call encodes
TOGETHER = 1 << 18  # characters of several texts that one call cuts


class Cutting(WithAddedTokens):
    """The part of `WordPiece` that cuts texts."""

    def basic_tokens(self, text: str) -> list[str]:
        """The words of a text, normalised, as they are before they are cut into pieces; special tokens are not looked for.

        Parameters
        ----------
        text : str

        Returns
        -------
        words : list of str

        Raises
        ------
        TypeError
            `text` is not a str.
        ValueError
            It holds a lone surrogate.
        """
        check_text(text)
        tokens = []
        for out, size, _, _ in self._basic.words(code_points(text)):
            tokens += np.asarray(out[:size], "<u4").tobytes().decode("utf-32-le").split(" ") if size else []
        return tokens

    def encode_with_offsets(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Encode a text, with the place in it that each token comes from.

        Parameters
        ----------
        text : str

        Returns
        -------
        ids : ndarray, shape (T,), int32
            As `encode` gives them.
        offsets : ndarray, shape (T, 2), int64
            ``text[begin:end]`` of each token, in code points of the text as it was given, accents and capitals included.

        Raises
        ------
        TypeError
            `text` is not a str.
        ValueError
            It holds a lone surrogate.

        Notes
        -----
        These are BertTokenizerFast's offsets, with one exception: in a word in which accents are stripped beside marks of
        category Mc in non-canonical order, they may point some marks further along in the word.
        """
        ids, offsets, _ = self._places(text)
        return ids, offsets

    def _places(self, text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids (T,), offsets (T, 2), and the number of the word that each token is part of (T,)."""
        check_text(text)
        code_points(text)  # a lone surrogate is an error with its position in the whole text
        parts, words = [(np.empty(0, np.int32), np.empty((0, 2), np.int64), np.empty(0, np.int64))], 0
        for begin, end, token in self._added.raw.segments(text):
            if token >= 0:
                parts.append((np.array([token], np.int32), np.array([[begin, end]]), np.array([words])))
                words += 1
                continue
            for token, out, size, source, at in self._basic.cut(code_points(text[begin:end]), self._added.normalized):
                if token >= 0:
                    place = np.array([[source[0], source[1] + 1]], np.int64) + begin  # (1, 2)
                    parts.append((np.array([token], np.int32), place, np.array([words])))
                    words += 1
                    continue
                ids, first, last, word, count = self._match(out, size, places=True)
                offsets = np.stack([source[first], source[last] + 1], axis=1).astype(np.int64) + (begin + at)  # (t, 2)
                parts.append((ids, offsets, word + words))
                words += count
        ids, offsets, numbers = (np.concatenate(each) for each in zip(*parts, strict=True))
        return ids, offsets, numbers

    def _encode(self, text, start, source):
        if len(text) <= SHORT_TEXT and not self._added.normalized.tokens and not self._added.raw.may_occur(text):
            ids = self._encode_short(text.encode("ascii") if text.isascii() else code_points(text, start, source))
            if ids is not None:
                return ids
        codes = code_points(text, start, source)  # (T,)
        parts = []
        for begin, end, token in self._added.raw.segments(text):
            if token >= 0:
                parts.append(np.array([token], np.int32))
                continue
            for token, out, size, *_ in self._basic.cut(codes[begin:end], self._added.normalized):
                parts.append(np.array([token], np.int32) if token >= 0 else self._match(out, size)[0])
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.int32), *parts])  # (T,)

    def _encode_short(self, codes: np.ndarray | bytes) -> np.ndarray | None:
        """Ids (T,) of a short text without added tokens, in one compiled call; None where the long way knows more.

        The text is given as its code points (T,), uint32, or, if it is ASCII, as bytes, of which no array is made.
        """
        calls, rooms = self._short
        try:
            room = rooms.pop()
        except IndexError:  # another thread has it
            room = self._room()
        if room.values.table is not self._basic.characters.table:  # which has more pages since
            room = self._room()
        call = calls.get(type(codes)) or self._compiled(codes, room)
        count = call(codes, room)
        ids = room.values.work[2]
        result = ids[:count].copy() if count >= 0 else None  # (T,)
        rooms.append(room)
        return result

    def _room(self):
        """What one thread encodes short texts with."""
        from ..bpe.held import Kept
        from .kernels import Short

        work, orders = np.empty((3, 4 * SHORT_TEXT), np.int32), np.empty(4 * SHORT_TEXT, np.uint8)
        basic, unknown = self._basic, self._ids[self.unk_token]
        return Kept(Short(basic.characters.table, basic.reordered, self._trie, unknown, self.max_word_chars, work, orders))

    def _compiled(self, codes, room):
        """The kernel for short texts that are given as this one is."""
        from minilm.compiled.jit import entry_point

        from . import kernels

        return self._short[0].setdefault(type(codes), entry_point(kernels.encode_short, codes, room))

    @functools.cached_property
    def _short(self):
        """Kernels by the type of code points, and rooms that no thread writes to now."""
        return {}, []

    def encode_batch(self, texts: Iterable[str]) -> list[np.ndarray]:
        """Encode several texts, each on its own.

        Many are cut in one call, with the end of a line between them, over which no word reaches: a call costs more than cutting
        a sentence does.

        Parameters
        ----------
        texts : iterable of B str

        Returns
        -------
        ids : list of B ndarrays, shape (T_i,), int32

        Raises
        ------
        TypeError
            `texts` is one str, or holds something else than str.
        ValueError
            A text holds a lone surrogate.
        """
        texts, arrays = several(texts), []
        for text in texts:
            check_text(text)
        if self._added.white_space:
            return super().encode_batch(texts)
        for begin, end in _groups(texts):
            try:
                ids, offsets, _ = self._places("\n".join(texts[begin:end]))
            except ValueError:  # a lone surrogate, whose place in its own text the error must name
                return super().encode_batch(texts)
            ends = np.cumsum([len(text) + 1 for text in texts[begin:end]])  # (B,)
            bounds = [0, *np.searchsorted(offsets[:, 0], ends).tolist()]
            arrays += [ids[first:last] for first, last in itertools.pairwise(bounds)]
        return arrays if self.post_processor is None else [self._joined([array], True) for array in arrays]

    def _safe_cut(self, text):
        return safe_cut(text, after_blanks, lambda part: self._basic.touched(part, self._added), self._added.margin)

    def _match(self, out: np.ndarray, size: int, places: bool = False):
        """Ids (t,) of the words in `out`; with `places` also the first and last character and the word of each, and the words."""
        from . import kernels

        ids = np.empty(size, np.int32)
        first, last, word = (np.empty(size if places else 0, np.int32) for _ in range(3))
        count, words = kernels.match(
            out, size, self._trie, self._ids[self.unk_token], self.max_word_chars, ids, first, last, word, places
        )
        return ids[:count].copy(), first[:count], last[:count], word[:count], words


def _groups(texts: list[str]) -> Iterator[tuple[int, int]]:
    """Texts [begin, end) that have about `TOGETHER` characters in all."""
    begin, size = 0, 0
    for index, text in enumerate(texts):
        size += len(text) + 1
        if size >= TOGETHER:
            yield begin, index + 1
            begin, size = index + 1, 0
    if begin < len(texts):
        yield begin, len(texts)

"""Text to ids and places: between the class and the kernels."""

from __future__ import annotations

import numpy as np

from ..base import check_text
from ..character import code_points
from .characters import PAGE

BLOCK = 1 << 15  # characters that are worked on at a time, so that what lies between the two kernels stays in the cache


class Cutting:
    """The part of `WordPiece` that cuts texts."""

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
                self._characters.add_pages(np.unique(part[: max(BLOCK, room)] // PAGE).tolist())
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

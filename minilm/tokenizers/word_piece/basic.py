"""BERT's basic tokenizer: a text normalised and cut into words, around its added tokens."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from ..added import AddedTokens
from ..added.matching import Matcher
from ..added.matching import code_points as all_code_points
from .characters import PAGE, Basic, Characters

BLOCK = 1 << 15  # characters that are worked on at a time, so that what lies between the two kernels stays in the cache
REORDERED = 1 << 12  # marks in a row that are put in order; no text has so many


class BasicTokenizer:
    """Cuts texts into words.

    Parameters
    ----------
    settings : Basic
    reordered : int
        How many marks in a row are put in order at most.
    """

    def __init__(self, settings: Basic, reordered: int = REORDERED):
        self.settings, self.reordered = settings, reordered
        self.characters = Characters(settings)

    def words(self, codes: np.ndarray) -> Iterator[tuple[np.ndarray, int, np.ndarray, int]]:
        """The words of a text (N,), block by block: characters with a blank between words, how many, where in the block each is
        from, where the block begins."""
        from . import kernels

        begin, room = 0, 2 * min(BLOCK, codes.size) + 4 * kernels.ROOM
        while begin < codes.size:
            out, source, orders = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.uint8)
            part = codes[begin:]
            status, size, at = kernels.split(part, 0, BLOCK, self.characters.table, self.reordered, out, source, orders)
            if status == kernels.FULL:
                room *= 2
            elif status == kernels.NO_PAGE:
                self.characters.add_pages(np.unique(part[: max(BLOCK, room)] // PAGE).tolist())
            else:
                yield out, size, source, begin
                begin += at

    def normalize(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A text (N,) normalised, (M,) uint32, and where each character is from, (M,) int32."""
        from . import kernels

        codes = np.ascontiguousarray(codes, np.uint32)  # (N,)
        room = 2 * codes.size + kernels.ROOM
        while True:
            out, source, orders = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.uint8)
            status, size, _ = kernels.normalize(codes, self.characters.table, self.reordered, out, source, orders)
            if status == kernels.FULL:
                room *= 2
            elif status == kernels.NO_PAGE:
                self.characters.add_pages(np.unique(codes // PAGE).tolist())
            else:
                return out[:size].view(np.uint32), source[:size]

    def normalized(self, texts: list[str]) -> list[str]:
        """Texts normalised, each on its own."""
        out, source = self.normalize(all_code_points("\n".join(texts)))  # marks do not move over white space
        text = out.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
        stops = np.cumsum([len(each) + 1 for each in texts])  # (T,)
        starts = np.searchsorted(source, stops - [len(each) + 1 for each in texts]).tolist()
        stops = np.searchsorted(source, stops - 1).tolist()
        return [text[start:stop] for start, stop in zip(starts, stops, strict=True)]

    def cut(self, codes: np.ndarray, tokens: Matcher) -> Iterator[tuple[int, np.ndarray, int, np.ndarray, int]]:
        """Words, and the added tokens that stand in the text as it is normalised.

        Parameters
        ----------
        codes : ndarray, shape (N,), uint8 or uint32
        tokens : Matcher

        Yields
        ------
        id, out, size, source, at
            With id -1 words, as `words` gives them; else an added token, of which `source` has the first and last place, (2,).
        """
        if tokens:
            normal, origin = self.normalize(codes)  # (M,), (M,)
            segments = list(tokens.segments_of(normal))
            if len(segments) > 1:
                for begin, stop, id in segments:
                    if id >= 0:
                        yield id, normal[begin:stop], 2, origin[[begin, stop - 1]], 0
                    else:
                        for out, size, source, at in plain().words(normal[begin:stop]):
                            yield -1, out, size, origin[begin + at + source[:size]], 0
                return
        for words in self.words(codes):
            yield (-1, *words)

    def touched(self, text: str, added: AddedTokens) -> np.ndarray:
        """Where a cut of the text might change which added tokens are found: (N + 1,), bool; see `Matcher.touched`."""
        codes = all_code_points(text)
        cuts = added.raw.touched(codes)  # (N + 1,)
        if added.normalized:
            normal, origin = self.normalize(codes)
            touched = added.normalized.touched(normal)  # (M + 1,)
            cuts |= touched[np.searchsorted(origin, np.arange(codes.size + 1))]
        return cuts


@functools.cache
def plain() -> BasicTokenizer:
    """Cuts at white space and around punctuation, and changes nothing: for what is normalised already."""
    return BasicTokenizer(Basic(clean_text=False, split_cjk=False, strip_accents=False, lower=False))


def after_blanks(codes: np.ndarray) -> np.ndarray:
    """Whether a word may not go on from codes[n] to codes[n + 1]: (N - 1,), bool."""
    return np.isin(codes[:-1], (0x20, 0x09, 0x0A, 0x0D))

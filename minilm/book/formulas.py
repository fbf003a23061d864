"""Formulas as the specifications write them, in plain text, turned into MathML.

A formula is written once, where a reader of the source finds it::

    c[t] = f c' + i g
    dx[e] = rstd (g[e] - mean(g) - u[e] mean(g u))
    W_hhᵀ da,  1 / sqrt(var + eps),  sum_d x[d] / D

`latex` turns one into LaTeX by a table of the few marks that this notation has (x[t, b] and x_t are indices, ' is a prime, ᵀ a
transposition, sum_d a sum over d, a word that is no name stands as text), and the library latex2mathml that into MathML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["Row", "latex", "mathml", "pieces", "rows"]

FUNCTIONS = set(
    "exp log tanh sin cos max min softmax sigmoid softplus argmax mean sign erf sqrt relu gelu dropout norm attn mlp attention "
    "crossattention ln floor LSTM".split()
)
GREEK = {"eps": r"\varepsilon", **{name: rf"\{name}" for name in ("alpha", "beta", "gamma", "lambda", "mu", "eta", "theta")}}
LETTERS = {
    "σ": r"\sigma", "ε": r"\varepsilon", "η": r"\eta", "λ": r"\lambda", "β": r"\beta", "γ": r"\gamma", "μ": r"\mu",
    "φ": r"\varphi", "Φ": r"\Phi", "π": r"\pi", "α": r"\alpha", "∂": r"\partial", "∞": r"\infty", "Δ": r"\Delta",
    "θ": r"\theta", "Σ": r"\Sigma", "δ": r"\delta", "τ": r"\tau",
}  # fmt: skip
OPERATORS = {
    "<=": r"\le ", ">=": r"\ge ", "!=": r"\ne ", "->": r"\to ", "<-": r"\leftarrow ", "←": r"\leftarrow ", "→": r"\to ",
    "·": r"\cdot ", "×": r"\times ", "⊙": r"\odot ", "±": r"\pm ", "∓": r"\mp ", "≤": r"\le ", "≥": r"\ge ", "∈": r"\in ",
    "...": r"\dots ", "…": r"\dots ", "+=": r"\text{ += }", "-=": r"\text{ -= }", "%": r"\bmod ", "//": r"\operatorname{div} ",
    "*": r"\, ", "{": r"\{", "}": r"\}", "&": r"\mathbin{\&} ", "#": r"\# ", "~": r"\sim ", "≈": r"\approx ",
    "⌊": r"\lfloor ", "⌋": r"\rfloor ", "∘": r"\circ ",
}  # fmt: skip
LONG = 40  # characters of a cell that fit beside its code on most screens
POWERS = {"²": "2", "³": "3", "ᵀ": r"\top ", "⁻": "-", "¹": "1", "⁴": "4"}
LETTER, LATER = r"[^\W\d_²³ᵀ⁻¹⁴]", r"[^\W_²³ᵀ⁻¹⁴]"
HYPHENED = r"[a-z]{3,}-[a-z]{3,}"  # cross-entropy: English; a difference has blanks around its sign
TOKEN = re.compile(
    rf"(?P<text>`+[^`]+`+)|(?P<number>0x[0-9A-F]+|\d+(?:,\d{{3}})*(?:\.\d+)?(?:e-?\d+)?)|(?P<name>{HYPHENED}|{LETTER}{LATER}*(?:_{LATER}+)*)"
    r"|(?P<prime>'+)|(?P<power>[²³ᵀ⁻¹⁴]+)|(?P<operator>\.\.\.|<=|>=|!=|->|<-|\+=|-=|//|\*\*)|(?P<space>\s+)|(?P<other>.)"
)


class Row(tuple):
    """One line of a block of formulas: its cells, and the names that it defines."""

    defines: tuple[str, ...]


def rows(block: str) -> list[Row]:
    """The lines of a literal block, each cut into cells where three blanks or more stand."""
    parsed = []
    for line in block.splitlines():
        together = re.sub(r" {2,}(?=(?:[-+]?=|<-|←)(?: |$))", " ", line.rstrip())
        row = Row(cell.strip() for cell in re.split(r" {3,}", together.strip()) if cell.strip())
        row.defines = tuple(name for cell in row for name in _defined(cell))
        parsed.append(row)
    return parsed


def _defined(cell: str) -> list[str]:
    """The names on the left of a cell's equality signs: c of ``c[t] = f c' + i g``, both of ``db_ih = db_hh = ...``."""
    parts = re.split(r"\s(?:[-+]?=|<-|←)\s", cell)[:-1]
    heads = [re.fullmatch(r"([^\W\d]\w*)'?(?:\[[^]]*\])?", part.strip()) for part in parts]
    return [head[1] for head in heads if head]


def pieces(cell: str) -> list[str]:
    """A cell cut where its line may break: a long one before its later equality signs, and before what is added or subtracted.

    Browsers break no line inside of a formula, so that a long one would need a page as wide as itself.
    """
    cuts, depth, equal = [0], 0, False
    for place, sign in enumerate(cell if len(cell) > LONG else ""):
        depth += (sign in "([{") - (sign in ")]}")
        if depth == 0 and cell[place - 1 : place + 2] == f" {sign} ":
            if sign in "+-" or (sign == "=" and equal):
                cuts.append(place)
            equal |= sign == "="
    return [cell[start:stop].strip() for start, stop in zip(cuts, [*cuts[1:], len(cell)], strict=True)]


def latex(cell: str, names: Iterable[str] = ()) -> str:
    """A cell in LaTeX; words that are neither names nor functions stand as text.

    Parameters
    ----------
    cell : str
    names : iterable of str
        Of the arrays and of what the formulas around it define.
    """
    written = _Writer(cell, frozenset(names)).written()
    written = re.sub(r"(\\sum(?:_\{[^}]*\})?|\\text\{[^}]*\})\s*\\, ", r"\1 ", written)  # no product stands there
    return re.sub(r"\\, (?=\\text)", " ", written)


def mathml(cell: str, names: Iterable[str] = ()) -> str | None:
    """A cell as a ``<math>`` element; None for one that is a remark in English."""
    from latex2mathml.converter import convert  # the extra `book`

    written = latex(cell, names)
    words = len(re.findall(r"\w+", " ".join(re.findall(r"\\text\{([^}]*)\}", written))))
    if words and not re.search(r"[-+=<>/^·√∂\[]|sum_", cell) or words > 5 and "=" not in cell:
        return None
    return _joined(convert(written))


def _joined(markup: str) -> str:
    """MathML with names of several letters as one word, functions as words, and the d of a gradient upright."""

    def word(match: re.Match) -> str:
        letters = re.findall(r"<mi[^>]*>(.*?)</mi>", match[0])
        return f'<mi class="word">{"".join(letters)}</mi>'

    markup = re.sub(r'(?:<mi mathvariant="italic">[^<]*</mi>){2,}', word, markup)
    markup = re.sub(r"<mo>([A-Za-z]\w*)</mo>", r"<mi>\1</mi>", markup)
    return markup.replace("<mi>&#x00064;</mi>", '<mi mathvariant="normal">d</mi>')


class _Writer:
    """One pass over the tokens of a cell."""

    def __init__(self, cell: str, names: frozenset[str]):
        self.names = names
        self.tokens = [(match.lastgroup or "", match[0]) for match in TOKEN.finditer(cell)]
        self.place = 0

    def written(self, until: str = "") -> str:
        """LaTeX of the tokens up to a closing bracket, which is left behind."""
        parts: list[str] = []
        while self.place < len(self.tokens):
            kind, text = self.tokens[self.place]
            if text == until:
                self.place += 1
                break
            self.place += 1
            parts.append(self._one(kind, text))
        return "".join(parts)

    def _one(self, kind: str, text: str) -> str:
        if kind == "name":
            return self._name(text)
        if text.startswith("0x"):
            return rf"\mathtt{{{text}}}"
        if kind == "number":
            return text.replace(",", r"{,}") + self._marks()
        if kind == "space":
            return r"\, " if self._between_factors() else " "
        if kind == "text":
            return rf"\mathtt{{{_escaped(text.strip('`'))}}} "
        if text == "√":
            return self._root()
        if text in "([{":
            close = {"(": ")", "[": "]", "{": "}"}[text]
            return f"{OPERATORS.get(text, text)}{self.written(close)}{OPERATORS.get(close, close)}{self._marks()}"
        if text == "^" or text == "**":
            return f"^{{{self._atom()}}}"
        if text == '"':
            return r"\text{''}"
        return OPERATORS.get(text) or (f"{LETTERS[text]} " if text in LETTERS else text)

    def _name(self, text: str) -> str:
        stem, _, index = text.partition("_")
        if stem in ("sum", "max", "min", "mean", "logsumexp") and index and text not in self.names:
            head = r"\sum" if stem == "sum" else rf"\operatorname{{{stem}}}"
            return f"{head}_{{{self._plain(index)}}} "
        if text == "sum" and not self._follows("of", "over"):
            return r"\sum "
        if text in ("sum", "mean") and self._follows("of", "over", "or"):
            return self._text(text)
        if text == "sqrt" and self._next() == "(":
            self.place += 1
            return rf"\sqrt{{{self.written(')')}}}{self._marks()}"
        if text in ("inf", "infinity"):
            return r"\infty "
        if self._is_text(text):
            return self._text(text)
        below = [self._plain(index)] if index else []
        if len(stem) > 2 and len(index) > 2:  # key_mask, ignore_index: one word
            stem, below = text, []
        letters = re.fullmatch(r"([^\W\d_]+?)(\d+)|([A-Z])([a-z])", stem)  # h0, Tk
        if letters and stem not in FUNCTIONS:
            stem, below = letters[1] or letters[3], [letters[2] or letters[4], *below]
        power = self._marks(braces=False)
        if self._next() == "[":
            self.place += 1
            below.append(self.written("]"))
        power += self._marks(braces=False)
        written = self._plain(stem)
        return written + (f"_{{{', '.join(below)}}}" if below else "") + (f"^{{{power}}}" if power else "") + " "

    def _is_text(self, word: str) -> bool:
        """Whether a word of a cell is English."""
        known = self.names | FUNCTIONS | set(GREEK)
        if word in known or len(word) == 1 or "_" in word or self._next() == "[":
            return False
        stem = word[1:] if word[0] == "d" else word
        if stem in known or len(stem) == 1 or re.fullmatch(r"[^\W\d_]\d+|d?[A-Z]\w?", word):
            return False
        return word.replace("-", "").isalpha()

    def _text(self, word: str) -> str:
        if self._next() == "(":
            return rf"\operatorname{{{_escaped(word)}}}"
        words = [word]
        while self.place + 1 < len(self.tokens):
            (space, _), (kind, text) = self.tokens[self.place : self.place + 2]
            if space != "space" or kind != "name" or not (self._word_at(self.place + 1, text)):
                break
            words.append(text)
            self.place += 2
        return rf"\text{{ {_escaped(' '.join(words))} }}"

    def _word_at(self, place: int, text: str) -> bool:
        before, self.place = self.place, place + 1
        try:
            return self._is_text(text)
        finally:
            self.place = before

    def _plain(self, text: str) -> str:
        """A name or index without what hangs on it."""
        if text in GREEK:
            return GREEK[text]
        if len(text) == 1 or text.isdigit():
            return LETTERS.get(text, text)
        if text in FUNCTIONS and (text not in self.names or self._next() == "("):
            return rf"\operatorname{{{text}}}"
        if text[0] in "d∂" and (len(text) == 2 or text[1:] in self.names or text[1:] in GREEK):
            return (r"\mathrm{d}" if text[0] == "d" else r"\partial ") + self._plain(text[1:])
        return rf"\mathit{{{''.join(LETTERS.get(c, _escaped(c)) for c in text)}}}"

    def _root(self) -> str:
        return rf"\sqrt{{{self._atom()}}}"

    def _atom(self) -> str:
        """The next token, or what the next brackets hold."""
        while self._next() == " ":
            self.place += 1
        if self.place >= len(self.tokens):
            return ""
        kind, text = self.tokens[self.place]
        self.place += 1
        if text == "(":
            return self.written(")")
        if text == "-":
            return "-" + self._atom()
        return self._one(kind, text).strip()

    def _marks(self, braces: bool = True) -> str:
        """Primes and powers that follow."""
        power = ""
        while self.place < len(self.tokens) and self.tokens[self.place][0] in ("prime", "power"):
            kind, text = self.tokens[self.place]
            power += r"\prime " * len(text) if kind == "prime" else "".join(POWERS[c] for c in text)
            self.place += 1
        return f"^{{{power}}}" if power and braces else power

    def _between_factors(self) -> bool:
        """Whether the blank that was just read stands between two factors of a product."""
        if self.place < 2 or self.place >= len(self.tokens):
            return False
        (before, left), (after, right) = self.tokens[self.place - 2], self.tokens[self.place]
        ends = before in ("name", "number", "prime", "power") or left in ")]"
        return ends and (after in ("name", "number") or right in "([√∂")

    def _follows(self, *words: str) -> bool:
        return any(text in words for _, text in self.tokens[self.place + 1 : self.place + 2])

    def _next(self) -> str:
        return self.tokens[self.place][1] if self.place < len(self.tokens) else ""


def _escaped(text: str) -> str:
    return re.sub(r"([_%&#{}$])", r"\\\1", text)

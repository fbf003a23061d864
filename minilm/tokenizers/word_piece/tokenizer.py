"""The class `WordPiece`."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from minilm.typing import PathLike

from ..added import AddedToken
from . import hugging_face
from .basic import BasicTokenizer
from .characters import Basic
from .encoding import Cutting
from .learning import Learning
from .pairs import Pairs
from .trie import build

ROLES = ("unk", "cls", "sep", "pad", "mask")


class WordPiece(Pairs, Cutting, Learning):
    """BERT's tokenizer: words are cut into the longest pieces that the vocabulary has.

    Parameters
    ----------
    vocabulary : iterable of str
        The tokens; a token's place is its id. Those that go on in a word begin with `prefix`. An empty str is an id that no
        token has.
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
    added_tokens : iterable of AddedToken
        Tokens of the vocabulary that a text may spell and that are not special, or have other flags; see `AddedToken`. A token
        that is `normalized` is looked for in the text as the basic tokenizer makes it: without accents, in lower case.
    outside : iterable of str
        Those of the special and added tokens that are no pieces: the text spells them, but no word is cut into them.

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

    `encode` adds no special tokens; `encode_pair` and `encode_pairs` make BERT's sequences.

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
        added_tokens: Iterable[AddedToken] = (),
        outside: Iterable[str] = (),
    ) -> None:
        roles = dict(zip(ROLES, (unk_token, cls_token, sep_token, pad_token, mask_token), strict=True))
        vocabulary = tuple(vocabulary)
        known = set(vocabulary)
        for token in vocabulary:
            if not isinstance(token, str):
                raise TypeError(f"vocabulary must hold str, got {token!r}")
        if unk_token is None:
            raise ValueError("unk_token must be a token of the vocabulary: there is always text that no piece spells")
        special = dict.fromkeys(token for token in (*roles.values(), *special_tokens) if token is not None)
        for role, token in roles.items():
            if token is not None and token not in known:
                hint = f" (give {role}_token=None if there is none)" if role != "unk" else ""
                raise ValueError(f"special token {token!r} is not in the vocabulary of {len(vocabulary)} tokens{hint}")
        if max_word_chars < 1:
            raise ValueError(f"max_word_chars must be at least 1, got {max_word_chars!r}")
        super().__init__(vocabulary)
        for role, token in roles.items():
            setattr(self, f"{role}_token", token)
        self.lower, self.strip_accents = bool(lower), strip_accents
        self.split_cjk, self.clean_text = bool(split_cjk), bool(clean_text)
        self.max_word_chars, self.prefix = int(max_word_chars), prefix
        self.clean_up = bool(clean_up)
        accents = self.lower if strip_accents is None else strip_accents
        self._basic = BasicTokenizer(Basic(self.clean_text, self.split_cjk, accents, self.lower), self.max_word_chars)
        self._add(special, added_tokens, self._basic.normalized)
        self.outside = frozenset(outside)
        for token in sorted(self.outside - {each.content for each in self.added_tokens}):
            raise ValueError(f"outside holds {token!r}, which is neither a special nor an added token")

    def __getstate__(self):  # what is made at the first use does not travel to another process
        return {name: value for name, value in self.__dict__.items() if name not in ("_trie", "_spelled", "_written", "_short")}

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

    # Text to ids: see `Cutting`

    @functools.cached_property
    def _trie(self):
        return build(("" if token in self.outside else token for token in self._vocabulary), self.prefix)

    # Ids to text

    def _decode(self, ids, state):
        ids = ids.tolist()
        pieces = [self._spelled[id] for id in ids]
        if state is None:  # nothing stands before the first token, so it is written as it is, prefix and all
            first = next((place for place, id in enumerate(ids) if self._written[id]), None)
            if first is None:
                return "", None
            token = self._written[ids[first]]
            pieces[first] = tidy(token) if self.clean_up else token
        return "".join(pieces), True

    @functools.cached_property
    def _written(self) -> list[str]:
        return self._added.written(self._vocabulary)

    @functools.cached_property
    def _spelled(self) -> list[str]:
        """What each token adds to a text; an id without a token adds nothing."""
        n = len(self.prefix)
        spelled = [token[n:] if token.startswith(self.prefix) else token and f" {token}" for token in self._written]
        return [tidy(each) for each in spelled] if self.clean_up else spelled

    # Files

    @classmethod
    def load(cls, path: PathLike) -> WordPiece:
        """Read a WordPiece tokenizer of Hugging Face's or our own making.

        Parameters
        ----------
        path : str or os.PathLike
            A tokenizer.json, a vocab.txt, or a folder with one of them; what its tokenizer_config.json says of lower-casing,
            accents, ideographs and special tokens then goes before what the tokenizer.json says, as in `transformers`.

        Returns
        -------
        tokenizer : WordPiece

        Raises
        ------
        FileNotFoundError
        ValueError
            Naming the file and what is wrong in it.
        """
        return hugging_face.load(cls, path)

    def save_vocabulary(self, path: PathLike) -> None:
        """Write a vocab.txt: a token a line, the line's number its id.

        Parameters
        ----------
        path : str or os.PathLike
            The file, or a folder, which then gets a vocab.txt.

        Raises
        ------
        OSError
            It cannot be written there.
        ValueError
            The vocabulary does not fit into lines: names the token.
        """
        hugging_face.save_vocabulary(self, path)

    def to_json(self) -> str:
        """The content of the tokenizer's file.

        Returns
        -------
        content : str
            A tokenizer.json as Hugging Face's `tokenizers` reads and writes it.
        """
        return hugging_face.to_json(self)

    def save(self, path: PathLike) -> None:
        """Write the tokenizer to a JSON file, whole or not at all.

        Parameters
        ----------
        path : str or os.PathLike
            The file, or a folder, which then gets a tokenizer.json.

        Raises
        ------
        OSError
            It cannot be written there.
        """
        hugging_face.save(self, path)

    def save_pretrained(self, folder: PathLike) -> None:
        """Write tokenizer.json, vocab.txt and tokenizer_config.json into a folder, as `transformers` reads them.

        Parameters
        ----------
        folder : str or os.PathLike
            Is made if it is not there.

        Raises
        ------
        OSError
            It cannot be written there.
        """
        hugging_face.save_pretrained(self, folder)

    def settings(self) -> dict:
        """The constructor's keyword arguments.

        Returns
        -------
        settings : dict
        """
        roles = {f"{role}_token": getattr(self, f"{role}_token") for role in ROLES}
        known = set(roles.values())
        more = [token for token in self.special_tokens if token not in known]
        names = ("lower", "strip_accents", "split_cjk", "clean_text", "max_word_chars", "prefix", "clean_up")
        tokens = {**roles, "special_tokens": more, "added_tokens": self._added.further(), "outside": sorted(self.outside)}
        return {**{name: getattr(self, name) for name in names}, **tokens}

    def _fields(self):
        return {**self.settings(), "vocabulary": list(self._vocabulary)}

    @classmethod
    def _from_fields(cls, fields, *folder_config):
        return hugging_face.from_fields(cls, fields, *folder_config)


def tidy(text: str) -> str:
    """A decoded token without the blank that English does not set, such as the one before a full stop."""
    for spaced, joined in TIDY:
        text = text.replace(spaced, joined)
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

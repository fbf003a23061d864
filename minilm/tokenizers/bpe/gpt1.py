"""GPT1BPE: the tokenizer of GPT-1, byte-pair encoding of characters, word by word."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from minilm.tokenizers import config_files, files
from minilm.tokenizers.added import AddedToken
from minilm.tokenizers.added.holder import WithAddedTokens
from minilm.tokenizers.added.table import names
from minilm.tokenizers.bpe import hugging_face
from minilm.tokenizers.bpe.vocabulary import merge_ids
from minilm.tokenizers.character import code_points
from minilm.tokenizers.checks import check_text
from minilm.tokenizers.cuts import safe_cut
from minilm.tokenizers.post_processor import PostProcessor, checked, read_post_processor
from minilm.tokenizers.word_piece.basic import BasicTokenizer, after_blanks
from minilm.tokenizers.word_piece.characters import Basic
from minilm.typing import PathLike

SUFFIX = "</w>"
UNKNOWN = "<unk>"


class GPT1BPE(WithAddedTokens):
    """Byte-pair encoding of the characters of lower-cased words, as GPT-1 uses it.

    Parameters
    ----------
    vocabulary : iterable of str
        All tokens in the order of their ids. Those that end a word end in "</w>".
    merges : iterable of (str, str)
        Pairs of tokens, the first to be merged first.
    special_tokens : iterable of str
        Tokens of the vocabulary that a text may spell, `unk_token` among them.
    added_tokens : iterable of AddedToken
        Tokens of the vocabulary that a text may spell and that are not special, or have other flags; see `AddedToken`. A token
        that is `normalized` is looked for in the text as the basic tokenizer makes it: without accents, in lower case.
    unk_token : str
        For characters that the vocabulary lacks, one for each.
    post_processor : PostProcessor, optional
        The tokens that `encode` puts around a text; see `ByteLevelBPE`.

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

    FAMILY = config_files.Family("GPT-1", {"OpenAIGPTTokenizer": {"unk_token": UNKNOWN}})

    def __init__(
        self,
        vocabulary: Iterable[str],
        merges: Iterable[tuple[str, str]],
        *,
        special_tokens: Iterable[str] = (UNKNOWN,),
        added_tokens: Iterable[AddedToken] = (),
        unk_token: str = UNKNOWN,
        post_processor: PostProcessor | None = None,
    ):
        super().__init__(vocabulary)
        self.post_processor = checked(post_processor, self._ids)
        self._basic = BasicTokenizer(Basic())
        special_tokens = names(special_tokens)
        self._add(dict.fromkeys([unk_token, *special_tokens]), added_tokens, self._basic.normalized)
        self.unk_token = unk_token
        self._merges = tuple((left, right) for left, right in merges)
        self._merge_ids = merge_ids(self._merges, self._ids)  # (M, 3)
        # What a token adds to a text, less the blank after it, and whether there is one.
        written = self._added.written(self._vocabulary)
        self._plain = [token.removesuffix(SUFFIX) for token in written]
        self._ends = [len(text) < len(token) for text, token in zip(self._plain, written, strict=True)]
        self._first = _symbols(self._ids, "")
        self._last = _symbols(self._ids, SUFFIX)
        self._table = None

    def __getstate__(self):  # what is made at the first use does not travel to another process
        return {**self.__dict__, "_table": None}

    # Text to ids

    def encode_with_offsets(self, text: str, *, add_special_tokens: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Encode a text, with the place in it that each token comes from.

        Parameters
        ----------
        text : str
        add_special_tokens : bool
            As in `Tokenizer.encode`.

        Returns
        -------
        ids : ndarray, shape (T,), int32
        offsets : ndarray, shape (T, 2), int64
            ``text[begin:end]`` of each token, in code points of the text as it was given; (0, 0) of what `post_processor` adds.

        Raises
        ------
        TypeError
            `text` is not a str.
        ValueError
            It holds a lone surrogate.
        """
        ids, places = self._with_offsets(text)
        return self._joined([ids], add_special_tokens), self._joined([places], add_special_tokens, (0, 0))

    def _with_offsets(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        check_text(text)
        parts, places = [np.empty(0, np.int32)], [np.empty((0, 2), np.int64)]
        codes = code_points(text)  # (N,)
        for begin, end, token in self._added.raw.segments(text):
            if token >= 0:
                parts.append(np.array([token], np.int32))
                places.append(np.array([[begin, end]]))
                continue
            for token, out, size, source, at in self._basic.cut(codes[begin:end], self._added.normalized):
                if token >= 0:
                    parts.append(np.array([token], np.int32))
                    places.append(np.array([[source[0], source[1] + 1]], np.int64) + begin)
                elif size:
                    parts.append(self._merged(out[:size]))
                    lengths = self._lengths[parts[-1]]  # (t,)
                    stops = np.cumsum(lengths)  # (t,): in the characters of the words, without blanks
                    source = source[:size][out[:size] != 0x20].astype(np.int64) + begin + at  # (n,)
                    places.append(np.stack([source[stops - lengths], source[stops - 1] + 1], axis=1))
        return np.concatenate(parts), np.concatenate(places)

    @functools.cached_property
    def _lengths(self) -> np.ndarray:
        """The characters of a word that each token stands for, (V,)."""
        lengths = np.array([max(len(text), 1) for text in self._plain], np.int64)
        lengths[self.unk_token_id] = 1
        return lengths

    def _encode(self, text, start, source):
        codes = code_points(text, start, source)  # (N,)
        parts = [np.empty(0, np.int32)]
        for begin, end, token in self._added.raw.segments(text):
            if token >= 0:
                parts.append(np.array([token], np.int32))
                continue
            for token, out, size, *_ in self._basic.cut(codes[begin:end], self._added.normalized):
                if token >= 0:
                    parts.append(np.array([token], np.int32))
                elif size:
                    parts.append(self._merged(out[:size]))
        return np.concatenate(parts)  # (T,)

    def _merged(self, words: np.ndarray) -> np.ndarray:
        """Ids (T,) of words (N,), a blank between them."""
        from minilm.tokenizers.bpe import pair_ranks
        from minilm.tokenizers.bpe.gpt1_merging import BLANK, merge_words

        if self._table is None:
            self._table = pair_ranks.make_merges(*np.ascontiguousarray(self._merge_ids.T))
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
        return safe_cut(text, after_blanks, lambda part: self._basic.touched(part, self._added), self._added.margin)

    # Ids to text

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
    def from_files(cls, vocabulary: PathLike, merges: PathLike) -> GPT1BPE:
        """Read a vocabulary and merges.

        Parameters
        ----------
        vocabulary : str or os.PathLike
            A vocab.json: a JSON object of tokens and ids.
        merges : str or os.PathLike
            A merges.txt: a line a merge, the first line a comment.

        Returns
        -------
        tokenizer : GPT1BPE

        Raises
        ------
        FileNotFoundError
        ValueError
            Naming the file and what is wrong in it.
        """
        return hugging_face.from_files(cls, vocabulary, merges, (UNKNOWN,))

    @classmethod
    def from_pretrained(cls, folder: PathLike) -> GPT1BPE:
        """Read the tokenizer of a folder: vocab.json and merges.txt, or a tokenizer.json.

        Parameters
        ----------
        folder : str or os.PathLike

        Returns
        -------
        tokenizer : GPT1BPE

        Raises
        ------
        FileNotFoundError
            The folder holds none of these.
        ValueError
            Naming the file and what is wrong in it, or what it is instead.
        """
        return hugging_face.from_folder(cls, folder)

    def save_pretrained(self, folder: PathLike) -> None:
        """Write vocab.json, merges.txt, tokenizer.json and tokenizer_config.json into a folder.

        Parameters
        ----------
        folder : str or os.PathLike
            Is made if it is not there.

        Raises
        ------
        OSError
            It cannot be written there.
        """
        hugging_face.write_folder(self, self._json(), folder, unk_token=self.unk_token)

    def _json(self) -> dict:
        basic = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
        cutting = {
            "normalizer": {"type": "BertNormalizer", **basic},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": None if self.post_processor is None else dict(self.post_processor.section),
            "decoder": {"type": "BPEDecoder", "suffix": SUFFIX},
        }
        model = {"unk_token": self.unk_token, "continuing_subword_prefix": "", "end_of_word_suffix": SUFFIX}
        return hugging_face.tokenizer_json(self, cutting, **model)

    def to_json(self) -> str:
        """The content of the tokenizer's file.

        Returns
        -------
        content : str
            A tokenizer.json as Hugging Face's `tokenizers` reads and writes it.
        """
        return hugging_face.to_json(self._json())

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
        files.write_atomically(files.file_in(path), self.to_json().encode("utf-8"))

    @classmethod
    def load(cls, path: PathLike) -> GPT1BPE:
        """Read a tokenizer.json, or a folder as `from_pretrained` does.

        Parameters
        ----------
        path : str or os.PathLike
            The file or the folder.

        Returns
        -------
        tokenizer : GPT1BPE

        Raises
        ------
        FileNotFoundError
        ValueError
            Naming the file and what is wrong in it, or what it is instead.
        """
        return hugging_face.load(cls, path)

    def _fields(self):
        added = {"special_tokens": self.special_tokens, "added_tokens": self._added.further()}
        added["post_processor"] = self.post_processor
        return {"unk_token": self.unk_token, **added, "vocabulary": self._vocabulary, "merges": self._merges}

    @classmethod
    def _from_fields(cls, fields, folder_config=config_files.NOTHING):
        basic = hugging_face.part(fields, "normalizer", "BertNormalizer", "GPT-1's")
        for name, allowed in (("clean_text", (True,)), ("handle_chinese_chars", (True,)), ("strip_accents", (None, True))):
            if basic.get(name, allowed[0]) not in allowed or basic.get("lowercase", True) is not True:
                raise ValueError(f"normalizer must be BERT's with all its steps, as in GPT-1's tokenizer, got {basic}")
        hugging_face.part(fields, "pre_tokenizer", "BertPreTokenizer", "GPT-1's")
        unknown = files.field(files.field(fields, "model", dict), "unk_token", str)
        parts = hugging_face.model_parts(fields, (SUFFIX,))
        hugging_face.want(fields["model"].get("ignore_merges", False), (False,), "ignore_merges of model")
        if fields.get("decoder") is not None:
            decoder = hugging_face.part(fields, "decoder", "BPEDecoder", "GPT-1's")
            hugging_face.want(decoder.get("suffix", SUFFIX), (SUFFIX,), "suffix of decoder")
        settings = {"unk_token": unknown, "post_processor": read_post_processor(fields)}
        return hugging_face.from_parts(cls, *parts, folder_config, **settings)

    @classmethod
    def like(cls, merges: Iterable[tuple[str, str]]) -> type:
        """The class of tokenizer that these merges are of: this one."""
        return cls

    @staticmethod
    def roles(tokens: dict[str, str | None]) -> dict:
        """The constructor's arguments for the tokens that files name for roles."""
        return {"unk_token": tokens["unk_token"]} if tokens.get("unk_token") else {}

    @staticmethod
    def is_symbol(token: str) -> bool:
        """Whether a token is a single character, which needs no merge."""
        return len(token.removesuffix(SUFFIX)) <= 1

    # Training

    @classmethod
    def train_from_chunks(cls, chunks: str | Iterable[str], **options: Any) -> GPT1BPE:
        """GPT1BPE is there to load; what trains is `ByteLevelBPE`.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError("GPT1BPE loads a vocabulary and does not train one: train a ByteLevelBPE")

    @classmethod
    def _train(cls, texts, source, **options):
        return cls.train_from_chunks(texts)


def _symbols(ids: dict[str, int], suffix: str) -> tuple[np.ndarray, np.ndarray]:
    """Characters that with `suffix` are tokens, (C,), sorted, and the ids of these, (C,); with one that is in no text."""
    symbols = {-1: 0}
    for token, id in ids.items():
        if token.endswith(suffix) and len(token) == len(suffix) + 1:
            symbols[ord(token[0])] = id
    codes = np.array(sorted(symbols), np.int64)  # (C,)
    return codes, np.array([symbols[code] for code in codes.tolist()], np.int64)

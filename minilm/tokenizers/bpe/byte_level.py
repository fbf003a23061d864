"""ByteLevelBPE: GPT-2's tokenizer, byte-pair encoding of UTF-8."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import ArrayLike

from minilm.tokenizers import config_files, files
from minilm.tokenizers.added import AddedToken, AddedTokens
from minilm.tokenizers.added.holder import WithAddedTokens
from minilm.tokenizers.added.table import names
from minilm.tokenizers.base import check_ids, check_text, several
from minilm.tokenizers.bpe import alphabet, hugging_face, special
from minilm.tokenizers.bpe.hugging_face import END_OF_TEXT
from minilm.tokenizers.bpe.vocabulary import MOST_IDS, merge_ids
from minilm.tokenizers.character import place
from minilm.tokenizers.cuts import safe_cut
from minilm.typing import PathLike

GPT2 = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
ROBERTA = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
ROBERTAS = ("RobertaTokenizer", "BartTokenizer", "LongformerTokenizer", "LEDTokenizer")


class ByteLevelBPE(WithAddedTokens):
    r"""Byte-pair encoding of UTF-8, as GPT-2 and GPT-3 use it: every text has ids, and none is unknown.

    Parameters
    ----------
    vocabulary : iterable of str
        All tokens in the order of their ids, written in GPT-2's byte alphabet (" the" is "\u0120the"), special ones as they
        are. All single bytes must be among them, but for the 13 that UTF-8 never has (C0, C1, F5 ... FF).
    merges : iterable of (str, str)
        Pairs of tokens, the first to be merged first.
    special_tokens : iterable of str
        Those of the vocabulary that stand for something other than their spelling.
    added_tokens : iterable of AddedToken
        Tokens of the vocabulary that a text may spell and that are not special, or have other flags; see `AddedToken`.
    eos_token : str, optional
        The special token that ends a text: "<|endoftext|>", or the only one if there is only one, where nothing is given.

    Notes
    -----
    A text is cut at the added tokens in it, special ones and others, then by GPT-2's pattern into pieces (see `bpe.pieces`), and
    the bytes of every piece are merged on their own, the pair of lowest rank first (`bpe.merging`). Nothing is normalised and
    nothing lost: ``decode(encode(text)) == text`` for every text, but for the white space that an added token takes in (`lstrip`,
    `rstrip`). Lone surrogates are no text: UTF-8 has no bytes for them.

    Special tokens that stand in a text are encoded as such, which is what Hugging Face's tokenizers do; tiktoken refuses them
    unless told. `encode` takes tiktoken's two arguments to choose: texts from others want ``disallowed_special="all"`` together
    with ``allowed_special=()`` (an error), or ``allowed_special=()`` alone (their spelling, as any other text).

    Ids that cut a character in two, which `encode` gives for rare ones and models make by mistake, decode to U+FFFD where no
    character comes of them; a `DecodeStream` waits for the rest.

    Speed: see `bpe.encoding`, whose tables of recent pieces take 5 MB a thread and never grow.

    References
    ----------
    A. Radford et al., Language models are unsupervised multitask learners, 2019, section 2.2.
    R. Sennrich, B. Haddow, A. Birch, Neural machine translation of rare words with subword units, ACL 2016.
    """

    FAMILY = config_files.Family(
        "GPT-2", dict.fromkeys(("GPT2Tokenizer", "CodeGenTokenizer"), GPT2) | dict.fromkeys(ROBERTAS, ROBERTA)
    )
    USUAL_SIZE = 4096  # of a vocabulary that is trained without a size

    def __init__(
        self,
        vocabulary: Iterable[str],
        merges: Iterable[tuple[str, str]],
        *,
        special_tokens: Iterable[str] = (END_OF_TEXT,),
        added_tokens: Iterable[AddedToken] = (),
        eos_token: str | None = None,
    ):
        super().__init__(vocabulary)
        self._add(special_tokens, added_tokens)
        if eos_token is not None and eos_token not in self._added:
            raise ValueError(f"eos_token must be a special token, got {eos_token!r}")
        only = self.special_tokens[0] if len(self.special_tokens) == 1 else None
        self.eos_token = eos_token or (END_OF_TEXT if END_OF_TEXT in self._added else only)
        for byte, character in enumerate(alphabet.characters()):
            if character not in self._ids and byte not in alphabet.NEVER:
                raise ValueError(
                    f"the vocabulary lacks byte 0x{byte:02x}, {character!r}: without all that UTF-8 has some texts have no ids"
                )
        self._merges = tuple((left, right) for left, right in merges)
        self._merge_ids = merge_ids(self._merges, self._ids)  # (M, 3): left, right, both
        self._bytes = self._contents()  # V
        self._tables = None
        self._states: list = []  # of threads that are not encoding now

    def _contents(self) -> list[bytes]:
        """What every token stands for. An added token stands for its spelling, unless it is a byte or merges make it of bytes."""
        composed = {*self._merge_ids[:, 2].tolist(), *map(self._ids.get, alphabet.characters())}
        spelled = {token.id for token in self._added.tokens if token.id not in composed}
        contents = []
        for id, token in enumerate(self._vocabulary):
            content = token.encode("utf-8") if id in spelled else alphabet.unspelled(token)
            if not content:
                raise ValueError(f"token {token!r} is neither added nor written in GPT-2's byte alphabet")
            contents.append(content)
        return contents

    # Text to ids

    def encode(
        self, text: str, *, allowed_special: str | Collection[str] = special.ALL, disallowed_special: str | Collection[str] = ()
    ) -> np.ndarray:
        """Encode a text.

        Parameters
        ----------
        text : str
        allowed_special : "all" or collection of str
            Special tokens that become their own id where the text spells them.
        disallowed_special : "all" or collection of str
            Special tokens whose spelling in the text is an error; "all" means all that are not allowed. What is in neither is
            encoded as ordinary text.

        Returns
        -------
        ids : ndarray, shape (T,), int32

        Raises
        ------
        TypeError
            `text` is not a str.
        ValueError
            The text holds a lone surrogate or a disallowed special token (named with its position); or an argument names a token
            that is not special.
        """
        check_text(text)
        return self._encode(text, 0, "", self._choice(text, allowed_special, disallowed_special))  # (T,)

    def encode_batch(
        self,
        texts: Iterable[str],
        *,
        allowed_special: str | Collection[str] = special.ALL,
        disallowed_special: str | Collection[str] = (),
        threads: int = 1,
    ) -> list[np.ndarray]:
        """Encode several texts, each on its own: a list of arrays (T_i,), int32. The loops of `threads` texts run at a time."""
        texts = several(texts)
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise ValueError(f"threads must be a whole number of at least 1, got {threads!r}")
        options = {"allowed_special": allowed_special, "disallowed_special": disallowed_special}
        if threads == 1 or len(texts) < 2:
            return [self.encode(text, **options) for text in texts]
        from concurrent.futures import ThreadPoolExecutor

        size = -(-len(texts) // (4 * threads))  # a few parts a thread, so that none waits long for the last one
        parts = [texts[start : start + size] for start in range(0, len(texts), size)]
        self._prepare()
        with ThreadPoolExecutor(threads) as pool:
            return [ids for part in pool.map(lambda part: [self.encode(text, **options) for text in part], parts) for ids in part]

    def encode_with_offsets(
        self, text: str, *, allowed_special: str | Collection[str] = special.ALL, disallowed_special: str | Collection[str] = ()
    ) -> tuple[np.ndarray, np.ndarray]:
        """Encode a text, and tell which characters every id stands for.

        Returns
        -------
        ids : ndarray, shape (T,), int32
        offsets : ndarray, shape (T, 2), int64
            Id t stands for ``text[offsets[t, 0] : offsets[t, 1]]``. Ids that share a character, each with some of its bytes, all
            have that whole character, as in Hugging Face's tokenizers.
        """
        check_text(text)
        parts, offsets = [np.empty(0, np.int32)], [np.empty((0, 2), np.int64)]
        for begin, end, added, ids in self._parts(text, 0, "", self._choice(text, allowed_special, disallowed_special)):
            parts.append(ids)
            if added:
                offsets.append(np.array([[begin, end]]))
                continue
            content = np.frombuffer(text[begin:end].encode("utf-8"), np.uint8)  # (N,)
            character = np.cumsum((content & 0xC0) != 0x80) - 1 + begin  # (N,): which one a byte belongs to
            lengths = np.fromiter((len(self._bytes[id]) for id in ids.tolist()), np.int64, count=ids.size)  # (t,)
            stops = np.cumsum(lengths)  # (t,)
            offsets.append(np.stack([character[stops - lengths], character[stops - 1] + 1], axis=1))
        return np.concatenate(parts), np.concatenate(offsets)

    def _choice(self, text: str, allowed_special, disallowed_special) -> AddedTokens:
        """The added tokens to look for in a text; ValueError for a special one that must not be there."""
        if allowed_special == special.ALL and not disallowed_special:
            return self._added
        allowed = special.chosen("allowed_special", allowed_special, self.special_tokens)
        disallowed = special.chosen("disallowed_special", disallowed_special, self.special_tokens)
        for token in sorted(disallowed - allowed if disallowed_special == special.ALL else disallowed):
            at = text.find(token)
            if at >= 0:
                raise ValueError(
                    f"character {at}: the text holds the special token {token!r}, which disallowed_special names; "
                    "allowed_special encodes it as that token, and a token in neither is encoded as ordinary text"
                )
        return self._added.allowing(allowed)

    def _encode(self, text, start, source, added=None):
        parts = [part[-1] for part in self._parts(text, start, source, self._added if added is None else added)]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.int32), *parts])  # (T,)

    def _parts(self, text, start, source, added: AddedTokens):
        """Of every stretch of a text begin, end, whether it is an added token, and ids (t,)."""
        from minilm.tokenizers.bpe import encoding, pieces

        tables = self._prepare()
        for begin, end, id in added.segments(text):
            if id >= 0:
                yield begin, end, True, np.array([id], np.int32)
            elif begin < end:
                stretch = text if end - begin == len(text) else text[begin:end]
                try:
                    content, size = pieces.padded(stretch)  # (N + PADDING,)
                except UnicodeEncodeError as error:
                    raise ValueError(
                        f"{place(source, start + begin + error.start)}: lone surrogate U+{ord(stretch[error.start]):04X}, which "
                        'is half of a character; read the file as UTF-8 with errors="replace"'
                    ) from None
                try:
                    state = self._states.pop()
                except IndexError:
                    state = encoding.make_state()
                ids = encoding.encode_all(content, size, tables, state)  # (t,)
                self._states.append(state)
                yield begin, end, False, ids

    def _prepare(self):
        """The tables that encoding reads, made at the first use."""
        if self._tables is None:
            from minilm.tokenizers.bpe import encoding, patterns

            byte_ids = np.array([self._ids.get(character, -1) for character in alphabet.characters()], np.int32)  # (256,)
            self._tables = encoding.make_tables((patterns.GPT2,), byte_ids, self._merge_ids, self._bytes)
        return self._tables

    def _safe_cut(self, text):
        from minilm.tokenizers.bpe.cuts import between_pieces

        return safe_cut(text, between_pieces, self._added.touched, self._added.margin)

    # Ids to text

    def decode_bytes(self, ids: ArrayLike) -> bytes:
        """The bytes of ids, which need not be whole characters."""
        return b"".join(map(self._bytes.__getitem__, check_ids(ids, self.vocab_size).tolist()))

    def _decode(self, ids, state):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        decoder.setstate((state or b"", 0))  # bytes of a character whose others are still to come
        text = decoder.decode(b"".join(map(self._bytes.__getitem__, ids.tolist())))
        return text, decoder.getstate()[0]

    def _flush(self, state):
        return (state or b"").decode("utf-8", "replace")

    # Files

    @property
    def merges(self) -> tuple[tuple[str, str], ...]:
        """The pairs of tokens that are merged, first to last."""
        return self._merges

    @classmethod
    def from_files(cls, vocabulary: PathLike, merges: PathLike, *, special_tokens: Iterable[str] | None = None) -> ByteLevelBPE:
        """Read a vocabulary and merges as GPT-2 and Hugging Face keep them.

        Parameters
        ----------
        vocabulary : path
            encoder.json or vocab.json: a JSON object of tokens and ids.
        merges : path
            vocab.bpe or merges.txt: a line a merge, the first line a comment.
        special_tokens : iterable of str, optional
            Those of the vocabulary that are special; if None, "<|endoftext|>" where the vocabulary has it.

        Raises
        ------
        FileNotFoundError
        ValueError
            Naming the file and what is wrong in it.
        """
        if special_tokens is None:
            special_tokens = [END_OF_TEXT] if END_OF_TEXT in hugging_face.read_vocabulary(vocabulary) else []
        return hugging_face.from_files(cls, vocabulary, merges, names(special_tokens))

    @classmethod
    def from_pretrained(cls, folder: PathLike) -> ByteLevelBPE:
        """Read the tokenizer of a folder: vocab.json and merges.txt, encoder.json and vocab.bpe, or a tokenizer.json.

        A tokenizer.json must describe a byte-level BPE with GPT-2's pattern. Where one lies beside the others it names the
        special tokens.

        Raises
        ------
        FileNotFoundError
            The folder holds none of these.
        ValueError
            Naming the file and what is wrong in it, or what it is instead.
        """
        return hugging_face.from_folder(cls, folder)

    def save_pretrained(self, folder: PathLike) -> None:
        """Write vocab.json, merges.txt, tokenizer.json and tokenizer_config.json as Hugging Face's libraries do into a folder."""
        roles = {**dict.fromkeys(GPT2), "eos_token": self.eos_token}  # those not said would be GPT-2's
        hugging_face.write_folder(self, hugging_face.byte_level_json(self), folder, **roles)

    def to_json(self) -> str:
        """The content of the tokenizer's file: a tokenizer.json as Hugging Face's `tokenizers` reads and writes it."""
        return hugging_face.to_json(hugging_face.byte_level_json(self))

    def save(self, path: PathLike) -> None:
        """Write the tokenizer to a JSON file (or as tokenizer.json into the folder `path`), whole or not at all."""
        files.write_atomically(files.file_in(path), self.to_json().encode("utf-8"))

    @classmethod
    def load(cls, path: PathLike) -> ByteLevelBPE:
        """Read a tokenizer.json, or a folder as `from_pretrained` does."""
        return hugging_face.load(cls, path)

    def _fields(self):
        added = {"special_tokens": self.special_tokens, "added_tokens": self._added.further(), "eos_token": self.eos_token}
        return {**added, "vocabulary": self._vocabulary, "merges": self._merges}

    @classmethod
    def _from_fields(cls, fields, folder_config=config_files.NOTHING):
        return hugging_face.from_parts(cls, *hugging_face.byte_level_parts(fields), folder_config)

    @classmethod
    def like(cls, merges: Iterable[tuple[str, str]]) -> type:
        """The class of tokenizer that these merges are of: this one."""
        return cls

    @staticmethod
    def roles(tokens: dict[str, str | None]) -> dict:
        """The constructor's arguments for the tokens that files name for roles."""
        return {"eos_token": tokens.get("eos_token")}

    @staticmethod
    def is_symbol(token: str) -> bool:
        """Whether a token is a single byte, which needs no merge."""
        return len(token) == 1

    # Training

    @classmethod
    def train(
        cls,
        paths: PathLike | Iterable[PathLike],
        *,
        errors: str = "strict",
        vocab_size: int,
        min_frequency: int = 2,
        special_tokens: Iterable[str] = (END_OF_TEXT,),
        progress: bool | None = False,
    ) -> ByteLevelBPE:
        """`train_from_chunks` of the text of files, read in chunks; see `minilm.tokenizers.Tokenizer.train`."""
        return super().train(
            paths,
            errors=errors,
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            special_tokens=special_tokens,
            progress=progress,
        )

    @classmethod
    def train_from_chunks(
        cls,
        chunks: str | Iterable[str],
        *,
        vocab_size: int,
        min_frequency: int = 2,
        special_tokens: Iterable[str] = (END_OF_TEXT,),
        progress: bool | None = False,
    ) -> ByteLevelBPE:
        """Learn the merges of a text.

        Parameters
        ----------
        chunks : str or iterable of str
            One text, or its pieces in order.
        vocab_size : int
            Ids in all: special tokens, 256 bytes and merges. A text may give fewer merges than there is room for.
        min_frequency : int
            Pairs that occur less often are not merged.
        special_tokens : iterable of str
            Get the first ids. In the text they are nothing special: the merges are learnt from all of it.
        progress : bool or None
            Whether to show a bar; None: if standard error is a terminal.

        Notes
        -----
        The merges and ids are those of Hugging Face's BpeTrainer with a ByteLevel pre-tokenizer, see `bpe.training`.
        """
        options = {"vocab_size": vocab_size, "min_frequency": min_frequency, "special_tokens": special_tokens}
        return cls._train([chunks], "text", progress=progress, **options)

    @classmethod
    def _train(cls, texts, source, *, vocab_size, min_frequency=2, special_tokens=(END_OF_TEXT,), progress=False):
        from minilm.tokenizers.bpe import training

        special_tokens = names(special_tokens)
        for token in special_tokens:
            if token in alphabet.characters():
                raise ValueError(f"special token {token!r} is also how a byte is written")
        least = 256 + len(special_tokens)
        for name, value, low in (("vocab_size", vocab_size, least), ("min_frequency", min_frequency, 0)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise TypeError(f"{name} must be a whole number, got {value!r}")
            if not low <= value <= MOST_IDS:
                what = f" (256 bytes and {len(special_tokens)} special tokens)" if name == "vocab_size" else ""
                raise ValueError(f"{name} must be in {low} ... {MOST_IDS}{what}, got {value}")
        vocabulary, merges = training.train(texts, source, int(vocab_size), int(min_frequency), special_tokens, progress)
        return cls(vocabulary, merges, special_tokens=special_tokens)

    def __getstate__(self):  # neither tables nor what threads write to travels to another process
        return {**self.__dict__, "_tables": None, "_states": []}

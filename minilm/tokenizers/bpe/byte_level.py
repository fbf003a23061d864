"""ByteLevelBPE: GPT-2's tokenizer, byte-pair encoding of UTF-8."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import ArrayLike

from minilm.tokenizers import config_files
from minilm.tokenizers.added import AddedToken, AddedTokens
from minilm.tokenizers.bpe import alphabet, encoder, special
from minilm.tokenizers.bpe import vocabulary as vocabularies
from minilm.tokenizers.bpe.byte_level_files import ByteLevelFiles
from minilm.tokenizers.bpe.byte_level_training import ByteLevelTraining
from minilm.tokenizers.bpe.hugging_face import END_OF_TEXT
from minilm.tokenizers.character import place
from minilm.tokenizers.checks import check_ids, check_text, several
from minilm.tokenizers.post_processor import PostProcessor, checked

GPT2 = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
ROBERTA = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
QWEN2 = dict.fromkeys(("eos_token", "unk_token", "pad_token"), END_OF_TEXT)


class ByteLevelBPE(ByteLevelFiles, ByteLevelTraining):
    r"""Byte-pair encoding of UTF-8, as GPT-2 and most models since use it: every text has ids, and none is unknown.

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
    pattern : str or iterable of str
        How a text is cut into the pieces that merges never cross: "gpt2", "cl100k" (Llama 3 too), "o200k", "qwen2", "smollm" or
        another name of `bpe.patterns.NAMED`, a regular expression (see `bpe.patterns.syntax`), or several, applied in turn.
    normalizer : {None, "NFC"}
        What is done to a text before: nothing, or characters and the marks on them become one where Unicode has one for both.
    ignore_merges : bool
        Whether a piece that is a token is that token, whatever the merges make of it.
    post_processor : PostProcessor, optional
        The tokens that `encode` puts around a text, as the section of this name in a tokenizer.json says; None: none.

    Notes
    -----
    A text is cut at the added tokens in it, special ones and others, then by the pattern into pieces (see `bpe.patterns`), and
    the bytes of every piece are merged on their own, the pair of lowest rank first (`bpe.merging`). Nothing is lost:
    ``decode(encode(text)) == text`` for every text, but for what a normalizer changes and the white space that an added token
    takes in (`lstrip`, `rstrip`). Lone surrogates are no text: UTF-8 has no bytes for them.

    Special tokens that stand in a text are encoded as such, which is what Hugging Face's tokenizers do; tiktoken refuses them
    unless told. `encode` takes tiktoken's two arguments to choose: texts from others want ``disallowed_special="all"`` together
    with ``allowed_special=()`` (an error), or ``allowed_special=()`` alone (their spelling, as any other text).

    Ids that cut a character in two, which `encode` gives for rare ones and models make by mistake, decode to U+FFFD where no
    character comes of them; a `DecodeStream` waits for the rest.

    Speed: see `bpe.encoding`. The tables of recent pieces (`bpe.state`) take 12 MB a thread at most. What a large vocabulary is
    looked up in is made once and kept in the cache folder (`bpe.table_files`).

    References
    ----------
    A. Radford et al., Language models are unsupervised multitask learners, 2019, section 2.2.
    R. Sennrich, B. Haddow, A. Birch, Neural machine translation of rare words with subword units, ACL 2016.
    """

    FAMILY = config_files.Family(
        "GPT-2",
        dict.fromkeys(("GPT2Tokenizer", "CodeGenTokenizer"), GPT2)
        | dict.fromkeys(config_files.ROBERTAS, ROBERTA)
        | {"Qwen2Tokenizer": QWEN2},
        cut={"Qwen2Tokenizer": {"pattern": "qwen2", "normalizer": encoder.NFC}},
    )

    def __init__(
        self,
        vocabulary: Iterable[str],
        merges: Iterable[tuple[str, str]],
        *,
        special_tokens: Iterable[str] = (END_OF_TEXT,),
        added_tokens: Iterable[AddedToken] = (),
        eos_token: str | None = None,
        pattern: str | Iterable[str] = "gpt2",
        normalizer: str | None = None,
        ignore_merges: bool = False,
        post_processor: PostProcessor | None = None,
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
        self.pattern = encoder.checked(pattern, normalizer)
        self.normalizer, self.ignore_merges = normalizer, bool(ignore_merges)
        self.post_processor = checked(post_processor, self._ids)
        changed = [token.content for token in self._added.tokens if token.normalized and not token.content.isascii()]
        if normalizer and changed:
            raise ValueError(
                f"added token {changed[0]!r} is looked for in the normalised text, which goes with no normalizer here"
            )
        merge_ids = vocabularies.merge_ids(self._merges, self._ids)  # (M, 3): left, right, both
        self._bytes = vocabularies.contents(self._vocabulary, self._ids, merge_ids, self._added.tokens)  # V
        spelled = {token.id for token in self._added.tokens} - set(merge_ids[:, 2].tolist())
        merged = [b"" if id in spelled else content for id, content in enumerate(self._bytes)]  # V
        self._encoder = encoder.Encoder(self.pattern, normalizer, self._ids, merge_ids, merged, self.ignore_merges)

    @property
    def merges(self) -> tuple[tuple[str, str], ...]:
        """The pairs of tokens that are merged, first to last."""
        return self._merges

    # Text to ids

    def encode(
        self,
        text: str,
        pair: str | None = None,
        *,
        add_special_tokens: bool = True,
        allowed_special: str | Collection[str] = special.ALL,
        disallowed_special: str | Collection[str] = (),
    ) -> np.ndarray:
        """Encode a text, or two.

        Parameters
        ----------
        text : str
        pair : str, optional
        add_special_tokens : bool
            Put around them what `post_processor` says; see `Tokenizer.encode`.
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
        if pair is None and allowed_special == special.ALL and not disallowed_special:  # the usual case, without a list
            check_text(text)
            ids = self._encode(text, 0, "")  # (T,)
            return ids if self.post_processor is None else self._joined([ids], add_special_tokens)
        parts = []
        for each in (text,) if pair is None else (text, pair):
            check_text(each)
            added = special.choice(each, self._added, self.special_tokens, allowed_special, disallowed_special)
            parts.append(self._encode(each, 0, "", added))
        return self._joined(parts, add_special_tokens)  # (T,)

    def encode_batch(
        self,
        texts: Iterable[str],
        *,
        allowed_special: str | Collection[str] = special.ALL,
        disallowed_special: str | Collection[str] = (),
        threads: int = 1,
        add_special_tokens: bool = True,
    ) -> list[np.ndarray]:
        """Encode several texts, each on its own.

        Parameters
        ----------
        texts : iterable of B str
        allowed_special, disallowed_special, add_special_tokens
            As in `encode`.
        threads : int
            How many texts are encoded at a time.

        Returns
        -------
        ids : list of B ndarrays, shape (T_i,), int32

        Raises
        ------
        TypeError
            `texts` is one str, or holds something else than str.
        ValueError
            `threads` is less than one, or as of `encode`.
        """
        texts = several(texts)
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise ValueError(f"threads must be a whole number of at least 1, got {threads!r}")
        options = {"allowed_special": allowed_special, "disallowed_special": disallowed_special}
        options["add_special_tokens"] = add_special_tokens
        if threads == 1 or len(texts) < 2:
            return [self.encode(text, **options) for text in texts]
        from concurrent.futures import ThreadPoolExecutor

        size = -(-len(texts) // (4 * threads))  # a few parts a thread, so that none waits long for the last one
        parts = [texts[start : start + size] for start in range(0, len(texts), size)]
        self._encoder.loops  # noqa: B018  made once, before the threads begin
        with ThreadPoolExecutor(threads) as pool:
            return [ids for part in pool.map(lambda part: [self.encode(text, **options) for text in part], parts) for ids in part]

    def encode_with_offsets(
        self,
        text: str,
        *,
        add_special_tokens: bool = True,
        allowed_special: str | Collection[str] = special.ALL,
        disallowed_special: str | Collection[str] = (),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Encode a text, and tell which characters every id stands for.

        Parameters
        ----------
        text : str
        add_special_tokens, allowed_special, disallowed_special
            As in `encode`.

        Returns
        -------
        ids : ndarray, shape (T,), int32
        offsets : ndarray, shape (T, 2), int64
            Id t stands for ``text[offsets[t, 0] : offsets[t, 1]]``. Ids that share a character, each with some of its bytes, all
            have that whole character, as in Hugging Face's tokenizers. What `post_processor` adds has (0, 0).

        Raises
        ------
        TypeError
            `text` is not a str.
        ValueError
            As of `encode`, or `normalizer` changes the text.
        """
        ids, offsets = self._with_offsets(text, allowed_special, disallowed_special)
        if self.post_processor is not None:
            offsets = self.post_processor.trimmed(offsets, [self._vocabulary[id] for id in ids.tolist()])
        return self._joined([ids], add_special_tokens), self._joined([offsets], add_special_tokens, (0, 0))

    def _with_offsets(self, text, allowed_special, disallowed_special):
        """Ids (T,) and offsets (T, 2) of a text alone."""
        check_text(text)
        parts, offsets = [np.empty(0, np.int32)], [np.empty((0, 2), np.int64)]
        for begin, end, added, ids in self._parts(
            text, 0, "", special.choice(text, self._added, self.special_tokens, allowed_special, disallowed_special)
        ):
            parts.append(ids)
            if added:
                offsets.append(np.array([[begin, end]]))
                continue
            if self._encoder.normalized(text[begin:end]) != text[begin:end]:
                raise ValueError(f"offsets are of a text in {self.normalizer}, which this one is not: normalise it first")
            content = np.frombuffer(text[begin:end].encode("utf-8"), np.uint8)  # (N,)
            character = np.cumsum((content & 0xC0) != 0x80) - 1 + begin  # (N,): which one a byte belongs to
            lengths = np.fromiter((len(self._bytes[id]) for id in ids.tolist()), np.int64, count=ids.size)  # (t,)
            stops = np.cumsum(lengths)  # (t,)
            offsets.append(np.stack([character[stops - lengths], character[stops - 1] + 1], axis=1))
        return np.concatenate(parts), np.concatenate(offsets)

    def _encode(self, text, start, source, added=None):
        added = self._added if added is None else added
        if not added.may_occur(text):  # as of most sentences, for which the long way takes longer than the merges
            try:
                return self._encoder.encode(text)
            except UnicodeEncodeError:
                pass  # the long way says where
        parts = [part[-1] for part in self._parts(text, start, source, added)]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.int32), *parts])  # (T,)

    def _parts(self, text, start, source, added: AddedTokens):
        """Of every stretch of a text begin, end, whether it is an added token, and ids (t,)."""
        for begin, end, id in added.segments(text):
            if id >= 0:
                yield begin, end, True, np.array([id], np.int32)
            elif begin < end:
                stretch = text if end - begin == len(text) else text[begin:end]
                try:
                    yield begin, end, False, self._encoder.encode(stretch)
                except UnicodeEncodeError:
                    lone = next(i for i, character in enumerate(stretch) if 0xD800 <= ord(character) < 0xE000)
                    raise ValueError(
                        f"{place(source, start + begin + lone)}: lone surrogate U+{ord(stretch[lone]):04X}, which "
                        'is half of a character; read the file as UTF-8 with errors="replace"'
                    ) from None

    def _safe_cut(self, text):
        return self._encoder.safe_cut(text, self._added)

    # Ids to text

    def decode_bytes(self, ids: ArrayLike) -> bytes:
        """The bytes that ids stand for.

        Parameters
        ----------
        ids : array_like of int, shape (T,) or ()

        Returns
        -------
        content : bytes
            Not always whole characters: an id may stand for some bytes of one.

        Raises
        ------
        TypeError, ValueError
            As of `decode`.
        """
        return b"".join(map(self._bytes.__getitem__, check_ids(ids, self.vocab_size).tolist()))

    def _decode(self, ids, state):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        decoder.setstate((state or b"", 0))  # bytes of a character whose others are still to come
        text = decoder.decode(b"".join(map(self._bytes.__getitem__, ids.tolist())))
        return text, decoder.getstate()[0]

    def _flush(self, state):
        return (state or b"").decode("utf-8", "replace")

"""The files of a `ByteLevelBPE`: those of Hugging Face's libraries, tiktoken's ranks, and the vocabulary in a GGUF's metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from minilm.tokenizers import config_files, files
from minilm.tokenizers.added.holder import WithAddedTokens
from minilm.tokenizers.added.table import names
from minilm.tokenizers.bpe import components, gguf, hugging_face, patterns, tiktoken_files
from minilm.tokenizers.bpe.hugging_face import END_OF_TEXT
from minilm.typing import PathLike

if TYPE_CHECKING:
    from typing_extensions import Self


class ByteLevelFiles(WithAddedTokens):
    """Reading and writing of `ByteLevelBPE`."""

    @classmethod
    def from_files(cls, vocabulary: PathLike, merges: PathLike, *, special_tokens: Iterable[str] | None = None) -> Self:
        """Read a vocabulary and merges as GPT-2 and Hugging Face keep them.

        Parameters
        ----------
        vocabulary : path
            encoder.json or vocab.json: a JSON object of tokens and ids.
        merges : path
            vocab.bpe or merges.txt: a line a merge, the first line a comment.
        special_tokens : iterable of str, optional
            Those of the vocabulary that are special; if None, "<|endoftext|>" where the vocabulary has it.

        Returns
        -------
        tokenizer : ByteLevelBPE

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
    def from_tiktoken(
        cls,
        path: PathLike,
        *,
        pattern: str | Iterable[str] | None = None,
        special_tokens: Mapping[str, int] | None = None,
    ) -> Self:
        """Read a file of tiktoken's, such as cl100k_base.tiktoken.

        Parameters
        ----------
        path : path
        pattern : str or iterable of str, optional
            As of the class. The file does not tell it; None: the one of the encoding that the file is named for.
        special_tokens : mapping of str to int, optional
            Special tokens and their ids; None: those of the encoding that the file is named for.

        Returns
        -------
        tokenizer : ByteLevelBPE
            With `ignore_merges`, as tiktoken encodes.

        Raises
        ------
        FileNotFoundError
        ValueError
            Naming the file and what is wrong in it, or that its name tells no pattern.
        """
        name = tiktoken_files.name_of(path)
        if pattern is None and name not in tiktoken_files.SPECIAL:
            known = ", ".join(tiktoken_files.SPECIAL)
            raise ValueError(f"{path}: pattern is needed, since the file's name is none of {known}")
        special = dict(tiktoken_files.SPECIAL.get(name, {}) if special_tokens is None else special_tokens)
        with files.collector_paused():
            ranks = tiktoken_files.read_ranks(path)
            tokens = tiktoken_files.vocabulary(ranks, special, path)
            unused = [token for token in tokens if token.startswith("<|reserved ")]
            merges = tiktoken_files.merges(ranks)
            return cls(tokens, merges, special_tokens=[*special, *unused], pattern=pattern or name, ignore_merges=True)

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, Any]) -> Self:
        """The tokenizer in the metadata of a GGUF file; see `bpe.gguf`.

        Parameters
        ----------
        metadata : mapping of str to values
            Those of the tokenizer have keys that begin with "tokenizer.ggml.".

        Returns
        -------
        tokenizer : ByteLevelBPE

        Raises
        ------
        ValueError
            Naming the key that lacks, or that says of another kind of tokenizer.
        """
        return cls(**gguf.arguments(metadata))

    @classmethod
    def from_pretrained(cls, folder: PathLike) -> Self:
        """Read the tokenizer of a folder: vocab.json and merges.txt, encoder.json and vocab.bpe, or a tokenizer.json.

        A tokenizer.json must describe a byte-level BPE; its pattern may be any that `bpe.patterns` understands. Where one lies
        beside the others it names the special tokens.

        Parameters
        ----------
        folder : str or os.PathLike

        Returns
        -------
        tokenizer : ByteLevelBPE

        Raises
        ------
        FileNotFoundError
            The folder holds none of these.
        ValueError
            Naming the file and what is wrong in it, or what it is instead.
        """
        return hugging_face.from_folder(cls, folder)

    def save_pretrained(self, folder: PathLike) -> None:
        """Write tokenizer.json and tokenizer_config.json as Hugging Face's libraries do into a folder.

        And vocab.json and merges.txt, where the pattern is GPT-2's, which is what those mean without a tokenizer.json.

        Parameters
        ----------
        folder : str or os.PathLike
            Is made if it is not there.

        Raises
        ------
        OSError
            It cannot be written there.
        """
        roles = {**dict.fromkeys(("bos_token", "unk_token")), "eos_token": self.eos_token}  # those not said would be GPT-2's
        usual = self.pattern == (patterns.GPT2,) and self.normalizer is None and not self.ignore_merges
        kind = None if usual else config_files.GENERIC[0]  # a named class would cut texts in its own way
        hugging_face.write_folder(self, components.byte_level_json(self), folder, kind, **roles)

    def to_json(self) -> str:
        """The content of the tokenizer's file.

        Returns
        -------
        content : str
            A tokenizer.json as Hugging Face's `tokenizers` reads and writes it.
        """
        return hugging_face.to_json(components.byte_level_json(self))

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
    def load(cls, path: PathLike) -> Self:
        """Read a tokenizer.json, or a folder as `from_pretrained` does.

        Parameters
        ----------
        path : str or os.PathLike
            The file or the folder.

        Returns
        -------
        tokenizer : ByteLevelBPE

        Raises
        ------
        FileNotFoundError
        ValueError
            Naming the file and what is wrong in it, or what it is instead.
        """
        return hugging_face.load(cls, path)

    def _fields(self):
        added = {"special_tokens": self.special_tokens, "added_tokens": self._added.further(), "eos_token": self.eos_token}
        cut = {"pattern": self.pattern, "normalizer": self.normalizer, "ignore_merges": self.ignore_merges}
        cut["post_processor"] = self.post_processor
        return {**added, **cut, "vocabulary": self._vocabulary, "merges": self._merges}

    @classmethod
    def _from_fields(cls, fields, folder_config=config_files.NOTHING):
        parts, settings = components.byte_level_parts(fields)
        return hugging_face.from_parts(cls, *parts, folder_config, **settings)

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

"""Generation from text to text: the prompt's ids, pieces of text as soon as they are known, and where to stop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from minilm.generation.loop import end_ids, stream_ids
from minilm.generation.protocol import CausalLanguageModel
from minilm.ops import checks
from minilm.tokenizers import Tokenizer
from minilm.typing import Ids

__all__ = ["Continuation", "generate", "generate_many", "prompt_ids", "stream"]


def generate(
    model: CausalLanguageModel,
    tokenizer: Tokenizer,
    prompt: str = "",
    tokens: int | None = 200,
    *,
    stop: str | Iterable[str] | None = None,
    end: int | Iterable[int] | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    greedy: bool = False,
    suppress: Iterable[int] = (),
    block: int = 16,
    cuda_graphs: bool = False,
) -> str:
    """What the model writes after `prompt`.

    Parameters
    ----------
    model : RNNLanguageModel, or another with ``initial_state``, ``logits`` and ``step``
    tokenizer : Tokenizer
        The model's.
    prompt : str
        What the text begins with. An empty one stands for the beginning of a line: the model then starts from the end-of-line
        token if the tokenizer has one, else from "\\n", else from a space, else from id 0, which is no part of the text.
    tokens : int or None
        How many to draw at most; None goes on until a `stop`.
    stop : str or iterable of str, optional
        The text ends before the first of these strings, wherever in the tokens it begins.
    end : int or iterable of int, optional
        Ids of tokens that end the text and are no part of it. Without it the end of text that a pretrained model's folder
        names; () for none.
    temperature, top_k, top_p, seed, greedy, suppress, block, cuda_graphs
        See `stream_ids`. Ids of the model that the tokenizer lacks are never drawn.

    Returns
    -------
    str
        The continuation, without the prompt; ``prompt + generate(...)`` is the whole text.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range; if the prompt holds a character that the tokenizer does not know.

    Examples
    --------
    >>> generate(model, tokenizer, "Once upon a ", tokens=100, temperature=0.8, top_p=0.95, seed=1)
    """
    pieces = stream(
        model,
        tokenizer,
        prompt,
        tokens,
        stop=stop,
        end=end,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        greedy=greedy,
        suppress=suppress,
        block=block,
        cuda_graphs=cuda_graphs,
    )
    return "".join(pieces)


def stream(
    model: CausalLanguageModel,
    tokenizer: Tokenizer,
    prompt: str = "",
    tokens: int | None = 200,
    *,
    stop: str | Iterable[str] | None = None,
    end: int | Iterable[int] | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    greedy: bool = False,
    suppress: Iterable[int] = (),
    block: int = 16,
    cuda_graphs: bool = False,
    add_special_tokens: bool = True,
) -> Iterator[str]:
    """`generate`, piece by piece: each non-empty piece of text comes as soon as no later token can change it.

    Text that may be the beginning of a `stop` string is held back until that is decided.

    Parameters
    ----------
    model, tokenizer, prompt, tokens, stop, end, temperature, top_k, top_p, seed, greedy, suppress, block, cuda_graphs
        See `generate`.
    add_special_tokens : bool
        As for the tokenizer's ``encode``: False for a prompt that spells its special tokens itself, as a chat's does.

    Yields
    ------
    str
    """
    ids = prompt_ids(tokenizer, prompt, add_special_tokens)  # (T,)
    text = Continuation(tokenizer, prompt, ids, _stops(stop), end_ids(model, end))
    drawn = stream_ids(
        model,
        ids[None],
        tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        greedy=greedy,
        suppress=suppress,
        vocab_size=tokenizer.vocab_size,
        block=block,
        cuda_graphs=cuda_graphs,
    )
    return _pieces(drawn, text)


def _pieces(drawn, text):
    for ids in drawn:  # (1,)
        piece = text.feed(ids[0])
        if piece:
            yield piece
        if text.ended:
            return
    piece = text.flush()
    if piece:
        yield piece


def generate_many(
    model: CausalLanguageModel,
    tokenizer: Tokenizer,
    prompt: str | list[str] = "",
    count: int = 1,
    tokens: int | None = 200,
    *,
    stop: str | Iterable[str] | None = None,
    end: int | Iterable[int] | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    greedy: bool = False,
    suppress: Iterable[int] = (),
    block: int = 16,
    cuda_graphs: bool = False,
) -> list[str]:
    """Continuations of one prompt or of several, drawn side by side as one batch.

    Parameters
    ----------
    model, tokenizer, tokens, stop, end, temperature, top_k, top_p, seed, greedy, suppress, block, cuda_graphs
        See `generate`, which gives the first of them (see the note in `stream_ids` on the last bits).
    prompt : str or list of str
        Each of several is continued as if it stood alone.
    count : int
        How many continuations of each prompt, those of one prompt next to one another.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If there are no prompts, or an option is out of range.
    """
    checks.whole("count", count, 1, 2**31)
    prompts = [each for each in ([prompt] if isinstance(prompt, str) else prompt) for _ in range(count)]
    if not prompts:
        raise ValueError("prompt must be a str, or a list of at least one, got none")
    ids = [prompt_ids(tokenizer, each) for each in prompts]  # (T_b,) each
    endings = _stops(stop), end_ids(model, end)
    texts = [Continuation(tokenizer, each, encoded, *endings) for each, encoded in zip(prompts, ids, strict=True)]
    results = [""] * len(prompts)
    steps = stream_ids(
        model,
        ids,
        tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        greedy=greedy,
        suppress=suppress,
        vocab_size=tokenizer.vocab_size,
        block=block,
        cuda_graphs=cuda_graphs,
    )
    for drawn in steps:  # (B,)
        for b, text in enumerate(texts):
            if not text.ended:
                results[b] += text.feed(drawn[b])
        if all(text.ended for text in texts):
            return results
    return [text + rest.flush() for text, rest in zip(results, texts, strict=True)]


def prompt_ids(tokenizer: Tokenizer, prompt: str, add_special_tokens: bool = True) -> np.ndarray:
    """What the model reads first: the prompt's ids, or for an empty prompt the token that begins a line; (T,), T >= 1."""
    if not hasattr(tokenizer, "encode"):
        raise TypeError(f"tokenizer must be a minilm.tokenizers.Tokenizer, got {checks.describe(tokenizer)}")
    ids = tokenizer.encode(prompt) if add_special_tokens else tokenizer.encode(prompt, add_special_tokens=False)  # (T,)
    if ids.size:
        return ids
    starts = (tokenizer.eos_token_id, tokenizer.token_to_id("\n"), tokenizer.token_to_id(" "), 0)
    return np.array([next(id for id in starts if id is not None)], np.int32)  # (1,)


class Continuation:
    """The text that tokens after a prompt make, as it becomes known.

    Attributes
    ----------
    ended : bool
        Whether a stop string or a token that ends texts has come; nothing comes after it.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: str, ids: Ids, stops: tuple[str, ...] = (), ends: tuple[int, ...] = ()):
        self._stream = tokenizer.decode_stream()
        shown = self._stream.feed(ids)  # it goes on where the prompt ends: a word after a word begins with a space
        # decoding may drop white space at the end of the prompt: the text has it already, so the next token brings none
        self._drop_space = prompt[-1:].isspace() and not shown.endswith(prompt[-1])
        self._stops, self._ends = stops, frozenset(ends)
        self._held = ""
        self.ended = False

    def feed(self, id: int) -> str:
        """The text that one more token makes certain."""
        if int(id) in self._ends:
            text = self.flush()
            self.ended = True
            return text
        text = self._stream.feed(id)
        if self._drop_space and text:
            text, self._drop_space = text.removeprefix(" "), False
        return self._until_stop(text)

    def flush(self) -> str:
        """The text still held back, at the end."""
        if self.ended:
            return ""
        text = self._until_stop(self._stream.flush())
        return text if self.ended else text + self._held

    def _until_stop(self, text: str) -> str:
        if not self._stops:
            return text
        text = self._held + text
        places = [place for place in (text.find(stop) for stop in self._stops) if place >= 0]
        if places:
            self.ended, self._held = True, ""
            return text[: min(places)]
        held = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a proper beginning of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


def _stops(stop: str | Iterable[str] | None) -> tuple[str, ...]:
    stops = () if stop is None else (stop,) if isinstance(stop, str) else tuple(stop)
    for each in stops:
        if not isinstance(each, str):
            raise TypeError(f"stop must be a str or several, got {checks.describe(each)}")
        if not each:
            raise ValueError("stop must not be an empty string: every text would end at once")
    return stops

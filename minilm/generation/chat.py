"""Chats: messages of a user and an assistant as one text, in the form that a model was trained on.

ChatML, the form of Qwen's and SmolLM's models::

    <|im_start|>system
    You are a helpful assistant<|im_end|>
    <|im_start|>user
    Hello!<|im_end|>
    <|im_start|>assistant
    ...

Folders and files say their form as a program in the language Jinja. One that means ChatML is recognised, and needs no more; any
other is run in a sandbox: see `minilm.generation.jinja`.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from minilm.data.lines import whole_text
from minilm.files import read_json
from minilm.generation.jinja import JinjaFormat, compiled
from minilm.generation.messages import check_messages
from minilm.hub import model_folder
from minilm.tokenizers import Tokenizer
from minilm.tokenizers.config_files import read
from minilm.typing import PathLike

__all__ = ["ChatML", "JinjaFormat", "chat_format", "chat_template", "chat_tokens", "training_ids"]

GGUF_ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
BEGIN, END = "<|im_start|>", "<|im_end|>"
ROLES = ("system", "user", "assistant")
PROGRAM = re.compile(
    r"""\{%-?\s*for\ message\ in\ messages\s*-?%\}
    (?:\{%-?\s*if\ loop\.first\ and\ messages\[0\]\['role'\]\ !=\ 'system'\s*-?%\}
       \{\{-?\s*'<\|im_start\|>system\n(?P<system>[^']*?)<\|im_end\|>\n'\s*-?\}\}
       \{%-?\s*endif\s*-?%\})?
    \{\{-?\s*'<\|im_start\|>'\s*\+\s*message\['role'\]\s*\+\s*'\n'\s*\+\s*message\['content'\]\s*\+\s*
       '<\|im_end\|>'\s*\+\s*'\n'\s*-?\}\}
    \{%-?\s*endfor\s*-?%\}
    (?:\{%-?\s*if\ add_generation_prompt\s*-?%\}\{\{-?\s*'<\|im_start\|>assistant\n'\s*-?\}\}\{%-?\s*endif\s*-?%\})?\s*""",
    re.VERBOSE,
)


class ChatML(NamedTuple):
    """The form ChatML.

    Attributes
    ----------
    system : str or None
        The system's message of chats that begin with another's.
    marks : tuple of str
        Special tokens, which no message may spell, beside the form's own: it would speak for another.
    """

    system: str | None = None
    marks: tuple[str, ...] = ()

    def text(self, messages: Sequence[Mapping[str, str]], *, reply: bool = True) -> str:
        """The chat as one text.

        Parameters
        ----------
        messages : sequence of mapping
            Each with "role", one of "system", "user" and "assistant", and "content".
        reply : bool
            Let the text end where the assistant's next message begins.

        Raises
        ------
        ValueError
            A message lacks something, or its content spells a mark of the form.
        """
        text = "".join(piece for piece, _ in self.pieces(messages))
        return f"{text}{BEGIN}assistant\n" if reply else text

    def pieces(self, messages: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, bool]]:
        """The text in pieces, each with whether the assistant wrote it: what fine-tuning learns. Its end mark is a part of it."""
        check_messages(messages, (BEGIN, END, *self.marks), ROLES)
        if self.system is not None and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": self.system}, *messages]
        for message in messages:
            yield f"{BEGIN}{message['role']}\n", False
            yield f"{message['content']}{END}", message["role"] == "assistant"
            yield "\n", False


def chat_format(template: str, tokens: Mapping[str, str] | None = None, marks: Iterable[str] = ()) -> ChatML | JinjaFormat:
    """The form that a template means.

    Parameters
    ----------
    template : str
        As `chat_template` gives it.
    tokens : mapping of str to str, optional
        Special tokens that it may name, as `chat_tokens` gives them.
    marks : iterable of str
        Special tokens that no message may spell: the tokenizer's.

    Raises
    ------
    ValueError
        It is not ChatML, and Jinja is not here to run it; or it is no program.
    """
    match = PROGRAM.fullmatch(template.replace("\\n", "\n"))
    if match is not None:
        return ChatML(match["system"], tuple(marks))
    if not template.strip():
        raise ValueError("the chat template is empty")
    compiled(template)
    return JinjaFormat(template, dict(tokens or {}), tuple(marks))


def training_ids(
    tokenizer: Tokenizer, form: ChatML | JinjaFormat, messages: Sequence[Mapping[str, str]]
) -> tuple[np.ndarray, np.ndarray]:
    """What a model reads of a chat and what it is to predict, for supervised fine-tuning: the assistant's messages alone.

    Returns
    -------
    ids : ndarray, shape (1, T)
    targets : ndarray, shape (1, T)
        The token after each; -100 where another than the assistant wrote it.

    Raises
    ------
    ValueError
        As of the form's ``pieces``; or no message is the assistant's: the loss would be a mean of no tokens, NaN.

    Notes
    -----
    The ids are those of the whole text, except that no token reaches over the beginning or the end of an answer: when the model
    answers, what stands before is all that it has.
    """
    text, ids, learns, cut = "", np.empty(0, np.int64), np.empty(0, bool), 0  # ids and learns (T + 1,); text is of ids[cut:]
    for learn, group in itertools.groupby(form.pieces(messages), key=lambda piece: piece[1]):
        new = "".join(piece for piece, _ in group)
        whole, before = tokenizer.encode(text + new, add_special_tokens=False), ids[cut:]
        if np.array_equal(whole[: len(before)], before):
            text, more = text + new, whole[len(before) :]
        else:  # a token reaches over this place: what follows is encoded as a text of its own
            text, more, cut = new, tokenizer.encode(new, add_special_tokens=False), len(ids)
        ids, learns = np.append(ids, more), np.append(learns, np.full(len(more), learn))
    if not learns[1:].any():
        raise ValueError("messages have none of the assistant's, so that there is nothing to learn")
    return ids[None, :-1], np.where(learns, ids, -100)[None, 1:]


def chat_template(path: PathLike) -> str:
    """The chat template of a folder or a GGUF file.

    Raises
    ------
    FileNotFoundError, ValueError
        There is none.
    """
    path = os.path.expanduser(os.fspath(path))
    path = path if os.path.isfile(path) else model_folder(path)
    template = None
    if os.path.isfile(path):
        from minilm.weights.gguf import GGUFFile

        with GGUFFile(path) as file:
            template = file.settings.get("tokenizer.chat_template")
    elif os.path.exists(own := os.path.join(path, "chat_template.jinja")):
        template = whole_text(own)
    elif os.path.exists(config := os.path.join(path, "tokenizer_config.json")):
        template = read_json(config).get("chat_template")
        if isinstance(template, list):  # several, with names
            named = {each.get("name"): each.get("template") for each in template if isinstance(each, dict)}
            template = named.get("default")
    if not isinstance(template, str):
        raise ValueError(f"{path} has no chat template: it is no model for chats")
    return template


def chat_tokens(path: PathLike) -> dict[str, str]:
    """The special tokens that a folder or a GGUF file names, ``{"bos_token": "<s>"}``: what its chat template may name."""
    path = os.path.expanduser(os.fspath(path))
    if os.path.isfile(path):
        from minilm.weights.gguf import GGUFFile

        with GGUFFile(path) as file:
            settings = file.settings
            tokens = settings.get("tokenizer.ggml.tokens", [])
            ids = {f"{role}_token": settings.get(f"tokenizer.ggml.{key}_token_id") for role, key in GGUF_ROLES.items()}
        return {role: tokens[id] for role, id in ids.items() if id is not None and 0 <= id < len(tokens)}
    roles = read(model_folder(path)).roles
    return {role: token.content for role, token in roles.items() if token is not None}

"""Chats in the form that a model's folder says as a program in the language Jinja: the program is run, in Jinja's sandbox.

A program comes with weights from anywhere. The sandbox lets it neither change what it is given nor reach Python's own objects; it
has the messages, the special tokens and three functions that templates use (`raise_exception`, `strftime_now`, `tojson`), and
no more. Jinja (the extra ``chat``) is imported with the first program.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from minilm.generation.messages import check_messages
from minilm.ops import checks

__all__ = ["JinjaFormat"]

SAFE = (3, 1, 6)  # earlier ones have known ways out of the sandbox
INNER = re.compile(r"\b__\w+__\b")  # names of Python's own workings


class JinjaFormat(NamedTuple):
    """A chat's form, as a program.

    Attributes
    ----------
    program : str
    tokens : mapping of str to str
        What the program may name: ``bos_token``, ``eos_token``, ...
    marks : tuple of str
        Special tokens, which no message may spell: it would speak for another.
    """

    program: str
    tokens: Mapping[str, str] = {}
    marks: tuple[str, ...] = ()

    def text(self, messages: Sequence[Mapping[str, str]], *, reply: bool = True) -> str:
        """The chat as one text; see `minilm.generation.chat.ChatML.text`.

        Raises
        ------
        ValueError
            A message lacks something or spells a special token; or the program refuses the chat, or fails: with its words.
        """
        check_messages(messages, self.marks)
        return self._text(messages, reply)

    def _text(self, messages: Sequence[Mapping[str, str]], reply: bool) -> str:
        """`text` of messages that are checked."""
        program = compiled(self.program)
        import jinja2

        variables = {**self.tokens, "messages": [dict(each) for each in messages], "add_generation_prompt": reply}
        try:
            return program.render(**variables, tools=None, documents=None)
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise ValueError(f"the chat template refuses this chat: {_line(error)}") from None

    def pieces(self, messages: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, bool]]:
        """The text in pieces, each with whether the assistant wrote it: what fine-tuning learns.

        A message's piece is what the text of the chat up to it has more than that up to the one before; of an assistant's that
        which stands after its head, with which a reply begins.

        Raises
        ------
        ValueError
            As of `text`; and where a message changes the text of those before it, so that there are no such pieces.
        """
        check_messages(messages, self.marks)
        before = ""
        for number, message in enumerate(messages):
            if message["role"] == "system" and number + 1 < len(messages):
                continue  # many templates have no system's message alone: it goes with the next one
            if message["role"] == "assistant" and number:
                head = self._text(messages[:number], True)
                yield _more(head, before), False
                before = head
            after = self._text(messages[: number + 1], False)
            yield _more(after, before), message["role"] == "assistant"
            before = after


def _more(text: str, before: str) -> str:
    if not text.startswith(before):
        raise ValueError("the chat template changes what stands before a message, so that the chat has no pieces to learn from")
    return text[len(before) :]


@functools.lru_cache(maxsize=8)
def compiled(program: str) -> Any:
    """The program as a template of Jinja.

    Raises
    ------
    ValueError
        Jinja is not installed or too old, or this is no program in its language.
    """
    try:
        import jinja2
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        raise ValueError(
            "this model's chats have a form that is a program: pip install 'minilm[chat]' (jinja2) runs it"
        ) from None
    if tuple(map(int, re.findall(r"\d+", jinja2.__version__)[:3])) < SAFE:
        raise ValueError(f"jinja2 must be 3.1.6 or later, whose sandbox is closed, got {jinja2.__version__}")
    inner = INNER.search(program)
    if inner is not None:
        raise ValueError(f"the chat template names {inner[0]}, one of Python's own workings: it is not run")
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _generation()]
    )
    environment.globals |= {"raise_exception": _refuse, "strftime_now": lambda form: datetime.datetime.now().strftime(form)}
    environment.filters["tojson"] = _to_json
    try:
        return environment.from_string(program)
    except jinja2.TemplateError as error:
        raise ValueError(f"the chat template is no program in Jinja: {_line(error)}") from None


def _generation() -> type:
    """The tag of templates that marks what the assistant wrote: its content as it is."""
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return Generation


def _refuse(message: str) -> None:
    import jinja2

    raise jinja2.TemplateError(message)


def _to_json(value: Any, indent: int | None = None, **options: Any) -> str:
    """Jinja's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent, **options)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or checks.describe(error)

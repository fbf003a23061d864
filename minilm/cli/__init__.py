"""The command `minilm`: one module a sub-command, imported only when it runs."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import keyword
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

import minilm
from minilm import streams
from minilm.mistaken import nearest

__all__ = ["COMMANDS", "Parser", "exit_status", "main"]

COMMANDS = {  # name -> what `minilm --help` says of it; the module of that name has add_parser(subparsers) and run(args)
    "train": "train a model on a text",
    "generate": "let a trained model write",
    "chat": "talk with a model that was trained for it",
    "evaluate": "a model's loss, perplexity and bits a character",
    "convert": "weights of other programs in, and out for them",
    "fill-mask": "let a BERT guess masked words",
    "explain": "see what a model expected and where it looked",
    "recipe": "train and measure a model for a task",
    "try": "put your own input to a recipe's model",
    "serve": "a local page to let a model write, explain and answer",
    "choose": "which model fits a task, data and this machine",
    "plan": "memory, time and traffic of a training run, before it is begun",
    "tokenizer": "train and try tokenizers",
    "gradcheck": "compare every gradient with finite differences",
    "show": "print an op whole, or a model on one page",
    "book": "write the book of formulas and code, as web pages",
    "export": "write a model's folder again, with weights in fewer bits",
    "verify": "whether files are whole, and a run gives the same bits again",
    "corpus": "list, download and check the texts that have a name",
    "info": "what minilm runs on: versions, BLAS, threads, caches",
}
PATHS = re.compile(r"\b(DIR|FILE|FOLDER|PATH|OUT|FROM|TO)\b")  # in the name of an argument that is a path
FULL = (errno.ENOSPC, errno.EFBIG)
INTERRUPTED, BROKEN_PIPE = 130, 141  # 128 + the number of the signal, as shells report it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        What follows `minilm`; ``sys.argv[1:]`` without it.

    Returns
    -------
    int
        Exit status: 0; 1 where a check or a comparison failed; 2 for a user's mistake or a failing machine, told in one line on
        stderr; 130 after Ctrl-C. With MINILM_DEBUG=1 such an error is raised instead, for its traceback.

    Raises
    ------
    SystemExit
        For ``--help`` (status 0) and wrong usage (status 2), as argparse does.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    return exit_status("minilm", lambda: _run(words))


def exit_status(program: str, command: Callable[[], int | None], interrupted: str = "interrupted") -> int:
    """Run a command of this repository; its exit status, as `main` has it. Errors are one line on stderr.

    Parameters
    ----------
    program : str
        What the line begins with.
    command : callable
        Takes nothing, returns its exit status, or None for 0.
    interrupted : str, optional
        What is said after Ctrl-C.
    """
    with streams.usable():
        _any_text_can_be_printed()
        try:
            status = command()
            sys.stdout.flush()
            return status or 0
        except KeyboardInterrupt:
            print(f"\n{program}: {interrupted}", file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:  # `minilm corpus list | head -1`
            streams.discard(sys.stdout)
            return BROKEN_PIPE
        except (ValueError, TypeError, OSError, MemoryError, ArithmeticError, RecursionError) as error:
            if os.environ.get("MINILM_DEBUG", "0") not in ("", "0"):
                raise
            print(f"{program}: {one_line(error)}", file=sys.stderr)
            return 2


def _run(argv: list[str]) -> int | None:
    args = _parse(argv)
    with _warnings_in_one_line():
        return args.run(args)


def module_of(name: str) -> str:
    """The module of a command: `fill-mask` is in fill_mask, and `try`, a word of Python's, in try_."""
    return f"{name}_" if keyword.iskeyword(name) else name.replace("-", "_")


def one_line(error: BaseException) -> str:
    """What an error says, in one line."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{os.fsdecode(error.filename) if not isinstance(error.filename, int) else error.filename}: {error.strerror}"
    elif isinstance(error, OSError) and error.errno in FULL:
        text = f"the standard output: {error.strerror}"  # whatever writes a file names it
    else:
        text = str(error)
    text = " ".join(line.strip() for line in text.splitlines() if line.strip())
    if isinstance(error, MemoryError):
        return f"out of memory{': ' * bool(text)}{text}"
    return text or type(error).__name__


# --- parsing ---------------------------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and suggests the nearest word for a mistyped one.

    Options may stand anywhere: ``encode FILE --json TEXT`` loses its TEXT in argparse's usual order.
    """

    _intermixed = False

    def parse_known_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        if self._intermixed or any(isinstance(action, argparse._SubParsersAction) for action in self._actions):
            return super().parse_known_args(args, namespace)
        self._intermixed = True  # the method below calls this one
        try:
            parsed, unknown = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixed = False
        self._refuse_empty_paths(parsed)
        parsed.defaults = {action.dest: action.default for action in self._actions}  # for `minilm.cli.unused`
        return parsed, unknown

    def _refuse_empty_paths(self, parsed: argparse.Namespace) -> None:
        """An empty path, as an unset variable of a shell gives it, is no folder: not the one where the command runs."""
        for action in self._actions:
            named = isinstance(action.metavar, str) and PATHS.search(action.metavar)
            if named and getattr(parsed, action.dest, None) == "":
                self.error(f"argument {'/'.join(action.option_strings) or action.metavar}: a path is wanted, got an empty one")

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)$", message)
        if wrong and "you mean" not in message:
            message += suggestion(wrong[1], [word.strip("'\" ") for word in wrong[2].split(",")])
        print(f"{self.prog}: {' '.join(message.split())}; see `{self.prog} --help`", file=sys.stderr)
        raise SystemExit(2)


def suggestion(word: str, known) -> str:
    """``"; did you mean 'train'?"``, or nothing where no known word is near."""
    near = nearest(word, known)
    return f"; did you mean {near[0]!r}?" if near else ""


def _parse(argv: list[str]) -> argparse.Namespace:
    if argv[:1] == ["help"]:  # `minilm help train`, as git and pip have it, and `minilm help help`
        argv = [*(word for word in argv if word != "help"), "--help"]
    parser = Parser(
        prog="minilm",
        usage="minilm [--help] [--version] COMMAND ...",
        description="Neural language models written out in full.",
        epilog="`minilm help COMMAND` tells more. MINILM_THREADS, MINILM_ISA, MINILM_CACHE: threads of the kernels, their "
        "instructions, folder of the caches.",
    )
    parser.add_argument("--version", action="version", version=f"minilm {minilm.__version__}")
    subparsers = parser.add_subparsers(prog="minilm", dest="command", metavar="COMMAND ...", title="commands")
    # no option before the command takes a value, so the first word without a dash is the command
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, description in COMMANDS.items():
        if name == chosen:
            importlib.import_module(f"minilm.cli.{module_of(name)}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=description, add_help=False)
    if chosen is None and not argv:
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    if chosen is not None and chosen not in COMMANDS:
        hint = suggestion(chosen, COMMANDS) or f"; there are {', '.join(COMMANDS)}"
        parser.error(f"there is no command {chosen!r}{hint}")
    args, unknown = parser.parse_known_args(argv)
    if chosen is None:
        parser.error(f"a command is missing: {', '.join(COMMANDS)}")
    if unknown:
        used = _used(subparsers.choices[chosen], argv)
        hint = suggestion(unknown[0].partition("=")[0], used._option_string_actions) if unknown[0].startswith("-") else ""
        used.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return args


def _used(parser, argv: list[str]):
    """The innermost parser that `argv` chose, such as that of `fetch` in `corpus fetch`."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word in argv:
                if word in action.choices:
                    return _used(action.choices[word], argv)
    return parser


@contextlib.contextmanager
def _warnings_in_one_line():
    """A warning of the library is a line on stderr, without the place in the source that warns."""

    def show(message, *_args, **_kwargs):
        print(f"minilm: warning: {one_line(message)}", file=sys.stderr)

    before, warnings.showwarning = warnings.showwarning, show
    try:
        yield
    finally:
        warnings.showwarning = before


# --- output ----------------------------------------------------------------------------------------------------------


def _any_text_can_be_printed() -> None:
    """A character that the terminal's encoding lacks, or a byte of a path that is not UTF-8, is printed as an escape."""
    for stream in (sys.stdout, sys.stderr):
        encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "")
        strict = getattr(stream, "errors", None) == "strict"
        if (strict or encoding != "utf8") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def __dir__() -> list[str]:
    return sorted(__all__)

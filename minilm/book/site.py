"""The folder of the book: a page a chapter, an index to search in, one style sheet and one script."""

from __future__ import annotations

import html
import json
import os
import pathlib
import re
from collections.abc import Callable

from minilm import __version__
from minilm.book import directives, text
from minilm.book.needed import require
from minilm.files import written_whole
from minilm.typing import PathLike

__all__ = ["CHAPTERS", "write"]

FOLDER = pathlib.Path(__file__).parent
STYLE = "book.css"
CHAPTERS = (
    "notation",
    "linear",
    "cross-entropy",
    "embedding",
    "lstm-language-model",
    "recurrent-layers",
    "optimizers",
    "training-loop",
    "tokenizers",
    "layer-norm",
    "attention",
    "gpt",
    "generation",
    "after-gpt",
    "bert",
    "seq2seq",
    "crf",
    "word2vec",
    "explaining",
    "fast-kernels",
    "weights",
    "checkpoints",
    "planning",
    "data-parallel",
    "architecture",
    "adding-an-op",
    "glossary",
)
# No page asks the network for anything: all that it needs lies beside it, also where it is opened as a file.
POLICY = (
    "default-src 'none'; script-src 'self' file:; style-src 'self' file: 'unsafe-inline'; img-src 'self' file: data:; "
    "base-uri 'none'; form-action 'none'"
)
TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title} - minilm</title>
<link rel="stylesheet" href="book.css">
</head>
<body>
<header>
<button id="menu" aria-label="Chapters" aria-expanded="false">&#9776;</button>
<a class="home" href="index.html">minilm</a>
<input id="search" type="search" placeholder="Search the book" aria-label="Search the book" autocomplete="off">
<ol id="results" hidden></ol>
</header>
<nav id="chapters"><ol>{chapters}</ol></nav>
<main>
{body}
<footer>{before}{after}</footer>
</main>
<script src="search.js"></script>
<script src="book.js"></script>
</body>
</html>
"""


def write(out: PathLike, progress: Callable[[str], None] = lambda title: None) -> str:
    """Write the book.

    Parameters
    ----------
    out : path
        A folder, made if it is not there. Files of an earlier book are replaced, others are left alone.
    progress : callable
        Told each chapter's title as it is written.

    Returns
    -------
    str
        The path of its first page.

    Raises
    ------
    ValueError
        docutils, pygments or latex2mathml is not installed (the extra `book`); or a chapter asks for what is not there.
    NotADirectoryError
        `out` is a file.
    FileExistsError
        A page would replace a file that is of no earlier book.
    """
    require()
    out = folder_for("book", out)
    _check_free(out)
    os.makedirs(out, exist_ok=True)
    directives.register()
    _put(out, STYLE, (FOLDER / "book.css").read_text(encoding="utf-8") + _colours())  # first: it says that the folder is a book's
    _put(out, "book.js", (FOLDER / "book.js").read_text(encoding="utf-8"))
    sources = {name: source_of(name) for name in CHAPTERS}
    titles = {name: source.splitlines()[0] for name, source in sources.items()}
    entries = []
    for place, name in enumerate(CHAPTERS):
        progress(titles[name])
        body = chapter(name, sources[name])
        neighbours = [CHAPTERS[place - 1] if place else None, CHAPTERS[place + 1] if place + 1 < len(CHAPTERS) else None]
        _put(out, f"{name}.html", _page(titles, name, body, neighbours))
        entries += _entries(name, titles[name], body)
    _put(out, "index.html", _page(titles, None, _contents(titles), [None, CHAPTERS[0]]))
    _put(out, "search.js", f"const BOOK = {json.dumps(entries, ensure_ascii=False)};\n".replace("</", "<\\/"))
    return os.path.join(out, "index.html")


def chapter(name: str, source: str | None = None) -> str:
    """The body of one chapter as HTML."""
    directives.register()
    source = source_of(name) if source is None else source
    directives.Part.current = directives.Part(lambda reference: address(reference, name))
    try:
        return text.render(source, text.Formulas(f"{name}-text"), directives.Part.current.address, level=1)
    except ValueError as error:
        raise ValueError(f"chapter {name}: {error}") from None


def address(reference: str, chapter: str) -> str | None:
    """Where the book treats of a module, such as ``minilm.ops.lstm.spec`` or ``minilm.pages.gpt``; None where it does not."""
    match = re.match(r"minilm\.(ops|pages)\.(\w+)", reference)
    if not match:
        return None
    subject = match[2] if match[1] == "ops" else f"pages.{match[2]}"
    for name in CHAPTERS:
        for directive, argument in re.findall(r"^\.\. (op|page):: (\w+)", source_of(name), re.M):
            if subject == (argument if directive == "op" else f"pages.{argument}"):
                anchor = f"{directive}-{argument}"
                return f"#{anchor}" if name == chapter else f"{name}.html#{anchor}"
    return None


def source_of(name: str) -> str:
    """The text of a chapter."""
    return (FOLDER / "chapters" / f"{name}.rst").read_text(encoding="utf-8")


def folder_for(what: str, out: PathLike) -> str:
    """`out` as a str; NotADirectoryError if it is a file."""
    out = os.fspath(out)
    if os.path.lexists(out) and not os.path.isdir(out):
        raise NotADirectoryError(f"{out} is a file, wanted a folder for the {what}")
    return out


def _check_free(out: str) -> None:
    """FileExistsError where a page would replace a file that is of no earlier book."""
    if os.path.exists(os.path.join(out, STYLE)):
        return
    for name in ("index", *CHAPTERS):
        path = os.path.join(out, f"{name}.html")
        if os.path.lexists(path):
            raise FileExistsError(f"{path} is there already and of no book, so it is not replaced: wanted a folder for the book")


def _put(out: str, name: str, content: str) -> None:
    with written_whole(os.path.join(out, name)) as file:
        file.write(content.encode("utf-8"))


def _page(titles: dict[str, str], name: str | None, body: str, neighbours: list[str | None]) -> str:
    chapters = "".join(
        f'<li><a href="{each}.html"{" aria-current=page" if each == name else ""}>{html.escape(title)}</a></li>'
        for each, title in titles.items()
    )
    before, after = (
        f'<a class="{side}" href="{each}.html">{html.escape(titles[each])}</a>' if each else ""
        for side, each in zip(("before", "after"), neighbours, strict=True)
    )
    title = html.escape(titles[name]) if name else "Contents"
    return TEMPLATE.format(title=title, policy=POLICY, chapters=chapters, body=body, before=before, after=after)


def _contents(titles: dict[str, str]) -> str:
    items = "".join(f'<li><a href="{name}.html">{html.escape(title)}</a></li>' for name, title in titles.items())
    return (
        "<h1>Neural language models, written out</h1>"
        "<p>Every formula, every gradient, every kernel: the text of this book is that of the sources of minilm "
        f"{__version__}, and the code in it is the code that runs. Point at a formula, and the lines that compute it light up; "
        "point at a line, and its formula does.</p>"
        f'<ol class="contents">{items}</ol>'
    )


def _entries(name: str, title: str, body: str) -> list[dict[str, str]]:
    """What the search looks through: the headings, paragraphs and table rows of a chapter."""
    entries, section = [], ""
    for match in re.finditer(r'<(?:section|div)[^>]* id="([^"]+)"|<(h[1-4]|p|li|tr|figcaption)\b[^>]*>(.*?)</\2>', body, re.S):
        if match[1]:
            section = match[1]
            continue
        plain = html.unescape(re.sub(r"<[^>]+>", " ", match[3]))
        plain = re.sub(r"\s+", " ", plain).strip()
        if len(plain) > 3:
            entries.append({"at": f"{name}.html#{section}" if section else f"{name}.html", "in": title, "text": plain})
    return entries


def _colours() -> str:
    """The colours of code, by day and by night."""
    from pygments.formatters import HtmlFormatter

    day = HtmlFormatter(style="friendly", classprefix="k-").get_style_defs(".code")
    night = HtmlFormatter(style="github-dark", classprefix="k-").get_style_defs(".code")
    inline = HtmlFormatter(style="friendly", classprefix="").get_style_defs("pre.code")
    inline_night = HtmlFormatter(style="github-dark", classprefix="").get_style_defs("pre.code")
    plain = ".code, pre.code { background: none !important; }"  # the panel's own
    return f"\n{day}\n{inline}\n@media (prefers-color-scheme: dark) {{\n{night}\n{inline_night}\n}}\n{plain}\n"

"""The book: its code runs, its links lead somewhere, its formulas have their lines, its exercises their answers."""

import html
import importlib
import json
import os
import re
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

pytest.importorskip("docutils")
pytest.importorskip("latex2mathml")
pytest.importorskip("pygments")

from minilm import book, cli  # noqa: E402
from minilm.book import broken, directives, listings, site, text  # noqa: E402
from minilm.gradcheck import catalogue  # noqa: E402
from minilm.gradcheck.check import check  # noqa: E402


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The files of a book by name."""
    folder = tmp_path_factory.mktemp("book")
    assert book.write(folder) == str(folder / "index.html")
    return {name: (folder / name).read_text(encoding="utf-8") for name in os.listdir(folder)}


def test_only_a_book_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "CHAPTERS", ("notation",))
    for name in ("index.html", "notation.html"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(FileExistsError, match=f"{name} is there already and of no book"):
            book.write(tmp_path)
        assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
        (tmp_path / name).unlink()
    (tmp_path / "notes.html").write_text("mine")
    for _ in range(2):
        book.write(tmp_path)
    assert (tmp_path / "notes.html").read_text() == "mine"


def chapters(pages):
    return {name.removesuffix(".html"): page for name, page in pages.items() if name.endswith(".html") and name != "index.html"}


# --- the written pages ------------------------------------------------------------------------------------------------


def test_every_chapter_is_there_in_order(pages):
    assert set(chapters(pages)) == set(book.CHAPTERS)
    listed = re.findall(r'<li><a href="([\w-]+)\.html"', pages["index.html"].partition("<main>")[2])
    assert listed == list(book.CHAPTERS)


def test_nothing_is_fetched_from_elsewhere(pages):
    for name, page in pages.items():
        assert not re.search(r'(?:src|href)="(?:https?:)?//|url\(|@import', page), name


def test_a_policy_forbids_every_request(pages):
    for name, page in pages.items():
        if name.endswith(".html"):
            (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
            assert policy.startswith("default-src 'none'; ") and not re.search(r"https?:|\*|data:(?!;)", policy), name
            assert not re.search(r"<script(?! src=)|\son[a-z]+=", page), f"{name} holds a script, which the policy forbids"


def test_ids_are_unique_and_links_lead_somewhere(pages):
    ids = {name: re.findall(r'\bid="([^"]+)"', page) for name, page in pages.items() if name.endswith(".html")}
    for name, found in ids.items():
        assert len(found) == len(set(found)), name
    for name, page in pages.items():
        for target in re.findall(r'href="([^"]+)"', page) if name.endswith(".html") else ():
            file, _, id = target.partition("#")
            assert (file or name) in pages, target
            assert not id or id in ids[file or name], target


def test_every_formula_has_its_line_and_every_line_its_formula(pages):
    numbered = 0
    for name, page in chapters(pages).items():
        ids = set(re.findall(r'<div class="formula" id="([^"]+)" data-links="\1"', page))
        lines = [links.split() for links in re.findall(r'class="line" id="[^"]+" data-links="([^"]+)"', page)]
        assert {link for links in lines for link in links} == ids, name
        numbered += len(ids)
    assert numbered > 100


def test_the_lines_that_light_up_are_the_right_ones(pages):
    """The LSTM's c[t] = f c' + i g, and the lines of three implementations that assign c."""
    page = pages["lstm-language-model.html"]
    row = r'<div class="formula" id="(lstm-f\d+)"[^>]*>(?:(?!</div>).)*?<mi>c</mi>(?:(?!</div>).)*?<mi>f</mi>'
    (id,) = re.findall(row, page)[:1]
    tied = re.findall(rf'<span class="line" id="(lstm-\w+)-\d+" data-links="[^"]*\b{id}\b[^"]*"[^>]*>(.*?)\n</span>', page)
    texts = [html.unescape(re.sub(r"<[^>]+>", "", line)) for _, line in tied]
    assert any("c = f * c0 + i * g" in text for text in texts)
    assert {where for where, _ in tied} >= {"lstm-oracle"} and len({where for where, _ in tied}) > 1


def test_versions_of_kernels_can_be_chosen(pages):
    page = pages["attention.html"]
    assert all(f'<option value="{version}">' in page for version in (1, 2, 3))
    (line,) = re.findall(r'data-version="(\d)"[^>]*>(?:(?!</span>\n).)*attention_forward_2', page)[:1] or ["2"]
    assert line == "2"
    numba = page.partition("minilm/ops/attention/cpu_1.py")[2]
    first, _, second = numba.partition("minilm/ops/attention/cpu.py")
    assert set(re.findall(r'data-version="(\d)"', first)) == {"1"} and 'data-version="2"' in second


def test_code_in_a_line_is_set_as_code(pages):
    """docutils gives what stands between two backticks a class, and no element of its own."""
    assert '<span class="docutils literal">spec.py</span>' in pages["architecture.html"]
    (selectors,) = re.findall(r"([^}]*)\{ font-family: [^;]*monospace", pages["book.css"])
    assert {"code", "pre", ".literal"} <= {each.strip() for each in selectors.split(",")}


def test_formulas_are_mathml(pages):
    found = [match for page in chapters(pages).values() for match in re.findall(r"<math.*?</math>", page, re.S)]
    assert len(found) > 250
    for match in found:
        ElementTree.fromstring(match)


def test_a_processor_s_rates_are_those_of_its_last_record(tmp_path, monkeypatch):
    def record(cpu, ratio):
        row = {"subject": "lstm", "name": "lstm B 1", "ratios": {"oracle": {"median": ratio}}}
        return json.dumps({"machine": {"cpu": cpu}, "results": [row, {**row, "subject": "gru"}]})

    directives.register()
    monkeypatch.setattr(directives, "RECORDS", tmp_path)
    for name, cpu, ratio in (("2026-01-02-b", "A", 5), ("2026-01-02-a", "A", 4), ("2026-01-01", "B", 3), ("2025-12-31", "A", 2)):
        (tmp_path / f"{name}.json").write_text(record(cpu, ratio))
    page = text.render(".. rates:: lstm", text.Formulas("f"))
    assert re.findall(r"<td>(\d)</td>", page) == ["5", "3"] and len(re.findall("<tr>", page)) == 4


def test_the_search_finds_a_word(pages):
    entries = json.loads(pages["search.js"].removeprefix("const BOOK = ").rstrip(";\n").replace("<\\/", "</"))
    assert any("FlashAttention" in entry["text"] and entry["at"].startswith("attention.html") for entry in entries)
    assert all(set(entry) == {"at", "in", "text"} and "<" not in entry["at"] for entry in entries)


def test_exercises_show_what_the_check_says(pages):
    answers = re.findall(r'class="exercise".*?<summary>.*?</summary><pre>(.*?)</pre>', pages["layer-norm.html"], re.S)
    assert answers and all("FAILED" in answer and "dx" in answer for answer in answers)
    (answer,) = re.findall(r"gradcheck attention.*", pages["attention.html"])
    assert "FAILED" not in answer  # forward is wrong, and backward its derivative


# --- the code in the chapters -----------------------------------------------------------------------------------------


def blocks(name):
    """The Python of a chapter: (name or None, source)."""
    source = (site.FOLDER / "chapters" / f"{name}.rst").read_text(encoding="utf-8")
    found = []
    for match in re.finditer(r"^\.\. code:: python\n(?: +:name: (\S+)\n)?\n((?:(?: {4}.*)?\n)+)", source, re.M):
        found.append((match[1], re.sub(r"^ {4}", "", match[2], flags=re.M)))
    return found


@pytest.mark.parametrize("name", [name for name in book.CHAPTERS if name != "adding-an-op" and blocks(name)])
def test_the_code_of_a_chapter_runs(name, capsys):
    names: dict = {"__name__": "chapter"}
    for _, source in blocks(name):
        exec(compile(source, f"{name}.rst", "exec"), names)


def test_an_op_is_added_in_seven_steps(tmp_path, monkeypatch):
    files = dict(blocks("adding-an-op"))
    assert set(files) == {"spec.py", "oracle.py", "cpu.py", "__init__.py", "cases.py"}
    package = tmp_path / "ops_of_the_book" / "square"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    for file, source in files.items():
        (package / file).write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    square = importlib.import_module("ops_of_the_book.square")
    (op,) = importlib.import_module("ops_of_the_book.square.cases").OPS
    for implementation in ("oracle", "cpu"):
        with catalogue._computing_by(implementation, "op"):
            for task in catalogue._op_tasks(op):
                assert check(task.subject, 1e-8, task.method), implementation
    for size in op.dims["N"]:
        case = op.draw(np.random.default_rng(size), np.dtype(np.float64), {"N": size})
        y, saved = square.forward(**case.arguments)
        dx = square.backward(np.ones_like(y), saved)
        np.testing.assert_allclose(y, case.arguments["x"] ** 2, rtol=1e-15)
        np.testing.assert_allclose(dx, 2 * case.arguments["x"], rtol=1e-15)
    with pytest.raises(TypeError, match="x must be float32 or float64"):
        square.forward(np.arange(3))
    for name in [name for name in sys.modules if name.startswith("ops_of_the_book")]:
        del sys.modules[name]


# --- pieces -----------------------------------------------------------------------------------------------------------


def test_which_names_a_line_assigns():
    python = "def backward(dy, saved):\n    c_t, gates[t] = step(a)\n    dh += dy\n    return dy * c_t\n"
    assert listings.defined_on(python, ".py") == {2: {"c", "gates"}, 3: {"dh"}, 4: {"dx"}}
    cuda = "    REAL c = f * c0 + i * g;\n    if (c == 0) return;\n    dx[n] += 2;\n    const float s = 1;\n"
    assert listings.defined_on(cuda, ".cu") == {1: {"c"}, 3: {"dx"}, 4: {"s"}}


def test_a_changed_line_is_named(monkeypatch):
    with pytest.raises(ValueError, match="'no such line' stands 0 times in minilm.ops.linear.oracle"):
        broken.report("linear", "no such line", "x")


def test_the_oracle_is_whole_again_after_an_exercise():
    before = broken.report("linear", "dx = dy @ W", "dx = dy @ W + 1")
    assert "FAILED" in before and catalogue.run("linear", "oracle").passed


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_refuses_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert cli.main(["book", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err == f"minilm: {tmp_path / 'file'} is a file, wanted a folder for the book\n"


@pytest.mark.parametrize("options", [[], ["--notebooks"]])
@pytest.mark.parametrize("library", ["docutils", "latex2mathml", "pygments"])
def test_without_the_extra_it_says_what_is_missing(tmp_path, capsys, monkeypatch, library, options):
    monkeypatch.setitem(sys.modules, library, None)
    for name in [name for name in sys.modules if name.startswith((f"{library}.", "minilm.book"))]:
        monkeypatch.delitem(sys.modules, name)  # as in a process of its own
    monkeypatch.delattr("minilm.book")
    assert cli.main(["book", str(tmp_path / "out"), *options]) == 2
    assert capsys.readouterr().err == f"minilm: the book needs {library}: pip install 'minilm[book]'\n"


# --- notebooks --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory):
    """The notebooks by chapter."""
    folder = tmp_path_factory.mktemp("notebooks")
    assert cli.main(["book", str(folder), "--notebooks"]) == 0
    return {path.stem.partition("-")[2]: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.iterdir())}


def cells_of(notebook, kind):
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_every_chapter_is_a_notebook_whose_code_is_the_chapters(notebooks):
    assert list(notebooks) == list(book.CHAPTERS)
    for name, notebook in notebooks.items():
        assert notebook["nbformat"] == 4 and len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
        source = (site.FOLDER / "chapters" / f"{name}.rst").read_text(encoding="utf-8")
        code = cells_of(notebook, "code")
        assert len(code) == len(re.findall(r"\.\. code:: python\n(?! +:name:)|\.\. exercise::", source)), name
        for cell in code:
            compile(cell, name, "exec")
        assert not re.search(r"^\.\. \w+::", "\n".join(cells_of(notebook, "markdown")), re.M), name


def test_formulas_of_notebooks_are_latex(notebooks):
    from latex2mathml.converter import convert

    formulas_of = {
        name: re.findall(r"\$\$(.*?)\$\$", "\n".join(cells_of(notebook, "markdown")), re.S)
        for name, notebook in notebooks.items()
    }
    assert len(formulas_of["gpt"]) > 1 and "W_{\\mathit{hh}}" in "".join(formulas_of["recurrent-layers"])
    for name, blocks in formulas_of.items():
        for block in blocks:
            assert block.count("{") == block.count("}"), (name, block)
            convert(block)


def test_an_exercise_of_a_notebook_answers_as_the_book_does(notebooks, pages, capsys):
    (cell,) = [cell for cell in cells_of(notebooks["linear"], "code") if "broken" in cell]
    exec(cell, {})
    assert html.escape(capsys.readouterr().out.strip()) in pages["linear.html"]


def test_notebooks_want_a_folder(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(NotADirectoryError, match="is a file, wanted a folder for the notebooks"):
        book.write_notebooks(tmp_path / "file")

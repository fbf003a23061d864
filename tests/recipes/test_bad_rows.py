"""Rows that cannot be read end a recipe, or are left out and counted: one mechanism for every reader."""

import gzip
import json
import re

import pytest

from minilm import cli, recipes
from minilm.data import pairs
from minilm.data.lines import BadRow, BadRows
from minilm.recipes import conll, labelled, squad, stories, vector_quality


def squad_file(answer_start: int) -> str:
    asked = [{"question": "Where?", "answers": [{"text": "attic", "answer_start": start}]} for start in (4, answer_start)]
    return json.dumps({"data": [{"paragraphs": [{"context": "the attic", "qas": asked}, {"context": 5, "qas": []}]}]})


# name -> reader(path, bad_rows), file's name, content, what is left, the bad rows, what is said of the first
CASES = {
    "pairs": (lambda path, rows: pairs.read_file(path, bad_rows=rows), "a\tb\nc\nd\te\nf\tg\th\n", [("a", "b"), ("d", "e")], 2,
              ":2: no tabs in 'c'"),
    "pairs, first line": (lambda path, rows: pairs.read_file(path, bad_rows=rows), "bad_one\na\tb\nd\te\n",
                          [("a", "b"), ("d", "e")], 1, ":1: no tabs in 'bad_one'"),
    "labelled": (lambda path, rows: labelled.read(path, bad_rows=rows)[0],
                 b"sentence\tlabel\ngood\t1\nbad\nugly\xff\t0\nbad\t0\n",
                 [("good", "1"), ("bad", "0")], 2, ":3: 1 columns, wanted 2"),
    "conll": (lambda path, rows: [each.words for each in conll.read(path, bad_rows=rows)[0]], "a O\n\nb NN\nc O\n\nd B-X\n",
              [("a",), ("d",)], 1, ":3: the tag 'NN'"),
    "babi": (lambda path, rows: [each.answer for each in stories.read_babi(path, rows)],
             "1 a b.\n2 c?\td\t1\n3 x?\ty\t9\n4 e?\tf\t1\n1 g h.\n2 i?\tj\t1\n", ["d", "j"], 1,
             ":3: got the supporting line '9'"),
    "squad": (lambda path, rows: [each.start for each in squad.read_squad(path, rows)], squad_file(3), [4], 2,
              "data[0].paragraphs[0].qas[1].answers[0]: wanted 'attic' at 3"),
    "questions": (lambda path, rows: [each[:4] for each in vector_quality.read_questions(path, rows)],
                  ": x\na b c d\na b c\ne f g h\n", [("a", "b", "c", "d"), ("e", "f", "g", "h")], 1, ":3: 3 words, wanted four"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_reader(tmp_path, name):
    read, content, wanted, count, first = CASES[name]
    path = tmp_path / "data.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadRow, match=re.escape(first)):
        read(path, BadRows())
    bad_rows = BadRows(skip=True)
    assert read(path, bad_rows) == wanted
    assert bad_rows.count == count and first in bad_rows.first


def test_parallel_text(tmp_path):
    (tmp_path / "train.de").write_bytes(b"eins\n\ndrei\nvier\n")
    (tmp_path / "train.en").write_bytes(b"one\ntwo\nthr\xff\xff\nfour\n")
    with pytest.raises(BadRow, match=r"train\.de:2: an empty line"):
        pairs.read_parallel(tmp_path)
    bad_rows = BadRows(skip=True)
    assert pairs.read_parallel(tmp_path, bad_rows=bad_rows)[0] == [("eins", "one"), ("vier", "four")] and bad_rows.count == 2
    (tmp_path / "train.en").write_text("one\n")  # no row is wrong alone here
    with pytest.raises(ValueError, match="has no such line"):
        pairs.read_parallel(tmp_path, bad_rows=BadRows(skip=True))


def test_vectors_leave_lines_out(tmp_path):
    (tmp_path / "text").write_bytes(b"one two\n\xff\xfe three\nfour one two\n")
    recipe = recipes.load("vectors")(bad_rows="skip", min_count=1)
    recipe.read(tmp_path / "text")
    assert list(recipe._numbers) == ["one", "two", "four"] and recipe.bad_rows.count == 1


TATOEBA = "Go.\tVa !\tCC-BY 2.0 (France)\nHi.\tSalut !\tCC-BY 2.0 (France)\n"


def test_columns_of_pairs(tmp_path):
    """fra.txt of Tatoeba has a third column in every line: settings name the two that are meant."""
    path = tmp_path / "fra.txt"
    path.write_text(TATOEBA)
    with pytest.raises(BadRow, match=r"fra\.txt:1: 2 tabs in .*source_column and target_column"):
        pairs.read_file(path)
    with pytest.raises(ValueError, match=r"all of the 2 rows are bad; the first: .*fra\.txt:1: 2 tabs"):
        pairs.read_file(path, bad_rows=BadRows(skip=True))
    assert pairs.read_file(path, columns=(2, 1)) == [("Va !", "Go."), ("Salut !", "Hi.")]
    with pytest.raises(BadRow, match=r"fra\.txt:1: 2 tabs in .*wanted 4 columns"):
        pairs.read_file(path, columns=(1, 4))
    recipe = recipes.load("translate")(source_column=1, target_column=2)
    assert sorted(sum(recipe.read(path), [])) == [("Go.", "Va !"), ("Hi.", "Salut !")]
    for wrong in ({"source_column": 1}, {"source_column": 1, "target_column": 1}, {"source_column": 0, "target_column": 1}):
        with pytest.raises((ValueError, TypeError), match="_column"):
            recipes.load("translate")(**wrong).read(path)


def test_a_mark_at_the_beginning_is_no_part_of_the_data(tmp_path):
    mark = "\ufeff"
    (tmp_path / "train.de").write_text(f"{mark}eins\n")
    (tmp_path / "train.en.gz").write_bytes(gzip.compress(f"{mark}one\n".encode()))
    (tmp_path / "pairs.tsv").write_text(f"{mark}eins\tone\n")
    assert pairs.read_parallel(tmp_path)[0] == pairs.read_file(tmp_path / "pairs.tsv") == [("eins", "one")]
    (tmp_path / "questions").write_text(f"{mark}a b c d\n")
    assert vector_quality.read_questions(tmp_path / "questions")[0].a == "a"
    (tmp_path / "text").write_text(f"{mark}eins zwei eins zwei\n")
    recipe = recipes.load("vectors")()
    recipe.read(tmp_path / "text")
    assert list(recipe._numbers) == ["eins", "zwei"]


def test_command_line(tmp_path, capsys):
    path = tmp_path / "labels.tsv"
    path.write_text("sentence\tlabel\n" + "a good film\t1\na bad film\t0\n" * 20 + "no label\n")
    argv = ["recipe", "sentiment", "--data", str(path), "--set", "model=words", "--set", "hidden_size=0"]
    argv += ["--steps", "2", "--quiet"]
    assert cli.main([*argv, "--out", str(tmp_path / "none")]) == 2
    told = capsys.readouterr().err
    assert "labels.tsv:42: 1 columns" in told and told.count("\n") == 1
    assert cli.main([*argv, "--bad-rows", "skip", "--out", str(tmp_path / "run")]) == 0
    told = capsys.readouterr().err
    assert re.fullmatch(r"minilm: warning: left out 1 bad row; the first: .*labels\.tsv:42: 1 columns.*\n", told)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["options"]["bad_rows"] == "skip"
    path.write_text("sentence\tlabel\n1\n2\n")
    assert cli.main([*argv, "--bad-rows", "skip", "--out", str(tmp_path / "none")]) == 2
    assert re.search(r"all of the 2 rows are bad; the first: .*labels\.tsv:2: 1 columns", capsys.readouterr().err)

"""The texts of the tokenizers' cases: read from the folder that is named, said in the row, and else the built-in ones."""

import json

import pytest

from benchmarks import cases_tokenizers, texts


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILM_TEST_CORPORA", str(tmp_path))
    monkeypatch.delenv("MINILM_TEST_GPT2", raising=False)
    return tmp_path


def names(quick=True):
    return [case.name for case in cases_tokenizers.cases(quick)]


def test_without_a_folder_texts_are_the_built_in_ones(folder):
    assert list(texts.written(3000)) == ["stories", "code of Python's library"]
    rows = names()
    assert "bpe own vocabulary, stories, cold" in rows and "bpe own vocabulary, Thai letters drawn, warm" in rows
    assert not any("XQuAD" in row or "cl100k" in row for row in rows)


def test_a_text_of_the_folder_stands_in_the_row_and_the_drawn_one_beside_it(folder):
    (folder / "xquad").mkdir()
    paragraph = {"context": "ทีมรับของแพนเธอร์ส", "qas": [{"question": "ใคร"}, {"question": "ที่ไหน"}]}
    content = {"data": [{"paragraphs": [paragraph, {"context": "ลีก", "qas": []}]}]}
    (folder / "xquad" / "xquad.th.json").write_text(json.dumps(content), encoding="utf-8")
    assert texts.written(3000)["Thai of XQuAD"] == "ทีมรับของแพนเธอร์ส\nใคร\nที่ไหน\nลีก"
    rows = names()
    assert {"bpe own vocabulary, Thai of XQuAD, cold", "bpe own vocabulary, Thai letters drawn, cold"} <= set(rows)
    cold = next(case for case in cases_tokenizers.cases(True) if "Thai of XQuAD, cold" in case.name)
    assert cold.target == 10.0 and cold.against == "tiktoken"


def test_code_is_read_as_it_was_written():
    text = texts.written(50_000)["code of Python's library"]
    assert len(text) == 50_000 and text.count("import ") > 10 and "def " in text

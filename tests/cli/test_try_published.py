"""minilm try on folders in Hugging Face's layout: language models, classifiers, taggers, readers."""

import json

import pytest

from tests.cli.test_published import bert, bert_folder, gpt, run, word_pieces  # noqa: F401


def answers(capsys, folder, *texts):
    status, out, err = run(capsys, "try", folder, *texts)
    assert (status, err) == (0, "")
    assert run(capsys, "try", "--weights", folder, *texts)[1] == out
    return out.splitlines()


def relabelled(folder, *names, **more):
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {str(i): name for i, name in enumerate(names)}, "label2id": {name: i for i, name in enumerate(names)}}
    (folder / "config.json").write_text(json.dumps({**config, **more}))


def test_try_language_models(gpt, bert, capsys):  # noqa: F811
    (line, *_) = answers(capsys, gpt[0], "the cat")
    assert line.startswith("the cat") and len(line) > 20
    lines = answers(capsys, bert[0], "the [MASK] sat on [MASK]")
    assert len(lines) == 2 and all(line.count("%") == 5 for line in lines)


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification", "regression", None])
def test_try_a_classifier(problem, word_pieces, tmp_path, capsys):  # noqa: F811
    transformers = pytest.importorskip("transformers")
    bert_folder(tmp_path, word_pieces, "BERTForSequenceClassification", num_labels=3)
    relabelled(tmp_path, "good", "bad", "ugly", problem_type=problem)
    parts = {"tokenizer": transformers.BertTokenizerFast.from_pretrained(tmp_path), "top_k": None}
    parts["model"] = transformers.BertForSequenceClassification.from_pretrained(tmp_path)
    peer = transformers.pipeline("text-classification", **parts)
    for text in ("the cat sat", "a dog ate the fish"):
        (wanted,) = peer([text])
        (line,) = answers(capsys, tmp_path, text)
        if problem == "regression":
            scores = {each["label"]: each["score"] for each in wanted}
            scores = [scores[name] for name in ("good", "bad", "ugly")]
            assert [float(part) for part in line.split()] == pytest.approx(scores, rel=1e-3)
        else:
            several = problem == "multi_label_classification"
            best = [each for each in wanted if each["score"] >= 0.5] if several else wanted[:1]
            assert line == "   ".join(f"{each['label']} ({each['score']:.1%})" for each in best or wanted[:1])


@pytest.mark.parametrize("names", [("O", "B-PET", "I-PET"), ("NOUN", "VERB", "DET")])
def test_try_a_tagger(names, word_pieces, tmp_path, capsys):  # noqa: F811
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    bert_folder(tmp_path, word_pieces, "BERTForTokenClassification", num_labels=3)
    relabelled(tmp_path, *names)
    words = ["the", "cat", "ate", "fish"]
    peer = transformers.BertForTokenClassification.from_pretrained(tmp_path).eval()
    cut = transformers.BertTokenizerFast.from_pretrained(tmp_path)([words], is_split_into_words=True, return_tensors="pt")
    with torch.no_grad():
        best = peer(**cut).logits[0].argmax(-1).tolist()
    tags = [names[best[cut.word_ids().index(number)]] for number in range(4)]
    (line,) = answers(capsys, tmp_path, " ".join(words))
    if "O" not in names:
        assert line == " ".join(f"{word}/{tag}" for word, tag in zip(words, tags, strict=True))
    else:
        assert ("[PET" in line) == any(tag != "O" for tag in tags) and line.replace("[PET ", "").replace("]", "").split() == words


def test_try_one_that_answers_questions(word_pieces, tmp_path, capsys):  # noqa: F811
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    bert_folder(tmp_path, word_pieces, "BERTForQuestionAnswering")
    passage, question = "the cat sat on the mat", "what sat on the mat?"
    peer = transformers.BertForQuestionAnswering.from_pretrained(tmp_path).eval()
    options = {"return_tensors": "pt", "return_offsets_mapping": True}
    cut = transformers.BertTokenizerFast.from_pretrained(tmp_path)(question, passage, **options)
    places, inside = cut.pop("offset_mapping")[0].tolist(), [number == 1 for number in cut.sequence_ids()]
    with torch.no_grad():
        found = peer(**cut)
    spans = [(i, j) for i in range(len(inside)) for j in range(i, len(inside)) if inside[i] and inside[j]]
    first, last = max(spans, key=lambda span: float(found.start_logits[0, span[0]] + found.end_logits[0, span[1]]))
    assert answers(capsys, tmp_path, f"{passage}. {question}") == [passage[places[first][0] : places[last][1]]]


def test_a_head_that_is_missing_is_not_made_up(word_pieces, tmp_path, capsys):  # noqa: F811
    bert_folder(tmp_path, word_pieces)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["BertForTokenClassification"]}))
    status, _, err = run(capsys, "try", tmp_path, "the cat")
    assert status == 2 and "its weights lack classifier.weight, classifier.bias" in err

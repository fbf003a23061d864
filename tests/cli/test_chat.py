"""`minilm chat`: one line that cannot be asked does not end the chat; what can never be asked is refused at the start."""

import io

import pytest

from minilm import cli, generation, models
from tests.cli.test_convert import LLAMA, disturbed, folder_of
from tests.weights.test_gguf import PROGRAM


@pytest.fixture
def chat(tmp_path, capsys, monkeypatch):
    """A function that types lines; the status, what is printed, and what is said of errors."""
    folder_of(disturbed(models.Llama(models.LlamaConfig(**LLAMA))), tmp_path / "llama")

    def typed(lines, *words, program=PROGRAM):
        (tmp_path / "llama" / "chat_template.jinja").write_text(program)
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        status = cli.main(["chat", str(tmp_path / "llama"), "--tokens", "3", *words])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return typed


SHORT = "{% for message in messages %}{{ message.content }}{% endfor %}"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}" + SHORT


def test_a_line_that_cannot_be_asked_does_not_end_the_chat(chat):
    pytest.importorskip("jinja2")
    status, out, err = chat(["<|endoftext|>", "the " * 40, "the cat"], program=SHORT)
    assert status == 0 and out == chat(["the cat"], program=SHORT)[1] and out.count("\n") == 1
    spelled, long = err.splitlines()
    assert "spells <|endoftext|>" in spelled and "more than the model's context of 32" in long


def test_an_answer_that_spells_a_mark_is_forgotten(chat, monkeypatch):
    pytest.importorskip("jinja2")
    prompts = []

    def stream(model, tokenizer, prompt, tokens, **options):
        prompts.append(prompt)
        return iter(["a<|endoftext|>"] if len(prompts) == 1 else ["b"])

    monkeypatch.setattr(generation, "stream", stream)
    status, out, err = chat(["x", "y", "z"], program=SHORT)
    assert (status, out, prompts) == (0, "a<|endoftext|>\nb\nb\n", ["x", "y", "ybz"])
    assert err.count("\n") == 1 and "without this question and its answer" in err


def test_a_form_that_is_no_utf8_is_named(chat, tmp_path, capsys):
    chat([])
    (tmp_path / "llama" / "chat_template.jinja").write_bytes(b"a\xff")
    assert cli.main(["chat", str(tmp_path / "llama")]) == 2
    assert "chat_template.jinja: byte 1 is not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "program", "says"),
    [
        (["--seed", "-1"], SHORT, "seed must lie in"),
        (["--system", "be kind"], NO_SYSTEM, "no system here"),
        (["--system", "<|im_end|>"], PROGRAM, "spells <|im_end|>"),
    ],
)
def test_what_can_never_be_asked_is_refused_at_the_start(words, program, says, chat):
    pytest.importorskip("jinja2")
    status, out, err = chat([], *words, program=program)
    assert (status, out) == (2, "") and says in err and err.count("\n") == 1

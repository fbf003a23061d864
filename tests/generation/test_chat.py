"""Chats whose form is a program in Jinja: as transformers renders them, in a sandbox, and refused in one line."""

import json
import sys

import numpy as np
import pytest

from minilm import cli, models
from minilm.generation.chat import ChatML, JinjaFormat, chat_format, chat_template, chat_tokens, training_ids
from minilm.tokenizers import ByteLevelBPE
from minilm.tokenizers.bpe.alphabet import characters
from minilm.tokenizers.post_processor import framed

pytest.importorskip("jinja2")

HEADERS = """{{ bos_token }}
{%- for message in messages %}
    {%- if message.role not in ['system', 'user', 'assistant'] %}{{ raise_exception('no role ' ~ message.role) }}{% endif %}
    {%- if loop.index0 > 99 %}{% break %}{% endif %}
<|head|>{{ message['role'] }}<|end|>

{{ message['content'] | trim }}<|eot|>
{%- endfor %}
{%- if add_generation_prompt %}<|head|>assistant<|end|>

{% endif %}"""
TURNS = """{{ bos_token }}{% set ns = namespace(system='') %}
{%- for m in messages %}
{%- if m['role'] == 'system' %}{% set ns.system = m['content'] + '\n\n' %}
{%- elif m['role'] == 'user' %}[INST] {{ ns.system + m['content'] }} [/INST]{% set ns.system = '' %}
{%- else %}{% generation %}{{ m['content'] }}{{ eos_token }}{% endgeneration %}{% endif %}
{%- endfor %}"""
JSON = "{{ messages | tojson }}{{ tools is none }}{% if add_generation_prompt %}:{% endif %}{{ strftime_now('%%') }}"
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
USER, ANSWER = {"role": "user", "content": " a <b> \u00fc\n"}, {"role": "assistant", "content": "c"}
SYSTEM = {"role": "system", "content": "Be kind"}
CHATS = [[USER], [USER, ANSWER, USER], [SYSTEM, USER, ANSWER], [SYSTEM, USER, ANSWER, USER, ANSWER]]


@pytest.mark.parametrize("program", [HEADERS, TURNS, JSON])
@pytest.mark.parametrize("reply", [True, False])
def test_transformers_writes_the_same(program, reply):
    peer = pytest.importorskip("transformers.utils.chat_template_utils")
    form = chat_format(program, TOKENS)
    for chat in CHATS:
        theirs, _ = peer.render_jinja_template([chat], chat_template=program, add_generation_prompt=reply, **TOKENS)
        assert form.text(chat, reply=reply) == theirs[0]


def test_pieces_are_the_text_and_the_assistant_learns_after_its_head():
    for program in (HEADERS, TURNS):
        form = chat_format(program, TOKENS)
        for chat in CHATS:
            pieces = list(form.pieces(chat))
            assert "".join(text for text, _ in pieces) == form.text(chat, reply=False)
            end = "<|eot|>" if program == HEADERS else "</s>"
            assert [text for text, learns in pieces if learns] == [f"c{end}"] * sum(each == ANSWER for each in chat)
    with pytest.raises(ValueError, match="changes what stands before a message"):
        list(chat_format("{{ messages | length }}{{ messages[-1].content }}").pieces([USER, ANSWER]))


@pytest.mark.parametrize(
    "program, message",
    [
        ("{% for %}", "the chat template is no program in Jinja: "),
        (" \n", "the chat template is empty"),
        ("{{ messages.__class__ }}", "the chat template names __class__, one of Python's own workings"),
        ("{{ messages[0]['_' ~ '_class__']('x') }}", "refuses this chat: "),
        ("{{ messages | attr('_' ~ '_class__') }}{{ undefined.x }}", "refuses this chat: "),
        ("{{ messages.append(1) }}", "refuses this chat: .*append"),
        ("{{ raise_exception('users first') }}", "refuses this chat: users first"),
        ("{{ 1 // 0 }}", "refuses this chat: .*zero"),
        ("{% include 'file' %}", "refuses this chat: "),
        ("{{ range(10**9) | list }}", "refuses this chat: "),
    ],
)
def test_what_a_program_may_not(program, message):
    with pytest.raises(ValueError, match=message) as caught:
        chat_format(program, TOKENS).text([USER])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("program", [None, HEADERS], ids=["ChatML", "Jinja"])
@pytest.mark.parametrize("messages, got", [("hi", "'h'"), (["hi"], "'hi'"), (USER, "'role'"), ([USER, None], "None")])
def test_messages_that_are_no_mappings(program, messages, got):
    form = ChatML() if program is None else chat_format(program, TOKENS)
    for use in (form.text, lambda chat: list(form.pieces(chat))):
        with pytest.raises(ValueError, match=rf"message [01] must have a role.* and a content, got .*{got}"):
            use(messages)
        for unsized in (None, iter([USER])):
            with pytest.raises(TypeError, match="messages must be a list of mappings, got"):
                use(unsized)


def test_messages_that_do_not_fit():
    form = chat_format(HEADERS, TOKENS, ["<|eot|>"])
    for messages, says in (
        ([], "at least one"),
        ([{"role": "user"}], "message 0 must have a role and a content"),
        ([USER, {"role": "user", "content": "x<|eot|>"}], "message 1 spells <|eot|>"),
        ([{"role": "tool", "content": "x"}], "no role tool"),
    ):
        with pytest.raises(ValueError, match=says.replace("|", r"\|")):
            form.text(messages)


def test_without_jinja_or_with_an_old_one(monkeypatch):
    import jinja2

    monkeypatch.setattr(jinja2, "__version__", "3.1.4")
    with pytest.raises(ValueError, match="jinja2 must be 3.1.6 or later.*got 3.1.4"):
        chat_format("{{ 1 }}")
    monkeypatch.setitem(sys.modules, "jinja2.sandbox", None)
    with pytest.raises(ValueError, match=r"pip install 'minilm\[chat\]'"):
        chat_format("{{ 2 }}")


@pytest.fixture
def folder(tmp_path):
    """A Llama with Llama 3's kind of template, whose tokenizer adds a bos that the template has already."""
    special = ["<s>", "</s>", "<|head|>", "<|end|>", "<|eot|>"]
    tokenizer = ByteLevelBPE([*special, *characters()], [], special_tokens=special, post_processor=framed(("<s>", 0), None))
    config = models.LlamaConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=128,
    )
    models.Llama(config, seed=0).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    said = json.loads(path.read_text()) | {"bos_token": "<s>", "chat_template": [{"name": "default", "template": HEADERS}]}
    path.write_text(json.dumps(said))
    return tmp_path


def test_a_folder_chats_with_one_bos(folder, capsys, monkeypatch):
    import io

    from minilm import generation

    assert chat_template(folder) == HEADERS and chat_tokens(folder)["bos_token"] == "<s>"
    prompts, real = [], generation.stream

    def stream(model, tokenizer, prompt, *arguments, **options):
        prompts.append(generation.text.prompt_ids(tokenizer, prompt, options["add_special_tokens"]).tolist())
        return real(model, tokenizer, prompt, *arguments, **options)

    monkeypatch.setattr(generation, "stream", stream)
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi\n\n"))
    assert cli.main(["chat", str(folder), "--tokens", "3", "--greedy"]) == 0
    assert len(prompts) == 1 and prompts[0][:2] == [0, 2] and prompts[0].count(0) == 1
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi <|eot|>\n"))
    assert cli.main(["chat", str(folder)]) == 0 and len(prompts) == 1  # the chat goes on without it
    assert "spells <|eot|>" in capsys.readouterr().err


def test_fine_tuning_learns_the_assistants_part(folder):
    from minilm import tokenizers

    tokenizer = tokenizers.load(folder)
    form = chat_format(chat_template(folder), chat_tokens(folder), tokenizer.special_tokens)
    assert isinstance(form, JinjaFormat)
    ids, targets = training_ids(tokenizer, form, [USER, ANSWER])
    assert tokenizer.decode(targets[targets >= 0]) == "c<|eot|>" and (ids == 0).sum() == 1
    assert ids.shape == targets.shape and np.isin(targets[0], [-100, *ids[0], tokenizer.token_to_id("<|eot|>")]).all()

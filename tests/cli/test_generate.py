"""`minilm generate`."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from minilm import cli, devices, generation, models, quantized, tokenizers, training
from tests.cuda_on_cpu import fake_cupy
from tests.ops import gpu

TEXT = "The cat sat on the mat.\nThe dog sat, too.\n"


def save(folder, tokenizer, dtype=np.float32):
    """A folder with a model, as Hugging Face users know it."""
    folder.mkdir()
    config = models.RNNLanguageModelConfig(vocab_size=tokenizer.vocab_size, embedding_size=6, hidden_size=9)
    model = models.RNNLanguageModel(config, seed=0, dtype=dtype)
    for value in model.parameters.values():
        value *= 3
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    save_file(model.parameters.state_dict(), folder / "model.safetensors")
    tokenizer.save(folder)
    return model


@pytest.fixture
def characters(tmp_path):
    return tmp_path / "run", save(tmp_path / "run", tokenizers.Character(TEXT)), tokenizers.Character(TEXT)


@pytest.fixture
def words(tmp_path):
    tokenizer = tokenizers.WordLevel.train_from_chunks(TEXT, vocab_size=6)
    return tmp_path / "words", save(tmp_path / "words", tokenizer), tokenizer


def generate(capsys, *arguments):
    status = cli.main(["generate", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize(
    "words, options",
    [
        ([], {}),
        (["--seed", "5"], {"seed": 5}),
        (["--temperature", "0.5"], {"temperature": 0.5}),
        (["--temperature", "0"], {"greedy": True}),
        (["--greedy"], {"greedy": True}),
        (["--top-k", "3"], {"top_k": 3}),
        (["--top-p", "0.8"], {"top_p": 0.8}),
        (["--top-p", "0.8", "--top-k", "5", "--temperature", "2"], {"top_p": 0.8, "top_k": 5, "temperature": 2}),
        (["--stop", "e", "--stop", "o"], {"stop": ["e", "o"]}),
    ],
)
def test_it_prints_what_the_library_generates(words, options, characters, capsys):
    folder, model, tokenizer = characters
    expected = generation.generate(model, tokenizer, "The ", 60, **options)
    status, out, err = generate(capsys, folder, "--prompt", "The ", "--tokens", 60, *words)
    assert (status, out, err) == (0, f"The {expected}\n", "")


def test_the_options_make_a_difference(characters, capsys):
    texts = {
        generate(capsys, characters[0], "--tokens", "80", *words.split())[1]
        for words in ("", "--seed 1", "--top-k 2", "--greedy")
    }
    assert len(texts) == 4 and all(len(text) == 81 for text in texts)


@pytest.mark.parametrize("kind", ["int8", "bf16"])
def test_rounded_weights_write_as_the_library_does(kind, characters, capsys):
    folder, _, tokenizer = characters
    model = quantized.quantize(training.load_run(folder).model, kind)
    text = generation.generate(model, tokenizer, "T", 30, seed=4)
    status, out, _ = generate(capsys, folder, "--prompt", "T", "--tokens", 30, "--seed", 4, "--quantize", kind)
    assert status == 0 and out == f"T{text}\n"


def test_json(characters, capsys):
    folder, model, tokenizer = characters
    status, out, _ = generate(capsys, folder, "--prompt", "The", "--samples", 3, "--tokens", 20, "--seed", 2, "--json")
    found = json.loads(out)
    assert status == 0 and found["prompt"] == "The" and found["seed"] == 2 and found["tokens"] == 20
    assert found["texts"] == generation.generate_many(model, tokenizer, "The", 3, 20, seed=2)


def test_several_samples(characters, capsys):
    folder, model, tokenizer = characters
    _, out, _ = generate(capsys, folder, "--prompt", "The", "--samples", 3, "--tokens", 20)
    texts = generation.generate_many(model, tokenizer, "The", 3, 20)
    assert out == "".join(f"--- {i} of 3\nThe{text}\n" for i, text in enumerate(texts, 1))


def test_words(words, capsys):
    folder, model, tokenizer = words
    expected = generation.generate(model, tokenizer, "The cat", 30)
    _, out, _ = generate(capsys, folder, "--prompt", "The cat", "--tokens", 30)
    assert out == f"The cat{expected}\n" and "<unk>" in out
    _, out, _ = generate(capsys, folder, "--prompt", "The cat", "--tokens", 30, "--no-unk")
    assert "<unk>" not in out and len(out.split()) > 10
    _, out, _ = generate(capsys, folder, "--tokens", 3, "--prompt", "mat")  # an unknown word in the prompt reads as <unk>
    assert out.startswith("mat ")


def test_beam(characters, capsys):
    folder, model, tokenizer = characters
    found = generation.beam_search(model, tokenizer.encode("The"), 8, 4)
    status, out, err = generate(capsys, folder, "--prompt", "The", "--tokens", 8, "--beam", 4, "--samples", 2)
    assert status == 0 and out == "".join(f"The{tokenizer.decode(h.ids)}\n" for h in found[:2])
    assert err.splitlines()[0] == f"log probability {found[0].log_probability:.3f}"
    _, out, _ = generate(capsys, folder, "--prompt", "The", "--tokens", 8, "--beam", 4, "--json")
    assert json.loads(out)["texts"][0]["log_probability"] == pytest.approx(found[0].log_probability)


def test_every_piece_is_flushed(characters, monkeypatch):
    class Terminal(io.StringIO):
        shown: list[str] = []

        def flush(self):
            self.shown.append(self.getvalue())

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert cli.main(["generate", str(characters[0]), "--prompt", "The", "--tokens", "9"]) == 0
    assert {len(text) for text in terminal.shown} >= set(range(3, 14))


def test_it_streams(characters):
    """The first characters are there long before the last."""
    process = subprocess.Popen(
        [sys.executable, "-m", "minilm", "generate", characters[0], "--prompt", "The cat", "--tokens", "1000000000"],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout.read(7) == b"The cat" and len(process.stdout.read(50)) == 50
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(
    "words, says",
    [
        (["RUN", "--prompt", "Thé"], "character 2: 'é' (U+00E9) is not in the vocabulary"),
        (["RUN", "--temperature", "-1"], "temperature must lie in [0, inf), got -1.0"),
        (["RUN", "--top-k", "0"], "top_k must lie in [1, "),
        (["RUN", "--top-p", "1.5"], "top_p must lie in (0, 1], got 1.5"),
        (["RUN", "--tokens", "-1"], "tokens must lie in"),
        (["RUN", "--samples", "0"], "samples must lie in"),
        (["RUN", "--seed", "-1"], "seed must lie in"),
        (["RUN", "--beam", "0"], "beams must lie in"),
        (["RUN", "--length-penalty", "0.6"], "--length-penalty is for a search: it goes with --beam B"),
        (["RUN", "--stop", ""], "stop must not be an empty string"),
        (["nowhere"], "nowhere"),
    ],
)
def test_mistakes(words, says, characters, capsys):
    status, out, err = generate(capsys, *(str(characters[0]) if word == "RUN" else word for word in words))
    assert status == 2 and says in err and err.startswith("minilm: ") and err.count("\n") == 1
    assert not out


def test_a_diverged_model(tmp_path, capsys):
    folder = tmp_path / "run"
    model = save(folder, tokenizers.Character(TEXT))
    model.parameters["output.bias"][...] = np.nan
    save_file(model.parameters.state_dict(), folder / "model.safetensors")
    status, _, err = generate(capsys, folder, "--prompt", "The")
    assert status == 2 and err.startswith("minilm: ") and "nan" in err.lower() and err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [[], ["--samples", 3, "--top-p", 0.9, "--stop", "e"], ["--samples", 2, "--json"], ["--beam", 3, "--json"], ["--greedy"]],
)
def test_on_a_gpu(words, characters, capsys):
    """The text of the CPU, from a GPU that the CPU plays."""
    options = (characters[0], "--prompt", "The ", "--tokens", 25, *words)
    wanted = generate(capsys, *options)
    with gpu.emulated():
        fake_cupy.raw.launches.clear()
        found = generate(capsys, *options, "--device", "cuda")
        assert any(name in fake_cupy.raw.launches for name in ("sampling_draw", "softmax_forward_3"))
    if "--beam" in words:  # sums of log P differ in their last digits
        texts = [[row["text"] for row in json.loads(out)["texts"]] for _, out, _ in (found, wanted)]
        assert texts[0] == texts[1]
    else:
        assert found == wanted and found[0] == 0


def test_without_a_gpu_one_line_says_what_is_missing(characters, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    devices.gpu_status.cache_clear()
    status, out, err = generate(capsys, characters[0], "--device", "cuda")
    other = generate(capsys, characters[0], "--device", "tpu")
    devices.gpu_status.cache_clear()
    assert (status, out, err.count("\n")) == (2, "", 1) and "--device cuda: no GPU can be used: CuPy" in err
    assert other[0] == 2 and "device must be one of cpu, cuda, got 'tpu'" in other[2] and other[2].count("\n") == 1


def test_cuda_graphs_want_a_gpu(characters, capsys):
    assert cli.main(["generate", str(characters[0]), "--cuda-graphs"]) == 2
    assert capsys.readouterr().err == "minilm: --cuda-graphs wants --device cuda, and draws: it goes without --beam\n"

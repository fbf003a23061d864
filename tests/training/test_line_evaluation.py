"""The loss of lines, each read by itself."""

import numpy as np
import pytest

from minilm import cli, data, models, tokenizers, training

LINES = ["a cat", "b", "the cat sat on a mat", "", "cab"]


def kinds():
    characters = tokenizers.Character("\n abcehmnost")
    V = characters.vocab_size
    sizes = {"vocab_size": V, "hidden_size": 7, "embedding_size": 5, "num_layers": 1}
    yield models.RNNLanguageModel(models.RNNLanguageModelConfig(**sizes), seed=0), characters
    gpt = models.GPTConfig.gpt2(vocab_size=V, n_embd=8, n_layer=1, n_head=2, n_positions=24)
    yield models.GPT(gpt, seed=0), characters


@pytest.mark.parametrize("number", [0, 1])
def test_each_line_is_alone(number, tmp_path):
    model, tokenizer = list(kinds())[number]
    (tmp_path / "lines.txt").write_text("\n".join(LINES))
    result = training.evaluate_lines(model, tokenizer, data.text(tmp_path / "lines.txt"))
    total = count = 0
    for line in filter(None, LINES):
        ids = tokenizer.encode(f"\n{line}\n").astype(np.int64)[None]
        loss = model.loss(ids[:, :-1], ids[:, 1:])
        total += float(loss[0] if isinstance(loss, tuple) else loss) * (ids.size - 1)
        count += ids.size - 1
    assert result.tokens == count == result.characters and result.loss == pytest.approx(total / count, rel=1e-5)


def test_a_line_longer_than_the_context_goes_on(tmp_path):
    """In a window that begins with the last token of the one before."""
    _, tokenizer = list(kinds())[1]
    config = models.GPTConfig.gpt2(vocab_size=tokenizer.vocab_size, n_embd=8, n_layer=1, n_head=2, n_positions=4)
    model = models.GPT(config, seed=0)
    (tmp_path / "lines.txt").write_text("the cat")
    ids = tokenizer.encode("\nthe cat\n").astype(np.int64)  # (9,): 8 predictions
    parts = [(ids[None, 0:4], ids[None, 1:5]), (ids[None, 4:8], ids[None, 5:9])]
    wanted = sum(float(model.loss(*part)) for part in parts) / 2
    result = training.evaluate_lines(model, tokenizer, data.text(tmp_path / "lines.txt"))
    assert result.tokens == 8 and result.loss == pytest.approx(wanted, rel=1e-5)


def test_what_stands_between_lines(tmp_path):
    words = tokenizers.WordLevel(["a", "b"], split="spaces", eos_token="<eos>")
    model = models.RNNLanguageModel(models.RNNLanguageModelConfig(vocab_size=words.vocab_size, hidden_size=4), seed=0)
    (tmp_path / "lines.txt").write_text("a b\nb\n")
    assert training.evaluate_lines(model, words, data.text(tmp_path / "lines.txt")).tokens == 5
    with pytest.raises(ValueError, match="the tokenizer has no token '<s>'"):
        training.evaluate_lines(model, words, data.text(tmp_path / "lines.txt"), "<s>")
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(ValueError, match="there is no line that is not empty"):
        training.evaluate_lines(model, words, data.text(tmp_path / "empty.txt"))


def test_by_the_command(tmp_path, capsys):
    model, tokenizer = list(kinds())[1]
    model.save_pretrained(tmp_path / "gpt")
    tokenizer.save(tmp_path / "gpt")
    (tmp_path / "lines.txt").write_text("\n".join(LINES))
    assert cli.main(["evaluate", str(tmp_path / "gpt"), "--corpus", str(tmp_path / "lines.txt"), "--lines"]) == 0
    loss = training.evaluate_lines(model, tokenizer, data.text(tmp_path / "lines.txt")).loss
    printed = capsys.readouterr().out
    assert f"{loss:.4f} nats" in printed and "all, line by line" in printed

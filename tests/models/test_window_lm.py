"""The language model of a window: its formula against PyTorch, its state, generation, saving, explanation."""

import numpy as np
import pytest

from minilm import generation, interpret, models, tokenizers, training
from minilm.models import WindowLanguageModel, WindowLanguageModelConfig

CONFIG = WindowLanguageModelConfig(vocab_size=12, window=5, embedding_size=4, hidden_size=3, num_layers=2, pad_token_id=2)
IDS = np.random.default_rng(0).integers(0, 12, (3, 17))  # (B, T)


@pytest.fixture
def model():
    return WindowLanguageModel(CONFIG, seed=1, dtype=np.float64)


def test_loss_and_gradients_are_those_of_pytorch(model):
    torch = pytest.importorskip("torch")
    weights = {name: torch.tensor(value.copy(), requires_grad=True) for name, value in model.parameters.items()}
    layers = []
    for layer in range(2):
        peer = torch.nn.LSTM(3 if layer else 4, 3, batch_first=True).double()
        layers.append((peer, {name: weights[f"recurrent.{layer}.{name}"] for name, _ in peer.named_parameters()}))
    padded = torch.from_numpy(np.concatenate([np.full((3, 4), 2), IDS[:, :-1]], axis=1))
    windows = padded.unfold(1, 5, 1).reshape(-1, 5)  # (N, W)
    parts = [weights["embedding.weight"][windows]]
    for peer, own in layers:
        parts.append(torch.func.functional_call(peer, own, (parts[-1],))[0])
    z = torch.cat(parts, dim=-1)  # (N, W, C)
    h = (torch.softmax(z @ weights["attention.weight"], dim=1)[..., None] * z).sum(1)
    logits = h @ weights["output.weight"].T + weights["output.bias"]
    wanted = torch.nn.functional.cross_entropy(logits, torch.from_numpy(IDS[:, 1:]).reshape(-1))
    wanted.backward()
    loss, saved = model.forward(IDS[:, :-1], IDS[:, 1:])
    model.backward(saved)
    assert float(loss) == pytest.approx(float(wanted.detach()), rel=1e-10)
    assert float(model.loss(IDS[:, :-1], IDS[:, 1:])[0]) == pytest.approx(float(wanted.detach()), rel=1e-10)
    for name, tensor in weights.items():
        gradient = model.parameters.entry(name).gradient
        assert np.abs(gradient - tensor.grad.numpy()).max() <= 1e-9 * np.abs(gradient).max(), name


def test_the_state_is_the_tokens_before(model, monkeypatch):
    whole, _ = model.logits(IDS)
    first, state = model.logits(IDS[:, :6])
    second, _ = model.logits(IDS[:, 6:], state)
    assert np.allclose(np.concatenate([first, second], axis=1), whole, rtol=0, atol=1e-12)
    state = model.initial_state(3)
    for t in range(IDS.shape[1]):
        logits, state = model.step(IDS[:, t], state)
        assert np.allclose(logits, whole[:, t], rtol=0, atol=1e-12)
    assert np.allclose(model.logits(IDS, last=True)[0], whole[:, -1], rtol=0, atol=1e-12)
    monkeypatch.setattr("minilm.models.window_lm.AT_ONCE", 4)
    assert np.allclose(model.logits(IDS)[0], whole, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="pad_token_id must be below"):
        CONFIG.replace(pad_token_id=12)


def test_it_is_a_language_model_like_the_others(model, tmp_path):
    tokenizer = tokenizers.Character("abcdefghijkl")
    assert isinstance(model, training.LanguageModel)
    text = generation.generate(model, tokenizer, "abc", 8, seed=1)
    assert len(text) == 8 and len(generation.beam_search(model, IDS[0], 4, 3)[0].ids) == 4
    tokens = np.random.default_rng(1).integers(0, 12, 2000)
    rows = [training.evaluate(model, tokens, rows=rows, time=50).loss for rows in (1, 4)]
    assert rows[0] == pytest.approx(rows[1], rel=1e-9)  # the window is all that a prediction sees
    models.save(model, tmp_path / "m.safetensors")
    assert np.array_equal(models.load(tmp_path / "m.safetensors").logits(IDS)[0], model.logits(IDS)[0])
    explanation = interpret.explain(model, tokenizer, "abcabc", top=3)
    assert abs(explanation.integrated_gradients.errors).max() < 1e-3 and "window" in explanation.lacks["traces"]
    bits = -np.log2(np.exp(float(model.loss(IDS[:1, :-1], IDS[:1, 1:])[0]) * -1))
    assert interpret.surprisal(model, IDS[0]).mean == pytest.approx(bits, rel=1e-6)

"""GPT against transformers on random weights: logits, every gradient, greedy generation, beam search."""

import numpy as np
import pytest

from minilm import generation, models

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TURNED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
GPT1 = {"tokens_embed": "wte", "positions_embed": "wpe"}


def our_name(name):
    """Hugging Face's name of a parameter without what its heads put before it."""
    name = name.removeprefix("transformer.")
    for theirs, ours in GPT1.items():
        name = name.replace(theirs, ours)
    return name


def in_our_form(name, array):
    return np.ascontiguousarray(array.T) if name.endswith(TURNED) else array


def pair(kind, seed=0, **sizes):
    """A transformers model with random parameters, and ours with the same."""
    sizes = {"vocab_size": 101, "n_positions": 48, "n_embd": 24, "n_layer": 3, "n_head": 4, **sizes}
    drops = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    if kind == "gpt2":
        theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **drops, attn_implementation="eager"))
        config = models.GPTConfig.gpt2(**sizes, **drops)
    else:
        theirs = transformers.OpenAIGPTLMHeadModel(transformers.OpenAIGPTConfig(**sizes, **drops))
        config = models.GPTConfig.gpt1(**sizes, **drops)
    theirs.eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            parameter.copy_(0.25 * torch.randn(parameter.shape, generator=generator))
            if name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight")):
                parameter += 1
    ours = models.GPT(config)
    state = {our_name(n): in_our_form(n, p.detach().numpy()) for n, p in theirs.named_parameters()}
    ours.parameters.load_state_dict(state)
    return ours, theirs


@pytest.mark.parametrize("kind", ["gpt2", "gpt1"])
def test_logits_and_gradients(kind):
    ours, theirs = pair(kind)
    ids = np.random.default_rng(1).integers(0, 101, (3, 41))
    targets = ids[:, 1:].copy()
    targets[1, 30:] = -100
    logits, _ = ours.logits(ids[:, :-1])
    wanted = theirs(torch.tensor(ids[:, :-1])).logits
    assert np.abs(logits - wanted.detach().numpy()).max() <= 1e-4
    loss, saved = ours.forward(ids[:, :-1], targets)
    ours.backward(saved)
    theirs_loss = torch.nn.functional.cross_entropy(wanted.flatten(0, 1), torch.tensor(targets).flatten())
    theirs_loss.backward()
    assert loss == pytest.approx(theirs_loss.item(), rel=1e-5)
    assert {our_name(name) for name, _ in theirs.named_parameters()} == set(ours.parameters)
    for name, parameter in theirs.named_parameters():
        gradient, expected = ours.parameters.gradients[our_name(name)], in_our_form(name, parameter.grad.numpy())
        assert np.abs(gradient - expected).max() <= 1e-3 * np.abs(expected).max(), name


def test_padding_at_the_left():
    ours, theirs = pair("gpt2")
    rng = np.random.default_rng(2)
    ids, mask = rng.integers(0, 101, (3, 12)), np.ones((3, 12), bool)
    mask[0, :5] = mask[2, :11] = False
    logits, _ = ours.logits(ids, key_mask=mask)
    positions = torch.tensor(np.maximum(mask.cumsum(1) - 1, 0))
    wanted = (
        theirs(torch.tensor(ids), attention_mask=torch.tensor(mask.astype(int)), position_ids=positions).logits.detach().numpy()
    )
    assert np.abs(logits - wanted)[mask].max() <= 1e-4


@pytest.mark.parametrize("kind", ["gpt2", "gpt1"])
def test_greedy_generation_is_identical(kind):
    ours, theirs = pair(kind, n_positions=256)
    ids = np.random.default_rng(3).integers(0, 101, (2, 7))
    drawn = np.stack(list(generation.stream_ids(ours, ids, 200, greedy=True)), axis=1)
    options = {"max_new_tokens": 200, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    wanted = theirs.generate(torch.tensor(ids), attention_mask=torch.ones(2, 7, dtype=torch.long), **options)
    assert np.array_equal(drawn, wanted[:, 7:].numpy())


@pytest.mark.parametrize("beams", [2, 5])
def test_beam_search_finds_the_same_texts(beams):
    ours, theirs = pair("gpt2", n_positions=64)
    ids = np.random.default_rng(4).integers(0, 101, 6)
    found = generation.beam_search(ours, ids, 30, beams)
    options = {"max_new_tokens": 30, "num_beams": beams, "num_return_sequences": beams, "do_sample": False}
    wanted = theirs.generate(
        torch.tensor(ids[None]), attention_mask=torch.ones(1, 6, dtype=torch.long), pad_token_id=0, eos_token_id=None, **options
    )
    assert np.array_equal(np.stack([hypothesis.ids for hypothesis in found]), wanted[:, 6:].numpy())

"""The recurrent encoder-decoder: against PyTorch, gradients of every option, steps, padding, reversal, and that it learns."""

import numpy as np
import pytest

from minilm import gradcheck, models, optimizers
from minilm.gradcheck.cases import encoder_decoders
from minilm.ops.workspace import Workspace
from minilm.random import Key

V, B, S, T = 11, 3, 6, 5
LENGTHS = np.array([6, 2, 4])
OPTIONS = {
    "plain": {"attention": None},
    "peeky, reversed": {"attention": None, "peeky": True, "reverse": True},
    "bahdanau": {"attention": "bahdanau", "bidirectional": True},
    "luong, fed": {"attention": "luong", "input_feeding": True, "reverse": True, "num_layers": 2},
    "attention first": {"attention": "bahdanau", "attend_first": True, "num_layers": 2, "peeky": True, "reverse": True},
    "dot, all": {"attention": "dot", "input_feeding": True, "peeky": True, "bidirectional": True, "tied": True, "shared": True},
}


def make(dtype=np.float64, seed=0, **changes):
    settings = {"vocab_size": V, "embedding_size": 5, "hidden_size": 8, **changes}
    model = models.Seq2Seq(models.Seq2SeqConfig(**settings), dtype=dtype)
    rng = np.random.default_rng(seed)
    for value in model.parameters.values():
        value[...] = rng.uniform(0.1, 0.6, value.shape) * rng.choice([-1, 1], value.shape)
    return model


def batch(seed=0):
    rng = np.random.default_rng(seed)
    source, (inputs, targets) = rng.integers(0, V, (B, S)), rng.integers(0, V, (2, B, T))
    targets[0, 3:] = targets[2, 4:] = -100
    return source, inputs, targets


CASES = [(("lstm", "gru")[i % 2], label) for i, label in enumerate(encoder_decoders._SEQ2SEQ)]


@pytest.mark.parametrize("cell, label", CASES)
def test_gradients(cell, label):
    model, inputs, options = encoder_decoders.MODELS["Seq2Seq"][f"{cell}, {label}"]()
    assert gradcheck(model, *inputs, **options)


def test_every_option_is_checked():
    tried = {name for options in encoder_decoders._SEQ2SEQ.values() for name in options}
    tried |= {"vocab_size", "cell", "model_type", "carry_cell"}
    tried |= {"follow"}  # of the pointer-generator, whose case it is in
    assert set(models.Seq2SeqConfig.__dataclass_fields__) <= tried | {"embedding_size", "hidden_size"}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("attention, first", [("bahdanau", False), ("luong", False), ("bahdanau", True)])
def test_agreement_with_torch(cell, attention, first):
    """The whole model written in PyTorch, step by step, input feeding or attention first: loss and every gradient."""
    torch = pytest.importorskip("torch")
    nn = torch.nn
    feeding = {"attend_first": True} if first else {"input_feeding": True}
    model = make(cell=cell, attention=attention, num_layers=2, bidirectional=True, label_smoothing=0.1, **feeding)
    E, H = 5, 8
    kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
    theirs = nn.ModuleDict(
        {
            "source_embedding": nn.Embedding(V, E),
            "target_embedding": nn.Embedding(V, E),
            "encoder": kind(E, H // 2, 2, batch_first=True, bidirectional=True),
            "recurrent": kind(E + H, H, 2, batch_first=True),
            "combine": nn.Linear(2 * H, H),
            "output": nn.Linear(H, V),
            "memory": nn.Linear(H, H, bias=False),
            "query": nn.Linear(H, H),
        }
    ).double()
    score_of = nn.Parameter(torch.zeros(H, dtype=torch.float64))

    places = {"recurrent": "decoder.", "combine": "decoder.", "memory": "decoder.attention.", "query": "decoder.attention."}

    def ours(name):
        return places.get(name.split(".")[0], "") + name

    used = {name: value for name, value in theirs.named_parameters() if ours(name) in model.parameters}
    with torch.no_grad():
        for name, value in used.items():
            value.copy_(torch.tensor(model.parameters[ours(name)]))
        if attention == "bahdanau":
            score_of.copy_(torch.tensor(model.parameters["decoder.attention.v"]))
    source, inputs, targets = batch()
    packed = nn.utils.rnn.pack_padded_sequence(
        theirs["source_embedding"](torch.tensor(source)), LENGTHS, batch_first=True, enforce_sorted=False
    )
    memory, state = theirs["encoder"](packed)
    memory, _ = nn.utils.rnn.pad_packed_sequence(memory, batch_first=True)
    states = state if isinstance(state, tuple) else (state,)
    states = tuple(part.view(2, 2, B, H // 2).permute(0, 2, 1, 3).reshape(2, B, H).contiguous() for part in states)
    state = states if cell == "lstm" else states[0]
    hidden = torch.tensor(np.arange(S) >= LENGTHS[:, None])
    feed, rows = torch.zeros(B, H, dtype=torch.float64), []
    x = theirs["target_embedding"](torch.tensor(inputs))
    keys = theirs["memory"](memory)

    def attend(query):  # (B, 1, H)
        if attention == "bahdanau":
            scores = torch.tanh(theirs["query"](query) + keys) @ score_of
        else:
            scores = (query @ keys.transpose(1, 2))[:, 0]
        weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        return (weights[:, None] @ memory)[:, 0]

    for t in range(T):
        if first:
            context = feed = attend((state[0] if cell == "lstm" else state)[-1][:, None])
        y, state = theirs["recurrent"](torch.cat([x[:, t], feed], dim=-1)[:, None], state)
        context = context if first else attend(y)
        feed = torch.tanh(theirs["combine"](torch.cat([y[:, 0], context], dim=-1)))
        rows.append(theirs["output"](feed))
    logits = torch.stack(rows, dim=1)
    wanted = nn.functional.cross_entropy(logits.reshape(-1, V), torch.tensor(targets.reshape(-1)), label_smoothing=0.1)
    wanted.backward()
    assert np.abs(model.logits(source, inputs, LENGTHS) - logits.detach().numpy()).max() < 1e-11
    loss, saved = model.forward(source, inputs, targets, LENGTHS)
    model.backward(saved)
    assert loss == pytest.approx(wanted.item(), rel=1e-12)
    for name, value in used.items():
        assert np.abs(model.parameters.gradients[ours(name)] - value.grad.numpy()).max() < 1e-11, name
    if attention == "bahdanau":
        assert np.abs(model.parameters.gradients["decoder.attention.v"] - score_of.grad.numpy()).max() < 1e-11


@pytest.mark.parametrize("label", OPTIONS)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_steps_are_the_sequence(cell, label):
    model = make(cell=cell, **OPTIONS[label])
    source, inputs, _ = batch()
    full, state = model.logits(source, inputs, LENGTHS), model.encode(source, LENGTHS)
    for t in range(T):
        logits, state = model.step(inputs[:, t], state)
        assert np.abs(logits - full[:, t]).max() < 1e-12
    twice, _ = model.step(np.array([1, 2, 3]), state.reorder(np.array([2, 0, 0])))
    assert np.allclose(twice[:2], model.step(np.array([2, 0, 1]), state)[0][[2, 0]], rtol=1e-11)
    assert np.allclose(twice[2], model.step(np.array([3, 0, 1]), state)[0][0], rtol=1e-11)


@pytest.mark.parametrize("label", OPTIONS)
def test_padding_changes_nothing(label):
    model = make(**OPTIONS[label])
    source, inputs, targets = batch()
    alone = [model.loss(source[[b], : LENGTHS[b]], inputs[[b]], targets[[b]]) * (targets[b] >= 0).sum() for b in range(B)]
    assert model.loss(source, inputs, targets, LENGTHS) == pytest.approx(sum(alone) / (targets >= 0).sum(), rel=1e-12)
    other = np.where(np.arange(S) < LENGTHS[:, None], source, (source + 1) % V)
    assert np.array_equal(model.logits(source, inputs, LENGTHS), model.logits(other, inputs, LENGTHS))


def test_reversal_is_that_of_the_source():
    reading, backwards = make(), make(reverse=True)
    source, inputs, _ = batch()
    turned = source.copy()
    for row, length in zip(turned, LENGTHS, strict=True):
        row[:length] = row[:length][::-1]
    assert np.array_equal(reading.logits(source, inputs, LENGTHS), backwards.logits(turned, inputs, LENGTHS))
    weights, same = (model.attention(each, inputs, LENGTHS) for model, each in ((reading, source), (backwards, turned)))
    assert np.allclose(weights.sum(axis=-1), 1) and not weights[1, :, 2:].any()
    assert np.allclose(weights[1, :, 1::-1], same[1, :, :2]) and np.allclose(weights[0, :, ::-1], same[0])


@pytest.mark.parametrize("label", OPTIONS)
def test_a_workspace_changes_nothing(label):
    model = make(dropout=0.3, dtype=np.float32, **OPTIONS[label])
    arguments = (*batch(), LENGTHS)
    loss, saved = model.forward(*arguments, key=Key(1, 2))
    model.backward(saved)
    wanted = model.parameters.gradient_flat.copy()
    workspace = Workspace(poison=True)
    for _ in range(2):
        with workspace.step():
            model.parameters.zero_gradients()
            again, saved = model.forward(*arguments, key=Key(1, 2))
            model.backward(saved)
        assert again == loss and np.array_equal(model.parameters.gradient_flat, wanted)


def test_it_learns_to_copy():
    model = models.Seq2Seq(models.Seq2SeqConfig(vocab_size=V, hidden_size=32, attention="dot", cell="gru"), seed=0)
    adam = optimizers.Adam(model.parameters, lr=1e-2, clip_norm=1.0)
    rng = np.random.default_rng(0)
    for _ in range(150):
        text = rng.integers(2, V, (32, 4))
        inputs = np.concatenate([np.zeros((32, 1), int), text], axis=1)
        targets = np.concatenate([text, np.ones((32, 1), int)], axis=1)
        loss, saved = model.forward(text, inputs, targets)
        model.backward(saved)
        adam.step()
    assert loss < 0.2


@pytest.mark.parametrize(
    "change, says",
    [
        ({"attention": "additive"}, "attention must be one of"),
        ({"bidirectional": True, "hidden_size": 7}, "hidden_size must be even"),
        ({"attention": None, "input_feeding": True}, "attention=None"),
        ({"shared": True, "target_vocab_size": 5}, "one vocabulary, got 11 and 5"),
        ({"input_feeding": True, "attend_first": True}, "only one of them"),
        ({"attention": None, "attend_first": True}, "attend_first brings"),
        ({"cell": "rnn"}, "'lstm', 'gru'"),
    ],
)
def test_wrong_configurations(change, says):
    with pytest.raises(ValueError, match=says):
        models.Seq2SeqConfig(**{"vocab_size": V, **change})


def test_wrong_arguments():
    model = make(target_vocab_size=7, attention=None)
    source, inputs, targets = (array % 7 for array in batch())
    for changed, says in (
        ({"source": source + 9}, r"source\[0, \d\] is"),
        ({"inputs": inputs + 7}, r"inputs\[0, 0\] is \d+, wanted an id in \[0, 7\)"),
        ({"inputs": inputs[:2]}, "inputs must have shape"),
        ({"targets": targets[:, :2]}, "targets must have shape"),
        ({"lengths": np.array([1, 2, 0])}, r"lengths\[2\] is 0"),
        ({"source": source[:, :0]}, "at least one token"),
    ):
        with pytest.raises(ValueError, match=says):
            model.forward(**{"source": source, "inputs": inputs, "targets": targets, **changed})
    with pytest.raises(ValueError, match="no attention"):
        model.attention(source, inputs)


def test_diagnosis_names_the_parameter():
    model = make()
    source, inputs, targets = batch()
    assert model.diagnose(source, inputs, targets) is None
    model.parameters["decoder.combine.weight"][0, 0] = np.nan
    assert "decoder.combine.weight" in model.diagnose(source, inputs, targets)

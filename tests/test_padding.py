"""What stands beyond a row's length, under a mask or in an ignored row reaches no result and no gradient, be it NaN or infinite.

Everything that takes lengths or a mask is run with zeros there, and with other numbers: all results are the same, bit for bit.
"""

import contextlib

import numpy as np
import pytest

from minilm import devices, layers, models, sequential
from minilm.gradcheck.trees import copied, leaves
from minilm.ops import crf
from minilm.random import Key
from tests.ops import gpu
from tests.ops.properties import OPS, combinations, cotangent, draw, functions, label
from tests.ops.test_tensor_cores import precision_of

FILLS = (np.nan, np.inf, -np.inf, 1e30)
IMPLEMENTATIONS = (*devices.HOST, "gpu")


@contextlib.contextmanager
def running(implementation):
    """Inside, arrays are moved by what it gives to where the implementation takes them."""
    with gpu.emulated() if implementation == "gpu" else contextlib.nullcontext(), devices.implementation(implementation):
        yield devices.to_device if implementation == "gpu" else lambda tree: tree


def independent(results, fills=FILLS):
    """`results(fill)` is a tree of arrays: finite ones for a fill of 0, and the same for every other."""
    wanted = dict(leaves(devices.to_host(results(0.0))))
    assert wanted and all(np.isfinite(value).all() for value in wanted.values() if value is not None)
    with np.errstate(invalid="raise"):  # nor does NumPy warn of it
        for fill in fills:
            for path, found in leaves(devices.to_host(results(fill))):
                np.testing.assert_array_equal(found, wanted[path], f"{path}, of padding that is {fill}")


# --- ops -------------------------------------------------------------------------------------------------------------


def filled(array, hidden, fill):
    """A copy with `fill` wherever `hidden`, of its leading axes, is True."""
    array = array.copy()
    array[hidden] = fill
    return array


def beyond(lengths, T):
    """(B, T), True beyond a row's length."""
    return np.arange(T) >= lengths[:, None]


def hidden_parts(name, arguments) -> dict:
    """Which places of each argument, and of the cotangent "dy", do not count."""
    if name in ("rnn", "lstm", "gru"):
        places = beyond(arguments["lengths"], len(arguments["x"])).T  # (T, B)
        return {"x": places, "dy": places}
    if name in ("attention", "additive_attention"):
        return {"key": ~arguments["key_mask"], "value": ~arguments["key_mask"]}
    if name == "crf":
        return {"emissions": beyond(arguments["lengths"], arguments["tags"].shape[1])}
    return {"logits": arguments["targets"] == -100}


def op_results(name, case, moved):
    """y, the gradients and what is decoded of an op, as a function of the fill."""
    op, parts = OPS[name], hidden_parts(name, case.arguments)

    def results(fill):
        arguments = {k: filled(v, parts[k], fill) if k in parts else v for k, v in case.arguments.items()}
        forward, backward = functions(op)
        y, saved = forward(**moved(arguments))
        dy = cotangent(devices.to_host(y))
        if "dy" in parts:
            dy = (filled(dy[0], parts["dy"], fill), *dy[1:])
        found = [y, backward(moved(dy) if isinstance(dy, (tuple, np.ndarray)) else float(dy), saved)]
        if name == "crf":
            del arguments["tags"]
            found.append(crf.decode(**moved(arguments)))
        return found

    return results


MASKED = [
    *((name, options) for name in ("rnn", "lstm", "gru") for options in combinations(OPS[name]) if options["padded"]),
    *(("attention", options) for options in combinations(OPS["attention"]) if options["padded"]),
    ("additive_attention", {"padded": True}),
    ("crf", {"padded": True, "scores": "plain"}),
    *(("cross_entropy", {"reduction": reduction}) for reduction in ("mean", "none")),
]
SIZES = {
    "attention": [{"B": 2, "Tq": Tq, "Tk": Tk, "H": 2, "K": 3, "Kv": 5} for Tq, Tk in ((1, 6), (2, 7), (3, 9))],
    "additive_attention": [{"B": 3, "Tq": 3, "Tk": 9, "A": 5, "D": 4}],
    "crf": [{"B": 3, "T": 5, "K": 4}],
    "cross_entropy": [{"N": 9, "V": 7}],
}


def drawn(name, options, dims, dtype):
    """A case of which something is hidden."""
    known = {key: options[key] for key in options if key in OPS[name].options}
    case = draw(OPS[name], dtype, dims, {**combinations(OPS[name])[0], **known})
    if name == "cross_entropy":
        case.arguments["targets"][[0, 4]] = -100
        case.arguments["reduction"] = options["reduction"]
    return case


@pytest.mark.parametrize("name, options", MASKED, ids=label)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_ops(implementation, name, options):
    with running(implementation) as moved:
        for dims in SIZES.get(name, [{"B": 3, "T": 5, "D": 4, "H": 3}]):
            for dtype in (np.float32, np.float64):
                case = drawn(name, options, dims, dtype)
                assert all(hidden.any() and not hidden.all() for hidden in hidden_parts(name, case.arguments).values())
                if implementation != "gpu":
                    independent(op_results(name, case, moved))
                    continue
                for number in gpu.versions(OPS[name]):
                    with gpu.version(OPS[name], number):
                        independent(op_results(name, case, moved), FILLS[:1])


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("sees", ["all", "causal band"])
def test_attention_over_several_tiles(implementation, sees):
    """Keys that are hidden inside of a tile and over its edge."""
    Tq, Tk = (17, 35) if implementation == "gpu" else (70, 67)
    options = {"padded": True, "sees": sees, "dropout": 0.3}
    with running(implementation) as moved:
        case = drawn("attention", options, {"B": 2, "Tq": Tq, "Tk": Tk, "H": 1, "K": 3, "Kv": 5}, np.float32)
        independent(op_results("attention", case, moved), FILLS[:1])


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_attention_on_tensor_cores(precision):
    dims = {"B": 2, "Tq": 3, "Tk": 35, "H": 1, "K": 3, "Kv": 5}
    with running("gpu") as moved, precision_of(precision):
        independent(op_results("attention", drawn("attention", {"padded": True}, dims, np.float32), moved), FILLS[:1])


# --- layers ----------------------------------------------------------------------------------------------------------


B, T, D = 3, 5, 4
LENGTHS = np.array([5, 2, 1])
HOLES = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 0, 0], [1, 0, 0, 0, 1]], bool)  # (B, T)


def layer_results(layer, x, hidden, call, moved):
    """Outputs, gradients by the inputs and by the parameters of a layer, as a function of the fill; `call` runs it forward."""

    def results(fill):
        layer.parameters.zero_gradients()
        y, saved = call(moved(filled(x, hidden, fill)))
        dy = moved(cotangent(devices.to_host(y)))
        gradients = layer.backward(dy, saved)
        return [devices.to_host(part) for part in (y, gradients, layer.parameters.gradient_flat)]

    return results


def inputs(dtype=np.float64):
    return np.random.default_rng(0).standard_normal((B, T, D)).astype(dtype)


@pytest.mark.parametrize("kind", [layers.RNN, layers.LSTM, layers.GRU])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_recurrent_layers(implementation, kind):
    with running(implementation) as moved:
        layer = kind(D, 3, 2, bidirectional=True, dtype=np.float64, seed=0)
        layer = layer.to("cuda") if implementation == "gpu" else layer
        lengths = moved(LENGTHS)
        independent(layer_results(layer, inputs(), beyond(LENGTHS, T), lambda x: layer.forward(x, None, lengths), moved))


MASKING = {
    "mean": lambda: (layers.MeanPooling(), "mask"),
    "attention": lambda: (layers.AttentionPooling(D, 3, dtype=np.float64, seed=0), "mask"),
    "one score": lambda: (layers.DotPooling(D, dtype=np.float64, seed=0), "mask"),
    "bahdanau": lambda: (layers.BahdanauAttention(D, D, dtype=np.float64, seed=0), "key_mask"),
    "luong": lambda: (layers.LuongAttention(D, D, dtype=np.float64, seed=0), "key_mask"),
    "dot": lambda: (layers.LuongAttention(D, D, "dot", dtype=np.float64, seed=0), "key_mask"),
    "heads": lambda: (layers.MultiHeadAttention(D, 2, fused=False, dtype=np.float64, seed=0), "key_mask"),
    "block": lambda: (layers.TransformerBlock(D, 2, cross_attention=True, fused=False, dtype=np.float64, seed=0), "memory_mask"),
}


@pytest.mark.parametrize("name", MASKING)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_layers_with_a_mask(implementation, name):
    with running(implementation) as moved:
        layer, argument = MASKING[name]()
        if implementation == "gpu":
            layer.to("cuda")
        mask, query = moved(HOLES), () if argument == "mask" else (moved(inputs()[:, :2].copy()),)
        independent(layer_results(layer, inputs(), ~HOLES, lambda x: layer.forward(*query, x, **{argument: mask}), moved))


SEQUENTIAL = {
    "rnn": lambda: sequential.SimpleRNN(3),
    "lstm": lambda: sequential.LSTM(3, return_sequences=True),
    "gru": lambda: sequential.GRU(3, go_backwards=True),
    "step by step": lambda: sequential.LSTM(3, activation="relu"),
    "gru, reset before": lambda: sequential.GRU(3, reset_after=False, return_sequences=True),
    "both ways": lambda: sequential.Bidirectional(sequential.LSTM(3, return_sequences=True)),
    "mean": lambda: sequential.GlobalAveragePooling1D(),
}


@pytest.mark.parametrize("name", SEQUENTIAL)
@pytest.mark.parametrize("implementation", devices.HOST)
def test_sequential_layers(implementation, name):
    layer = SEQUENTIAL[name]()
    sequential.Sequential([sequential.Input((T, D)), layer])
    for mask in (HOLES, ~beyond(LENGTHS, T)):
        with running(implementation) as moved:
            x = inputs(np.float32)
            independent(layer_results(layer, x, ~mask, lambda x, mask=mask: layer.forward(x, mask), moved))


# --- models ----------------------------------------------------------------------------------------------------------


IDS = np.array([[3, 4, 5, 6, 4], [5, 3, 0, 0, 0], [6, 0, 0, 0, 0]])  # (B, T), 0 for padding


def model_results(model, tables, forward):
    """Loss and gradients of a model, as a function of what stands in the row of the padding in its tables of vectors."""

    def results(fill):
        model.parameters.zero_gradients()
        for table in tables:
            table.weight.value[0] = fill
        loss, saved = forward()
        model.backward(saved)
        return loss, copied(model.parameters.gradient_flat)

    return results


@pytest.mark.parametrize("implementation", devices.HOST)
def test_classifiers(implementation):
    options = {"embedding_size": 4, "dtype": np.float64, "seed": 0}
    for model in (
        models.MeanClassifier(7, 2, ngrams=1, **options),
        models.RecurrentClassifier(7, 2, hidden_size=3, **options),
        models.RecurrentClassifier(7, 2, hidden_size=3, cell="gru", pooling="mean", **options),
    ):
        with running(implementation):
            labels = np.array([0, 1, 1])
            independent(model_results(model, [model.embedding], lambda m=model: m.forward(IDS, labels, LENGTHS)))  # noqa: B023


@pytest.mark.parametrize("implementation", devices.HOST)
def test_tagger(implementation):
    model = models.Tagger(7, 3, embedding_size=4, hidden_size=3, dtype=np.float64, seed=0)
    with running(implementation):
        independent(model_results(model, [model.embedding], lambda: model.forward(IDS, IDS % 3, LENGTHS)))


@pytest.mark.parametrize("implementation", devices.HOST)
@pytest.mark.parametrize("attention", [None, "bahdanau", "luong"])
def test_encoder_and_decoder(implementation, attention):
    config = models.Seq2SeqConfig(7, embedding_size=4, hidden_size=4, attention=attention, input_feeding=attention == "luong")
    model = models.Seq2Seq(config, dtype=np.float64)
    inputs, targets = np.array([[1, 3], [1, 4], [1, 5]]), np.array([[3, 2], [4, 2], [5, -100]])
    with running(implementation):
        independent(model_results(model, [model.source_embedding], lambda: model.forward(IDS, inputs, targets, LENGTHS)))


@pytest.mark.parametrize("implementation", devices.HOST)
@pytest.mark.parametrize("linear", [False, True])
def test_memory_network(implementation, linear):
    """The row of the padding, and that of an age that only an empty place has."""
    model = models.MemoryNetwork(7, 4, hops=2, memory_size=4, tying="layerwise", linear_steps=9, dtype=np.float64, seed=0)
    story = np.array([[[0, 0], [3, 4], [5, 0]], [[0, 0], [0, 0], [6, 3]]])  # (B, M, J)
    key = Key(0) if linear else None
    with running(implementation):
        forward = lambda: model.forward(story, np.array([[3, 0], [4, 5]]), np.array([3, 5]), key=key)  # noqa: E731
        independent(model_results(model, [*model.tables, model.question], forward))

        def results(fill):
            for time in model.times:
                time.weight.value[2] = fill
            return model_results(model, (), forward)(None)

        independent(results)


@pytest.mark.parametrize("implementation", devices.HOST)
def test_reader(implementation):
    model = models.Reader(7, 4, 3, dtype=np.float64, seed=0)
    question, spans = np.array([[3, 4], [5, 0], [6, 0]]), np.array([[1, 3], [0, 1], [0, 0]])
    features = np.ones((B, T, 1))

    def results(fill):
        model.parameters.zero_gradients()
        loss, saved = model.forward(IDS, question, spans, filled(features, IDS == 0, fill))
        return loss, model.backward(saved), copied(model.parameters.gradient_flat)

    with running(implementation):
        independent(results)

"""Mistakes are told in terms of the layers: which gives what, and what is meant."""

import numpy as np
import pytest

from minilm import layers
from minilm.sequential import (
    GRU,
    LSTM,
    Activation,
    Bidirectional,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    Input,
    Sequential,
    SimpleRNN,
    TimeDistributed,
    losses,
    optimizers,
    to_categorical,
)

SPARSE, CATEGORICAL = "sparse_categorical_crossentropy", "categorical_crossentropy"
X = np.array([[1, 2, 3, 4], [4, 3, 2, 0]])
X.flags.writeable = False


def model_of(*parts, loss=SPARSE):
    model = Sequential(list(parts))
    model.compile(loss=loss, optimizer="adam")
    return model


def last(loss=SPARSE, width=5):
    return model_of(Embedding(6, 3), LSTM(4), Dense(width, activation="softmax"), loss=loss)


def steps(loss=SPARSE, width=5):
    return model_of(Embedding(6, 3), LSTM(4, return_sequences=True), Dense(width, activation="softmax"), loss=loss)


MEANT = r"layer 'lstm' \(LSTM\) gives its last step alone, \(None, 4\); for a target at every time step.*return_sequences=True"


@pytest.mark.parametrize(
    ("model", "x", "y", "says"),
    [
        (last, X, X, "(?i)" + MEANT),
        (last, X, X[..., None], "(?i)" + MEANT),
        (lambda: last(CATEGORICAL), X, np.zeros((2, 4, 5)), "(?i)" + MEANT),
        (
            lambda: model_of(Embedding(6, 3), Bidirectional(GRU(2)), Dense(5)),
            X,
            X,
            r"'bidirectional' \(Bidirectional\) gives its last",
        ),
        (steps, X, [0, 1], r"one for each time step.*layer 'lstm' \(LSTM\) with return_sequences=False"),
        (steps, X, [[0], [1]], "return_sequences=False"),
        (steps, X, X[:, :3], "x has 4 time steps and y has 3"),
        (last, X, np.eye(5)[:2], "for one-hot targets the loss is categorical_crossentropy"),
        (lambda: last(CATEGORICAL), X, [0, 1], "for class numbers the loss is sparse_categorical_crossentropy"),
        (lambda: last(CATEGORICAL), X, np.eye(4)[:2], "must be 4 wide"),
        (last, X, [0, 5], r"y\[1\] is 5, but layer 'dense' \(Dense\) has 5 outputs.*\[0, 5\)"),
        (last, X, [0, -1], r"y\[1\] is -1"),
        (last, X, [0.5, 1], "class numbers"),
        (last, X, [0, 1, 2], "x has 2 rows and y has 3"),
        (
            last,
            X + 2,
            [0, 1],
            r"layer 'embedding' \(Embedding\) has input_dim=6, but x\[0, 3\] is 6; input_dim must be at least 7",
        ),
        (last, X - 1, [0, 1], r"x\[1, 3\] is -1"),
        (last, X + 0.5, [0, 1], "whole numbers"),
        (last, [[1, 2], [3]], [0, 1], "unequal length: pad_sequences"),
        (last, ["the cat", "a dog"], [0, 1], "Tokenizer"),
        (last, X[:0], [], "no rows"),
        (last, X[0], [0, 1, 2, 3], r"'lstm' \(LSTM\) wants inputs of shape \(batch, time, features\), got \(None, 3\)"),
        (last, X, None, "y is missing"),
        (last, iter(X), [0, 1], "x gives whole batches .*: y is for arrays"),
        (lambda: model_of(Input((3,)), Embedding(6, 3), LSTM(4), Dense(5)), X, [0, 1], r"must have shape \(None, 3\)"),
        (lambda: model_of(Embedding(6, 3), Flatten(), Dense(5)), X, X, "wants targets of shape"),
        (lambda: model_of(LSTM(4), Dense(5)), X, [0, 1], r"'lstm' \(LSTM\) wants inputs of shape \(batch, time, features\)"),
    ],
)
def test_data_that_does_not_fit(model, x, y, says):
    with pytest.raises((ValueError, TypeError), match=says):
        model().fit(x, y, verbose=0)


@pytest.mark.parametrize("second", [LSTM, GRU, SimpleRNN, lambda n: Bidirectional(LSTM(n)), lambda n: GlobalAveragePooling1D()])
def test_a_layer_over_a_last_step(second):
    says = r"layer 'lstm' \(LSTM\) gives its last step alone, \(None, 4\): make layer 'lstm' \(LSTM\) with return_sequences=True"
    with pytest.raises(ValueError, match=says):
        Sequential([Input((None,)), Embedding(6, 3), LSTM(4), second(4)])
    with pytest.raises(ValueError, match=says):
        Sequential([Embedding(6, 3), LSTM(4), second(4)]).predict(X)


def test_other_widths_than_built_for():
    model = Sequential([LSTM(4), Dense(2)])
    model.predict(np.zeros((2, 3, 5)), verbose=0)
    model.predict(np.zeros((2, 7, 5)), verbose=0)  # another number of steps is no matter
    with pytest.raises(ValueError, match="'lstm' .*was built for inputs 5 wide"):
        model.predict(np.zeros((2, 3, 6)))
    model = Sequential([Embedding(6, 3), Flatten(), Dense(2)])
    model.predict(X, verbose=0)
    with pytest.raises(ValueError, match="'dense' .*was built for inputs 12 wide"):
        model.predict(X[:, :2])


def test_a_first_layer_that_is_refused_leaves_no_shape_behind():
    model = Sequential()
    with pytest.raises(ValueError, match="'dense'"):
        model.add(Dense(2, input_shape=(None,)))
    model.add(Dense(2))
    assert not model.built and model.predict(np.zeros((3, 5)), verbose=0).shape == (3, 2)


def _ones(generator, shape):
    return np.ones(shape)


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda: Sequential([layers.Linear(2, 3)]), TypeError, "must come from minilm.sequential"),
        (lambda: Sequential([layers.LSTM(2, 3)]), TypeError, "minilm.sequential has a LSTM of its own"),
        (lambda: Sequential([Dense]), TypeError, "must come from"),
        (lambda: Sequential([Dense(2), Input((3,))]), ValueError, "before all layers"),
        (lambda: Sequential([Dense(2, name="a"), Dense(2, name="a")]), ValueError, "named 'a' already"),
        (lambda: Sequential([d := Dense(2), d]), ValueError, "in the model already"),
        (lambda: Dense(0), ValueError, "units"),
        (lambda: Dense(2.5), TypeError, "units"),
        (lambda: Dense(2, activation="sofmax"), ValueError, "did you mean 'softmax'"),
        (lambda: Dense(2, kernel_initializer="glorot"), ValueError, "did you mean 'glorot_"),
        (lambda: LSTM(4, activation="softmax"), ValueError, "activation of a recurrent layer"),
        (lambda: LSTM(4, activation=["tanh"]), ValueError, "activation of a recurrent layer"),
        (lambda: Dense(2, activation=["tanh"]), ValueError, "activation must be an activation's name"),
        (lambda: to_categorical(["a"]), TypeError, "y must be an array of integers"),
        (lambda: GRU(4, recurrent_activation="hardsigmoid"), ValueError, "did you mean 'hard_sigmoid'"),
        (lambda: LSTM(4, recurrent_dropout=1.0), ValueError, "recurrent_dropout"),
        (lambda: LSTM(4, stateful=True), ValueError, "no stateful"),
        (lambda: LSTM(4, return_sequences=1), TypeError, "return_sequences"),
        (lambda: LSTM(4, return_sequence=True), TypeError, "return_sequence"),
        (lambda: GRU(4, reset_after=0), TypeError, "reset_after"),
        (lambda: Dropout(1.0), ValueError, "rate"),
        (lambda: Bidirectional(Dense(2)), TypeError, "recurrent layer"),
        (lambda: Bidirectional(LSTM(2), merge_mode="mean"), ValueError, "'concat', 'sum'"),
        (lambda: TimeDistributed(2), TypeError, "a layer"),
        (lambda: Activation("softmaxx"), ValueError, "did you mean 'softmax'"),
        (lambda: Embedding(6, 3, weights=[np.zeros((5, 3))]).build((None, 4)), ValueError, r"must have shape \(6, 3\)"),
        (lambda: Input(), ValueError, "shape"),
        (lambda: Input((-1,)), ValueError, "input_shape must be a tuple"),
        (lambda: Sequential().build((None, 2)), ValueError, "no layers"),
        (lambda: Sequential([Dense(2)]).build(), ValueError, "input_shape is missing"),
        (lambda: Sequential([Dense(2)]).count_params(), ValueError, "no weights yet"),
        (lambda: Sequential([Dense(2)]).get_layer("lstm"), ValueError, "no layer 'lstm'; there are dense"),
        (lambda: last().compile(optimizer="adam"), ValueError, "loss is missing"),
        (lambda: last("sparse_categorical_crosentropy"), ValueError, "did you mean 'sparse_categorical_crossentropy'"),
        (lambda: last().compile("adm", SPARSE), ValueError, "did you mean 'adam'"),
        (lambda: last().compile("adam", SPARSE, metrics=["acuracy"]), ValueError, "did you mean 'accuracy'"),
        (lambda: last().compile("adam", SPARSE, metric=["accuracy"]), TypeError, "no argument 'metric'"),
        (lambda: optimizers.Adam(-1), ValueError, "learning_rate"),
        (lambda: optimizers.Adam(clipnorm=1, clipvalue=1), ValueError, "one of clipnorm"),
        (lambda: optimizers.Adam().load_state_dict({}), ValueError, "optimizer 'adam' has no parameters for a state"),
        (lambda: losses.CategoricalCrossentropy(label_smoothing=2), ValueError, "label_smoothing"),
        (lambda: Sequential([Dense(2)]).fit(X, X), ValueError, r"call compile\("),
        (lambda: Sequential([Dense(2)]).evaluate(X, X), ValueError, r"call compile\("),
        (lambda: last().fit(X, [0, 1], validation_split=0.6), ValueError, "leaves none"),
        (lambda: last().fit(X, [0, 1], validation_split=1.0), ValueError, "validation_split"),
        (lambda: last().fit(X, [0, 1], validation_data=X), ValueError, "validation_data"),
        (lambda: last().fit(X, [0, 1], callbacks=[print]), TypeError, "callbacks"),
        (lambda: last().fit(X, [0, 1], sample_weight=[1.0]), ValueError, "sample_weight"),
        (lambda: last().fit(X, [0, 1], class_weight=[1, 2]), TypeError, "class_weight"),
        (lambda: last().fit(X, [0, 1], batch_size=0), ValueError, "batch_size"),
        (lambda: last().set_weights([]), ValueError, "no weights yet"),
        (lambda: Sequential([Input((3,)), Dense(2)]).set_weights([np.zeros((3, 2))]), ValueError, "has 2 weights, got 1"),
        (lambda: Sequential([Input((3,)), Dense(2)]).set_weights([np.zeros((2, 3)), [0, 0]]), ValueError, "kernel of layer"),
        (lambda: Sequential([Input((3,)), Dense(2, kernel_initializer=_ones)]).get_config(), ValueError, "cannot be saved"),
    ],
)
def test_mistakes(make, kind, says):
    with pytest.raises(kind, match=says):
        make()

"""What training with Sequential does beyond the numbers of Keras's first epochs: steps that fail, optimizers, orders, threads."""

import copy
import pickle
import threading
import time

import numpy as np
import pytest

from minilm import layers
from minilm.sequential import (
    GRU,
    LSTM,
    Bidirectional,
    Callback,
    Dense,
    Dropout,
    EarlyStopping,
    Embedding,
    Flatten,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    Sequential,
    TerminateOnNaN,
    initializers,
    losses,
    optimizers,
    stack,
)

SPARSE = "sparse_categorical_crossentropy"
RNG = np.random.default_rng(0)
X, Y = RNG.integers(1, 9, (24, 5)), RNG.integers(0, 2, 24)
NUMBERS = RNG.standard_normal((24, 3)).astype(np.float32)


def made(*more, seed=0, optimizer="adam", **options):
    model = Sequential([Embedding(9, 4), GRU(3), *more, Dense(2, activation="softmax")], seed=seed)
    model.compile(loss=SPARSE, optimizer=optimizer, **options)
    return model


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


# --- a step that does not finish leaves nothing to the next one ------------------------------------------------------


def numbers(optimizer):
    model = Sequential([Dense(4, activation="tanh"), Dense(2, activation="softmax")], seed=0)
    model.compile(loss=SPARSE, optimizer=optimizer)
    model.build((None, 3))
    return model


def test_after_a_batch_that_is_not_finite_the_next_step_is_a_clean_one():
    model, clean = (numbers(optimizers.SGD(0.1, global_clipnorm=1.0)) for _ in range(2))
    bad = NUMBERS.copy()
    bad[3, 1] = np.inf
    for fail in (lambda: model.fit(bad, Y, verbose=0), lambda: model.train_on_batch(bad, Y)):
        with pytest.raises(FloatingPointError, match="not a finite|finite number"):
            fail()
        assert not model.parameters.gradient_flat.any()
    assert equal(model, clean)
    for each in (model, clean):
        each.fit(NUMBERS, Y, shuffle=False, verbose=0)
    assert equal(model, clean)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("where", ["backward", "update"])
def test_after_an_interruption_the_next_step_is_a_clean_one(error, where, monkeypatch):
    model, clean = numbers("sgd"), numbers("sgd")

    def interrupted(*arguments, **options):
        raise error

    with monkeypatch.context() as patch:  # the last layer has its gradients by then
        patch.setattr(*((model.layers[0], "backward") if where == "backward" else (model.optimizer, "step")), interrupted)
        for fail in (lambda: model.fit(NUMBERS, Y, verbose=0), lambda: model.train_on_batch(NUMBERS, Y)):
            with pytest.raises(error):
                fail()
            assert not model.parameters.gradient_flat.any()
    for each in (model, clean):
        each.train_on_batch(NUMBERS, Y)
    assert equal(model, clean)


# --- optimizers ------------------------------------------------------------------------------------------------------


def test_an_optimizer_trains_one_model():
    """Keras: "This optimizer can only be called for the variables it was originally built with"."""
    optimizer = optimizers.Adam(0.1)
    first, second = made(optimizer=optimizer), made(optimizer=optimizer)
    first.fit(X, Y, verbose=0)
    before = first.get_weights(), optimizer.iterations
    for call in (second.fit, second.train_on_batch):
        with pytest.raises(ValueError, match="optimizer 'adam' of model 'sequential' trains another model already"):
            call(X, Y)
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), before[0], strict=True))
    second.evaluate(X, Y, verbose=0)  # measures without it
    first.fit(X, Y, verbose=0)
    assert optimizer.iterations == 2 * before[1]


def test_an_optimizer_compiled_anew_into_its_model_goes_on():
    """Keras's counts on too."""
    model = made(optimizer=optimizers.Adam(0.1))
    model.fit(X, Y, batch_size=8, verbose=0)
    model.layers[0].trainable = False
    model.compile(loss=SPARSE, optimizer=model.optimizer, metrics=["accuracy"])
    table = model.get_weights()[0]
    model.fit(X, Y, batch_size=8, verbose=0)
    assert model.optimizer.iterations == 6 and np.array_equal(model.get_weights()[0], table)


@pytest.mark.parametrize("make", [lambda: ReduceLROnPlateau(monitor="loss"), lambda: LearningRateScheduler(lambda epoch: 0.1)])
def test_a_rate_that_is_a_function_is_not_set(make):
    model = made(optimizer=optimizers.SGD(lambda step: 0.1))
    with pytest.raises(TypeError, match="sets the learning rate, but the optimizer's is a function of the step"):
        model.fit(X, Y, verbose=0, callbacks=[make()])
    assert model.optimizer.iterations == 0


@pytest.mark.parametrize("given", ["0.1", None, -1.0, float("nan")])
def test_a_schedule_gives_a_rate(given):
    with pytest.raises((TypeError, ValueError), match="what schedule gives must"):
        made().fit(X, Y, verbose=0, callbacks=[LearningRateScheduler(lambda epoch: given)])


# --- random numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [lambda: Dropout(0.5), lambda: LSTM(3, recurrent_dropout=0.5), lambda: LSTM(3, dropout=0.5)])
def test_dropout_outside_of_fit_draws_anew_at_each_call(layer):
    model = Sequential([Embedding(9, 16), layer(), Flatten()], seed=0)
    calls = [model(X, training=True) for _ in range(3)]
    assert not any(np.array_equal(calls[i], calls[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    again = Sequential([Embedding(9, 16), layer(), Flatten()], seed=0)
    np.testing.assert_array_equal(again(X, training=True), calls[0])  # and equal seeds give equal numbers
    np.testing.assert_array_equal(model(X), model(X))


def test_each_call_of_fit_takes_another_order():
    class Orders(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            orders.append([])

    def ids(y_true, y_pred):
        orders[-1] += y_true[:, 0].tolist()
        return y_pred[:, 0]

    def trained(*calls):
        model = Sequential([Dense(1)], seed=0)
        model.compile(loss="mse", optimizer="sgd", metrics=[ids])
        for options in calls:
            model.fit(NUMBERS, np.arange(24.0), batch_size=8, verbose=0, callbacks=[Orders()], **options)
        return orders

    orders = []
    assert len({tuple(order) for order in trained({}, {}, {"epochs": 2})}) == 4
    whole, orders = trained({"epochs": 3}), []
    orders = []
    whole = list(trained({"epochs": 3}))
    orders = []
    assert trained({"epochs": 1}, {"epochs": 3, "initial_epoch": 1}) == whole  # a run that goes on


# --- several threads -------------------------------------------------------------------------------------------------


def test_threads_that_use_an_unbuilt_model_build_it_once(monkeypatch):
    model, wanted = made(), made().predict(X, verbose=0)
    build, seen = stack.Stack.build, []

    def slowly(self, shape=None):
        time.sleep(0.05)
        build(self, shape)

    monkeypatch.setattr(stack.Stack, "build", slowly)
    threads = [threading.Thread(target=lambda: seen.append(model.predict(X, verbose=0))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(seen) == 6
    for predicted in seen:
        np.testing.assert_array_equal(predicted, wanted)


def test_threads_that_measure_one_model_count_for_themselves():
    model = made(metrics=["accuracy"])
    wanted = [model.evaluate(X[i:], Y[i:], batch_size=2, verbose=0) for i in range(4)]
    seen = {}

    def measure(i):
        seen[i] = [model.evaluate(X[i:], Y[i:], batch_size=2, verbose=0) for _ in range(5)]

    threads = [threading.Thread(target=measure, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [seen[i] for i in range(4)] == [[each] * 5 for each in wanted]


# --- copies ----------------------------------------------------------------------------------------------------------


def spread(generator, shape):
    return generator.uniform(-1, 1, shape)


def fitted():
    model = made(Dropout(0.1), optimizer=optimizers.Adam(0.01), metrics=["accuracy", SPARSE])
    model.fit(X, Y, verbose=0)
    return model


OBJECTS = {
    "a model": fitted,
    "an unbuilt model": made,
    "a history": lambda: fitted().history,
    "a bidirectional layer": lambda: Bidirectional(LSTM(3, dropout=0.1)),
    "a layer with a function": lambda: Dense(3, kernel_initializer=spread),
    "a layer with an object": lambda: Embedding(3, 2, initializers.Constant(np.ones((3, 2)))),
    "a built layer": lambda: fitted().layers[1],
    **{kind.__name__: kind for kind in initializers.KINDS.values()},
    **{f"optimizer {name}": kind for name, kind in optimizers.KINDS.items()},
    "an optimizer that trains": lambda: fitted().optimizer,
    **{f"loss {name}": kind for name, kind in losses.KINDS.items()},
    **{kind.__name__: kind for kind in (EarlyStopping, ReduceLROnPlateau, TerminateOnNaN, Callback)},
    "ModelCheckpoint": lambda: ModelCheckpoint("model-{epoch}"),
    "LearningRateScheduler": lambda: LearningRateScheduler(max),
    **{
        f"layers.initialisers.{name}": lambda make=make: make()
        for name, make in {
            "constant": lambda: layers.initialisers.constant(1),
            "normal": layers.initialisers.normal,
            "uniform": lambda: layers.initialisers.uniform(0.1),
            "kaiming_uniform": lambda: layers.initialisers.kaiming_uniform(3),
            "xavier_uniform": layers.initialisers.xavier_uniform,
            "orthogonal": layers.initialisers.orthogonal,
        }.items()
    },
}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("name", OBJECTS)
def test_copies_are_equal(name, copied):
    thing = OBJECTS[name]()
    again = copied(thing)
    assert type(again) is type(thing)
    if hasattr(thing, "get_config") and name != "a layer with a function":
        assert repr(again.get_config()) == repr(thing.get_config())
    if callable(thing) and (isinstance(thing, initializers.Initializer) or name.startswith("layers.")):
        drawn = [each(np.random.default_rng(0), (3, 4)) for each in (thing, again)]
        np.testing.assert_array_equal(*drawn)
    if name == "a history":
        assert again.history == thing.history


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))], ids=["deepcopy", "pickle"])
def test_a_copied_model_trains_as_the_first_and_apart_from_it(copied):
    model = fitted()
    again = copied(model)
    before = model.get_weights()
    histories = [again.fit(X, Y, verbose=0).history]
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    histories.append(model.fit(X, Y, verbose=0).history)
    assert histories[0] == histories[1] and equal(model, again) and again.optimizer.iterations == model.optimizer.iterations == 2


def test_a_callback_may_stand_alone_and_batches_have_a_short_name():
    class Short(Callback):
        def __init__(self):
            super().__init__()
            self.events = []

        def on_batch_begin(self, batch, logs=None):
            self.events.append(("begin", batch))

        def on_batch_end(self, batch, logs=None):
            self.events.append(("end", batch, sorted(logs)))

    model, short = Sequential([Dense(1)]), Short()
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 2)), np.ones(4), batch_size=2, verbose=0, callbacks=short)
    assert short.events == [("begin", 0), ("end", 0, ["loss"]), ("begin", 1), ("end", 1, ["loss"])]

"""Models that Keras and minilm both make, from one description: `make_expected.py` writes what Keras gives for them.

A layer is (class, arguments); a layer within a layer stands among the arguments likewise.
"""

import numpy as np

B, T, V, D, H = 4, 6, 7, 3, 4  # rows, steps, ids, width of the input, width of the layers

MASKS = {  # zeros are padding where an Embedding says so
    "none": [[3, 1, 4, 1, 5, 2], [2, 6, 5, 3, 5, 1], [1, 1, 2, 6, 3, 4], [5, 2, 6, 4, 3, 3]],
    "pre": [[0, 0, 4, 1, 5, 2], [2, 6, 5, 3, 5, 1], [0, 0, 0, 0, 0, 4], [0, 2, 6, 4, 3, 3]],
    "post": [[3, 1, 4, 0, 0, 0], [2, 6, 5, 3, 5, 1], [1, 0, 0, 0, 0, 0], [5, 2, 6, 4, 3, 0]],
    "holes": [[3, 0, 4, 0, 5, 2], [0, 6, 0, 3, 5, 0], [0, 0, 0, 0, 0, 0], [0, 0, 6, 4, 0, 3]],
}


def ids(kind):
    return np.array(MASKS[kind], np.int64)  # (B, T)


def vectors(seed=0):
    return np.random.default_rng(seed).standard_normal((B, T, D)).astype(np.float32)


def embedded(mask, *layers):
    return mask, [("Embedding", {"input_dim": V, "output_dim": D, "mask_zero": mask != "none"}), *layers]


def _recurrent():
    for kind in ("LSTM", "GRU", "SimpleRNN"):
        for mask in MASKS:
            for sequences in (False, True):
                layer = (kind, {"units": H, "return_sequences": sequences})
                yield f"{kind}, {mask}, {sequences}", embedded(mask, layer)
                yield f"Bidirectional {kind}, {mask}, {sequences}", embedded(mask, ("Bidirectional", {"layer": layer}))
        for sequences in (False, True):
            options = {"units": H, "return_sequences": sequences, "go_backwards": True}
            yield f"{kind} backwards, {sequences}", embedded("holes", (kind, options))
        yield f"{kind} without bias", embedded("none", (kind, {"units": H, "use_bias": False}))


def _stepwise():
    for name, (kind, options) in {
        "LSTM relu": ("LSTM", {"activation": "relu"}),
        "LSTM hard": ("LSTM", {"activation": "softsign", "recurrent_activation": "hard_sigmoid"}),
        "GRU before": ("GRU", {"reset_after": False}),
        "GRU elu": ("GRU", {"activation": "elu"}),
        "GRU before, relu": ("GRU", {"reset_after": False, "activation": "relu", "use_bias": False}),
        "SimpleRNN linear": ("SimpleRNN", {"activation": None}),
        "SimpleRNN relu": ("SimpleRNN", {"activation": "relu"}),
    }.items():
        for mask in ("none", "holes"):
            for sequences in (False, True):
                layer = (kind, {"units": H, "return_sequences": sequences, **options})
                yield f"{name}, {mask}, {sequences}", embedded(mask, layer)
        layer = (kind, {"units": H, "return_sequences": True, **options})
        yield f"Bidirectional {name}", embedded("holes", ("Bidirectional", {"layer": layer}))


def _merged():
    for mode in ("sum", "ave", "mul"):
        layer = ("GRU", {"units": H, "return_sequences": True})
        yield f"Bidirectional {mode}", embedded("pre", ("Bidirectional", {"layer": layer, "merge_mode": mode}))


LAYERS = {
    **dict(_recurrent()),
    **dict(_stepwise()),
    **dict(_merged()),
    "stacked": embedded(
        "holes",
        ("Bidirectional", {"layer": ("LSTM", {"units": H, "return_sequences": True})}),
        ("LSTM", {"units": H, "return_sequences": True, "zero_output_for_mask": True}),
        ("GRU", {"units": H}),
        ("Dense", {"units": 2, "activation": "softmax"}),
    ),
    "held outputs read on": embedded(
        "holes", ("LSTM", {"units": H, "return_sequences": True}), ("Flatten", {}), ("Dense", {"units": 2})
    ),
    "Embedding": embedded("none"),
    "average": embedded("pre", ("GlobalAveragePooling1D", {}), ("Dense", {"units": 3, "activation": "tanh"})),
    "maximum": embedded("none", ("GlobalMaxPooling1D", {}), ("Dense", {"units": 3, "activation": "sigmoid"})),
    **{
        f"Dense {name}": ("vectors", [("Dense", {"units": 5, "activation": name})])
        for name in ("elu", "selu", "softplus", "softsign", "exponential", "hard_sigmoid", "leaky_relu")
    },
    "Dense over time": ("vectors", [("Dense", {"units": 5, "activation": "relu"}), ("Dense", {"units": 2, "use_bias": False})]),
    "TimeDistributed": ("vectors", [("TimeDistributed", {"layer": ("Dense", {"units": 5, "activation": "gelu"})})]),
    "encoder and decoder": (
        "vectors",
        [
            ("LSTM", {"units": H}),
            ("RepeatVector", {"n": 3}),
            ("LSTM", {"units": H, "return_sequences": True}),
            ("TimeDistributed", {"layer": ("Dense", {"units": 2})}),
            ("Activation", {"activation": "softmax"}),
        ],
    ),
    "Masking": ("vectors with gaps", [("Masking", {"mask_value": 0.5}), ("LSTM", {"units": H})]),
}


def inputs(kind):
    if kind in MASKS:
        return ids(kind)
    x = vectors()
    if kind == "vectors with gaps":
        x[0, 2] = x[1, :3] = x[2, 5] = 0.5
    return x


_YES_NO = ("LSTM", {"units": H}), ("Dense", {"units": 1, "activation": "sigmoid"})
_BINARY = {"loss": "binary_crossentropy", "optimizer": ("SGD", {"learning_rate": 0.1}), "metrics": ["accuracy"]}


def falling(epoch):
    return 0.5 / (1 + epoch)


def halved(epoch, rate):
    return rate / 2


_CLASSES = np.array([0, 2, 1, 2])
_STEPS = np.array([[0, 1, 2, 0, 1, 2], [2, 1, 0, 2, 1, 0], [1, 1, 2, 2, 0, 0], [0, 2, 1, 0, 2, 1]])  # (B, T)

FITS = {  # input, layers, compile, targets, fit
    "classes": (
        *embedded(
            "holes", ("Bidirectional", {"layer": ("LSTM", {"units": H})}), ("Dense", {"units": 3, "activation": "softmax"})
        ),
        {"loss": "sparse_categorical_crossentropy", "optimizer": "adam", "metrics": ["accuracy"]},
        _CLASSES,
        {"batch_size": 3, "validation_split": 0.25},
    ),
    "every step": (
        *embedded(
            "pre",
            ("GRU", {"units": H, "return_sequences": True}),
            ("TimeDistributed", {"layer": ("Dense", {"units": 3, "activation": "softmax"})}),
        ),
        {
            "loss": "sparse_categorical_crossentropy",
            "optimizer": ("RMSprop", {"learning_rate": 0.01}),
            "metrics": ["accuracy", "sparse_categorical_crossentropy"],
        },
        _STEPS,
        {"batch_size": 2, "sample_weight": np.linspace(0.2, 2, B * T, dtype=np.float32).reshape(B, T)},
    ),
    "yes or no": (
        *embedded("post", ("LSTM", {"units": H}), ("Dense", {"units": 1, "activation": "sigmoid"})),
        {
            "loss": "binary_crossentropy",
            "optimizer": ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
            "metrics": ["accuracy", "mse"],
        },
        np.array([0, 1, 1, 0]),
        {"batch_size": 2, "class_weight": {0: 1.0, 1: 3.0}},
    ),
    "distributions": (
        *embedded("none", ("SimpleRNN", {"units": H}), ("Dense", {"units": 3, "activation": "softmax"})),
        {
            "loss": ("CategoricalCrossentropy", {"label_smoothing": 0.1}),
            "optimizer": ("AdamW", {"learning_rate": 0.01, "weight_decay": 0.1}),
            "metrics": ["accuracy"],
        },
        np.eye(3, dtype=np.float32)[_CLASSES],
        {"batch_size": 4},
    ),
    "numbers": (
        *embedded("pre", ("GRU", {"units": H}), ("Dense", {"units": 1})),
        {"loss": "mse", "optimizer": ("Adam", {"learning_rate": 0.05, "clipnorm": 0.1}), "metrics": ["mae"]},
        np.array([0.5, -1.0, 2.0, 0.1], np.float32),
        {"batch_size": 2},
    ),
    "absolute": (
        *embedded("pre", ("GRU", {"units": H}), ("Dense", {"units": 2})),
        {"loss": "mae", "optimizer": ("RMSprop", {"momentum": 0.5, "global_clipnorm": 0.5})},
        np.array([[0.5, 1], [-1.0, 2], [2.0, 3], [0.1, 1]], np.float32),
        {"batch_size": 2},
    ),
    "probabilities": (
        *embedded(
            "none",
            ("LSTM", {"units": H, "return_sequences": True}),
            ("Dense", {"units": 3, "activation": "softmax"}),
            ("GlobalAveragePooling1D", {}),
        ),
        {"loss": "sparse_categorical_crossentropy", "optimizer": "sgd"},
        _CLASSES,
        {"batch_size": 4},
    ),
    "mean of distributions": (
        *embedded(
            "pre",
            ("GRU", {"units": H, "return_sequences": True}),
            ("Dense", {"units": 3, "activation": "softmax"}),
            ("GlobalAveragePooling1D", {}),
        ),
        {"loss": "categorical_crossentropy", "optimizer": "sgd"},
        np.eye(3, dtype=np.float32)[_CLASSES],
        {"batch_size": 3},
    ),
    "mean of yes or no": (
        *embedded(
            "pre",
            ("GRU", {"units": H, "return_sequences": True}),
            ("Dense", {"units": 2, "activation": "sigmoid"}),
            ("GlobalAveragePooling1D", {}),
        ),
        {"loss": "binary_crossentropy", "optimizer": "sgd", "metrics": ["binary_accuracy"]},
        np.array([[0, 1], [1, 1], [1, 0], [0, 0]]),
        {"batch_size": 3},
    ),
    "an ignored class": (
        *embedded("none", ("LSTM", {"units": H, "return_sequences": True}), ("Dense", {"units": 3, "activation": "softmax"})),
        {"loss": ("SparseCategoricalCrossentropy", {"ignore_class": 0}), "optimizer": "sgd"},
        _STEPS,
        {"batch_size": 2},
    ),
    "logits": (
        *embedded("none", ("LSTM", {"units": H}), ("Dense", {"units": 3})),
        {"loss": ("SparseCategoricalCrossentropy", {"from_logits": True}), "optimizer": "adam"},
        _CLASSES,
        {"batch_size": 4},
    ),
    "weights of classes are for training": (
        *embedded("none", *_YES_NO),
        _BINARY,
        np.array([0, 1, 1, 0]),
        {"batch_size": 1, "class_weight": {0: 1.0, 1: 5.0}, "validation_split": 0.5},
    ),
    "labels 1 and 2": (*embedded("none", *_YES_NO), _BINARY, np.array([1, 2, 2, 1]), {"batch_size": 4}),
    "soft labels": (
        *embedded("none", *_YES_NO),
        {**_BINARY, "metrics": ["accuracy", "binary_accuracy"]},
        np.array([0.2, 0.7, 1.0, 0.5], np.float32),
        {"batch_size": 2, "class_weight": {0: 2.0, 1: 3.0}},
    ),
    "a rate by the epoch": (
        *embedded("none", *_YES_NO),
        _BINARY,
        np.array([0, 1, 1, 0]),
        {"batch_size": 4, "callbacks": [("LearningRateScheduler", {"schedule": falling})]},
    ),
    "a rate by the rate before": (
        *embedded("none", *_YES_NO),
        _BINARY,
        np.array([0, 1, 1, 0]),
        {"batch_size": 4, "callbacks": [("LearningRateScheduler", {"schedule": halved})]},
    ),
    "a rate that falls on plateaus": (
        *embedded("none", *_YES_NO),
        _BINARY,
        np.array([0, 1, 1, 0]),
        {
            "batch_size": 4,
            "callbacks": [("ReduceLROnPlateau", {"monitor": "loss", "patience": 1, "min_delta": 10, "factor": 0.5})],
        },
    ),
    "epochs of three batches": (
        *embedded("none", *_YES_NO),
        _BINARY,
        np.array([0, 1, 1, 0]),
        {"batch_size": 1, "steps_per_epoch": 3},
    ),
}
EPOCHS = 5
ROUNDS = 2  # in which two models that share a layer are trained in turn

SHARED = ("Embedding", {"input_dim": V, "output_dim": D})  # the layer, and what stands behind it in the two models
BEHIND = [_YES_NO, [("Flatten", {}), ("Dense", {"units": 1, "activation": "sigmoid"})]]


FILED = embedded(  # what is written into files of Keras's own
    "pre",
    ("Bidirectional", {"layer": ("GRU", {"units": 2, "return_sequences": True, "dropout": 0.1}), "merge_mode": "sum"}),
    ("LSTM", {"units": 2, "return_sequences": True, "use_bias": False}),
    ("TimeDistributed", {"layer": ("Dense", {"units": 3, "activation": "relu", "kernel_initializer": "he_normal"})}),
    ("GlobalAveragePooling1D", {}),
    ("Dropout", {"rate": 0.1}),
    ("Dense", {"units": 4, "activation": "tanh"}),
    ("Dense", {"units": 3, "activation": "softmax"}),
)
FILED_COMPILED = {
    "loss": ("SparseCategoricalCrossentropy", {}),
    "optimizer": ("Adam", {"learning_rate": 0.01, "clipnorm": 1.0}),
    "metrics": ["accuracy"],
}
FILED_Y = _CLASSES


def with_objects(module, arguments):
    """The arguments of compile or fit with the objects of a module in the place of descriptions."""
    options = dict(arguments)
    for name, part in (("loss", "losses"), ("optimizer", "optimizers")):
        if isinstance(options.get(name), tuple):
            options[name] = made(getattr(module, part), *options[name])
    if "callbacks" in options:
        options["callbacks"] = [made(module.callbacks, *each) for each in options["callbacks"]]
    return options


def pair_of(module, trainable):
    """Two models of a module that share their first layer, compiled by `trainable`, and not trained."""
    shared, models = made(module.layers, *SHARED), []
    for behind in BEHIND:
        models.append(module.Sequential([module.layers.Input((T,)), shared, *[made(module.layers, *each) for each in behind]]))
        trainable(models[-1])
    return models


def made(layers, name, arguments):
    """A layer of a description, from a module that has the classes."""
    inner = {
        key: made(layers, *value) if isinstance(value, tuple) and isinstance(value[0], str) else value
        for key, value in arguments.items()
    }
    return getattr(layers, name)(**inner)


def key(*parts):
    return "|".join(parts)

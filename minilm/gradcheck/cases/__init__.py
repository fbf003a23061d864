"""The layers and models that `minilm gradcheck` checks, small and in float64.

``LAYERS`` and ``MODELS`` map a name to its cases: label -> ``build()``, which returns (module, inputs, options) for
``gradcheck(module, *inputs, **options)``. No parameter has its initial value, where a swapped bias or a gain of one would not
show; none is near zero; and no argument is at a kink of a function.
"""

from minilm.gradcheck.cases import (
    classifiers,
    encoder_decoders,
    keras_compatible,
    llama,
    question_answering,
    recurrent,
    transformers,
    word_vectors,
)

__all__ = ["LAYERS", "MODELS"]

LAYERS = {**recurrent.LAYERS, **transformers.LAYERS, **llama.LAYERS, **encoder_decoders.LAYERS, **classifiers.LAYERS}
MODELS = {
    **recurrent.MODELS,
    **transformers.MODELS,
    **llama.MODELS,
    **question_answering.MODELS,
    **encoder_decoders.MODELS,
    **classifiers.MODELS,
    **keras_compatible.MODELS,
    **word_vectors.MODELS,
}


def __dir__() -> list[str]:
    return sorted(__all__)

"""Inference with weights in fewer bits: bfloat16, half of the bytes to read for a token, int8, a quarter, int4, a sixth.

::

    model = models.GPT.from_pretrained("gpt2")
    quantized.quantize(model, "int8")            # in place; then generate, evaluate, encode as before
    generation.generate(model, tokenizer, "Once upon a time")

`minilm export DIR OUT --int8` writes such a model into a folder, from which `training.load_run`, `GPT.from_pretrained` and
`recipes.open_run` read it: `minilm.quantized.storing`. Of a GGUF file `training.load_run(path, quantize="int4")` keeps the
blocks of 4 bits as they are: `minilm.quantized.gguf`.

Formulas, and how far off they are: `minilm.quantized.spec`.
"""

from __future__ import annotations

from minilm.quantized.conversion import quantize
from minilm.quantized.layers import QuantizedLinear
from minilm.quantized.recurrent import QuantizedRecurrent
from minilm.quantized.spec import FORMATS, GROUP
from minilm.quantized.storing import save

__all__ = ["FORMATS", "GROUP", "QuantizedLinear", "QuantizedRecurrent", "quantize", "save"]


def __dir__() -> list[str]:
    return sorted(__all__)

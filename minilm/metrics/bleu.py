"""BLEU, by sacrebleu, whose figures can be compared from paper to paper.

BLEU is the geometric mean of the shares of the hypotheses' n-grams, n = 1 ... 4, that occur in the references, times a penalty
where the hypotheses are shorter in total than the references. Here: cased, one reference, tokenised by sacrebleu's "13a", in
[0, 100].

References: K. Papineni, S. Roukos, T. Ward, W.-J. Zhu, BLEU: a method for automatic evaluation of machine translation, ACL 2002;
M. Post, A call for clarity in reporting BLEU scores, WMT 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

__all__ = ["corpus_bleu", "require"]


def require() -> ModuleType:
    """sacrebleu; ImportError with what to install where it is missing."""
    try:
        import sacrebleu
    except ImportError:
        raise ImportError("BLEU is measured by sacrebleu, which is not installed: pip install 'minilm[tasks]'") from None
    return sacrebleu


def corpus_bleu(predictions: Sequence[str], references: Sequence[str]) -> float:
    """BLEU of a whole corpus, in [0, 100].

    Parameters
    ----------
    predictions, references : sequences of str
        Hypotheses and their references, one a sentence.

    Raises
    ------
    ImportError
        sacrebleu is not installed.
    ValueError
        The two are not as many, or none.
    """
    sacrebleu = require()
    if len(predictions) != len(references) or not predictions:
        raise ValueError(
            f"predictions and references must be as many, and at least one, got {len(predictions)} and {len(references)}"
        )
    return float(sacrebleu.corpus_bleu(list(predictions), [list(references)]).score)

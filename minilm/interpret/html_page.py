"""The explanation as one HTML file that needs nothing else: style, script and numbers are inside, and no request is made.

The script gets its numbers as JSON in an element of its own, in which every ``<``, ``>`` and ``&`` is written as an escape: no
token, not even ``</script>``, ends it. It puts texts on the page as text, never as markup. A Content-Security-Policy forbids the
page every request whatsoever. In a notebook the page stands in a frame, so that neither's style reaches the other.
"""

from __future__ import annotations

import base64
import html
import importlib.resources
import json
import os
import re
from typing import TYPE_CHECKING, cast

import numpy as np

from minilm.files import written_whole
from minilm.interpret.plain import plain
from minilm.typing import PathLike

if TYPE_CHECKING:  # both show themselves by this module
    from minilm.interpret.explanation import Explanation
    from minilm.interpret.tasks.decisions import Decisions

__all__ = ["frame", "page", "write_page"]

# Characters that turn the direction of the text around them: what is read would not be what is there.
DIRECTIONS = {code: f"[U+{code:04X}]" for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
MOST_UNITS = 512  # of a layer: more rows than a map has pixels
SECTIONS = {
    "surprisal": "Surprisal",
    "comparison": "Comparison",
    "attribution": "Attribution",
    "attention": "Attention",
    "rollout": "Attention rollout",
    "traces": "Gates and cells",
    "lens": "Logit lens",
    "causes": "Causes",
    "neighbours": "Nearest tokens",
}
TASK_SECTIONS = {"decisions": "Decisions", "shares": "Shares", "table": "All decisions", "looked": "Where it looked"}


def page(explanation: Explanation | Decisions) -> str:
    """The HTML of an explanation."""
    if hasattr(explanation, "decisions"):
        return _filled("task", explanation, TASK_SECTIONS, _decisions_data(cast("Decisions", explanation)))
    return _filled("page", explanation, SECTIONS, _data(cast("Explanation", explanation)))


def frame(explanation: Explanation | Decisions) -> str:
    """The page in a frame, as HTML that a notebook shows in a cell."""
    style = "width: 100%; height: 640px; border: 1px solid #8884"
    return f'<iframe sandbox="allow-scripts" style="{style}" srcdoc="{html.escape(page(explanation))}"></iframe>'


def _filled(kind: str, explanation: Explanation | Decisions, sections: dict[str, str], data: dict) -> str:
    """The shell with the sections, the script and the data of one kind of page."""
    resources = importlib.resources.files("minilm.interpret")

    def read(name):
        return resources.joinpath(name).read_text("utf-8")

    title = _shown(" ".join(explanation.text.split()))
    title = title if len(title) <= 60 else f"{title[:59]}…"
    values = {
        "title": html.escape(f"minilm explain: {title}"),
        "style": read("page.css"),
        "main": read(f"{kind}.html"),
        "script": read("tools.js") + read(f"{kind}.js"),
        "model": html.escape(_shown(explanation.model)),
        "links": "".join(f'<a href="#{name}">{label}</a>' for name, label in sections.items()),
        "data": _inside_script(data),
    }
    return re.sub("@@([a-z]+)@@", lambda place: values[place[1]], read("shell.html"))  # one pass: what is put in stays as it is


def write_page(explanation: Explanation | Decisions, path: PathLike) -> None:
    """Write the page to a file, whole or not at all."""
    text = page(explanation)
    with written_whole(os.fspath(path)) as file:
        file.write(text.encode("utf-8", "replace"))


def _shown(text: str) -> str:
    """A text whose characters of direction are seen, and turn nothing around."""
    return text.translate(DIRECTIONS)


def _inside_script(data: dict) -> str:
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _data(explanation: Explanation) -> dict:
    """What the script reads. Maps are bytes in base64, each with the numbers that 0 and 255 stand for."""
    surprisal, near = explanation.surprisal, explanation.neighbours
    return {
        "text": _shown(explanation.text),
        "causal": explanation.causal,
        "ids": explanation.ids.tolist(),
        "tokens": [_shown(token) for token in explanation.tokens],
        "spellings": {str(id): _shown(text) for id, text in explanation.spellings.items()},
        "surprisal": {
            **plain(surprisal._asdict()),
            "total": plain(surprisal.total),
            "mean": plain(surprisal.mean),
            "perplexity": plain(surprisal.perplexity),
        },
        "comparison": None if explanation.comparison is None else plain(explanation.comparison.to_dict()),
        "methods": [
            {"name": name, **plain(each._asdict())}
            for name, each in (
                ("integrated gradients", explanation.integrated_gradients),
                ("gradient × input", explanation.gradient_x_input),
            )
        ],
        "attention": None if explanation.attention is None else _bytes(explanation.attention, 0, 1),
        "rollout": None if explanation.rollout is None else _bytes(explanation.rollout, 0, 1),
        "traces": _traces(explanation.traces),
        "lens": None if explanation.lens is None else plain(explanation.lens._asdict()),
        "causes": plain(explanation.causes._asdict()),
        "neighbours": {str(id): plain(each) for id, each in near.items()},
        "lacks": explanation.lacks,
    }


def _decisions_data(decisions: Decisions) -> dict:
    """What the script of the tasks' page reads."""
    return _all_shown({**decisions.to_dict(), "labels": decisions.labels or [each.answer for each in decisions.decisions]})


def _all_shown(value):
    """`_shown` of every text."""
    if isinstance(value, str):
        return _shown(value)
    if isinstance(value, dict):
        return {_shown(name): _all_shown(each) for name, each in value.items()}
    return [_all_shown(each) for each in value] if isinstance(value, list) else value


def _traces(traces) -> dict | None:
    if traces is None:
        return None
    first = next(iter(traces.values.values()))  # (L, T, H)
    moving = traces.values.get("cell c", traces.values["state h"])  # (L, T, H)
    most = np.argsort(-moving.std(axis=1), axis=1, kind="stable")[:, :MOST_UNITS]  # (L, H')
    shown = np.sort(most, axis=1)
    maps = {}
    for name, value in traces.values.items():
        value = np.take_along_axis(value, shown[:, None], axis=2)  # (L, T, H')
        high = 1.0 if name not in ("cell c",) else max(1.0, float(np.abs(value).max()))
        maps[name] = _bytes(value.transpose(0, 2, 1), 0.0 if "gate" in name else -high, high)  # (L, H', T)
    return {
        "maps": maps,
        "units": shown.tolist(),
        "of": first.shape[2],
        "shut": {name: plain(each.mean(axis=1)) for name, each in traces.shut.items()},
        "open": {name: plain(each.mean(axis=1)) for name, each in traces.open.items()},
    }


def _bytes(array: np.ndarray, low: float, high: float) -> dict:
    scaled = np.clip((array.astype(np.float64) - low) / (high - low), 0, 1)
    levels = np.rint(255 * scaled).astype(np.uint8)
    return {"shape": list(array.shape), "low": low, "high": high, "data": base64.b64encode(levels.tobytes()).decode()}

"""`minilm explain DIR --along`: heads and layers through the checkpoints that a run has kept."""

from __future__ import annotations

import os

from minilm.cli.unused import refuse_unused

__all__ = ["explain_along"]

ROWS, TIME = 32, 64  # windows of the text, and tokens of each, that the probe is trained and measured on
LEAST = 200  # tokens, for an accuracy that says something
OF_ONE_TEXT = ("answer", "foil", "corrupted", "against", "steps", "attribute", "top", "neighbours")  # options of `explain`


def explain_along(args, folder: str, text: str | None) -> int:
    """Print the table, and write what was asked for."""
    from minilm import interpret, training
    from minilm.files import written_whole
    from minilm.training.kept import folder_of, kept_steps

    refuse_unused(args, OF_ONE_TEXT, "explains one text by one model: leave it out with --along")
    if args.out and not args.out.endswith(".csv"):
        raise ValueError(f"--along writes a table: --out FILE.csv, got {args.out}")
    last = training.load_run(folder)
    steps = kept_steps(folder)
    if last.state is None or not steps:
        raise ValueError(f"{folder} has kept no checkpoints: train with --set keep_every=N, and each N steps one stays")
    ids = _windows(last, text)
    runs = ((step, training.load_run(folder_of(folder, step)).model) for step in steps)
    ended = [] if last.state.step in steps else [(last.state.step, last.model)]
    result = interpret.along((each for part in (runs, ended) for each in part), ids)
    if args.json == "-":
        print(result.to_json())
        return 0
    print(result)
    print(f"probe of the token before by a linear map: {result.majority:.3f} by always saying the most frequent one")
    for path, content in ((args.out, result.to_csv), (args.json, result.to_json)):
        if path:
            with written_whole(path) as file:
                file.write(content().encode())
            print(f"wrote       {path}")
    if args.png:
        os.makedirs(args.png, exist_ok=True)
        path = os.path.join(args.png, "along.png")
        try:
            interpret.write_along_plot(result, path)
        except ImportError as error:
            raise ValueError(f"--png: {error}") from None
        print(f"wrote       {path}")
    return 0


def _windows(run, text: str | None):
    """Windows of the text, or of the run's validation part, (B, T)."""
    import numpy as np

    from minilm import data

    if text is not None:
        ids = np.asarray(run.tokenizer.encode(text), np.int64)
    else:
        part = data.text(run.config.corpus, run.config.errors).split(run.config.validation)[1]
        ids = np.asarray(data.tokens(part, run.tokenizer)[: ROWS * TIME], np.int64)
    context = run.model.context
    time = min(TIME, len(ids) if context is None else min(context, len(ids)))
    rows = min(ROWS, len(ids) // max(1, time))
    if rows * time < LEAST:
        raise ValueError(f"the text has {len(ids):,} tokens, and a probe needs {LEAST} at least: a longer --text")
    return ids[: rows * time].reshape(rows, time)

"""Every picture that a command, a recipe or a benchmark writes can be read: no text leaves it, no label covers another."""

import types

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from benchmarks import plots as benchmark_plots
from benchmarks import record
from minilm.recipes import folder, plots, shading
from minilm.training import log
from tests import pictures

RNG = np.random.default_rng(0)
LONG = "attention sees=causal dropout=0.1 B 4 Tq 1,024 Tk 1,024 H 6 K 64 Kv 64"


def write_log(place, steps, count):
    with open(place / "log.csv", "w") as file:
        file.write(log.HEADER)
        for i in range(1, count + 1):
            validation = "1.5" if i % 10 == 0 else ""
            file.write(f"{steps * i // count},0,{i},0.001,{4 / i + 1},1,{validation},{i},100\n")


def ticks(axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


@pytest.mark.parametrize("steps, count", [(2_400_000, 200), (60, 60), (1, 1), (0, 0)])
def test_the_curves_of_a_run(steps, count, tmp_path):
    write_log(tmp_path, steps, count)
    with pictures.drawn() as figures:
        log.plot(tmp_path)
    pictures.check(figures)
    (axes,) = figures[0][0].axes
    assert not axes.xaxis.get_offset_text().get_text(), "steps are written out"
    assert all(label.replace(",", "").lstrip("−-").isdigit() for label in ticks(axes))
    assert ("1,200,000" in ticks(axes)) == (steps > 10**6)


@pytest.mark.parametrize("values", [(0.2, 0.9, 1.0, 1.0), (1.0, 1.0), (0.97, 0.99), (12.0, 38.5), (0.0,)])
def test_the_curves_of_a_recipe(values, tmp_path):
    rows = [folder.Row(1000 * i, i, 1e-3, 2.0 / i, None) for i in range(1, 13)]
    rows += [folder.Row(13000 + 1000 * i, 13, 1e-3, 0.1, value) for i, value in enumerate(values)]
    with pictures.drawn() as figures:
        folder._plot(str(tmp_path / "loss.png"), rows, "exact_match")
    pictures.check(figures)
    right = figures[0][0].axes[1]
    assert max(values) > 1 or right.get_ylim()[1] <= 1 or max(values) < 0.95, "no axis of shares goes on beyond all of it"


def test_words_that_are_shaded(tmp_path):
    words = "the plot is thin , antidisestablishmentarianism notwithstanding , and i have seen this film".split()
    labels = ["negative", "somewhat positive (wanted somewhat negative)", "$x$ " + "a very long name of a class " * 6]
    rows = [([(word, RNG.random()) for word in words * (i + 1)], label) for i, label in enumerate(labels)]
    with pictures.drawn() as figures:
        shading.shaded(str(tmp_path / "attention.png"), rows)
    pictures.check(figures)


def test_relations_of_words(tmp_path):
    """Points close together, as those of a trained model are: rows of pairs in one direction, some of them nearly one."""
    groups = {name: [(f"{name}{i}", f"{name}partner{i}") for i in range(10)] for name in ("country", "plural", "x", "y")}
    vectors = {}
    for pairs in groups.values():
        direction = RNG.standard_normal(20)
        for i, (first, second) in enumerate(pairs):
            base = 0.6 * RNG.standard_normal(20) * (i % 3 > 0)
            vectors[first], vectors[second] = base, base + direction + 0.02 * RNG.standard_normal(20)
    unit = np.stack(list(vectors.values()))
    names = list(vectors)
    table = types.SimpleNamespace(unit=unit, id=names.index)
    with pictures.drawn() as figures:
        plots.relations(str(tmp_path / "relations.png"), table, groups)
    figure, written = figures[0]
    assert [] == pictures.clipped(figure, written)
    labels = [(text, box) for text, box in written if text.get_text() in names]
    assert len(labels) == len(names)
    for text, box in labels:
        frame = text.axes.get_window_extent()
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1, f"{text.get_text()} leaves its plane"
    assert len(pictures.overlapping(labels)) <= 2, "of eighty words"


@pytest.mark.parametrize("word", ["a", "schutzhelmen", "$antriebsradsystem$"])
@pytest.mark.parametrize("count", [1, 3, 4])
def test_maps_of_attention(word, count, tmp_path):
    maps = []
    for i in range(count):
        w = RNG.random((6 + 4 * i, 3 + 6 * i))
        maps.append((w / w.sum(axis=1, keepdims=True), [word] * w.shape[1], [word, *["b "] * (len(w) - 1)]))
    with pictures.drawn() as figures:
        plots.attention_maps(str(tmp_path / "maps.png"), maps)
    assert [] == pictures.clipped(*figures[0])


@pytest.mark.parametrize("count", [1, 4, 50])
def test_benchmarks(count, tmp_path):
    ratio = {"median": 2.0, "low": 0.4, "high": 25.0}
    row = {**record.LACKING, "suite": "ops", "ratios": {"torch": ratio}, "target": 1.3, "roof": {"median": 0.5}}
    row |= {"samples": {"minilm": ratio, "minilm-1": ratio, "torch-1-threads": ratio, "torch-2-threads": ratio}}
    row["rates"] = {"GFLOP/s": 100.0, "GB/s": 3.0}
    rows = [{**row, "name": f"{LONG} {i}" if i % 2 else f"lstm {i}", "subject": f"op_{i}"} for i in range(count)]
    rows += [{**each, "suite": "scaling"} for each in rows[:7]]
    machine = {"cpu": "Intel(R) Xeon(R) Platinum 8592+ CPU @ 1.90GHz with a long name " * 2, "cores": 2, "threads": {"minilm": 2}}
    machine |= {"peak": 5e11, "bandwidth": 8e10, "levels": [[1 << 15, 6e11]]}
    with pictures.drawn() as figures:
        benchmark_plots.draw(str(tmp_path), {"machine": machine, "results": rows})
        gpu = {"cpu": "NVIDIA H200", "matmul": {"float32": 5e13}, "bandwidth": 4e12}
        benchmark_plots.draw(str(tmp_path / "gpu"), {"machine": gpu, "results": rows[:count]})
    pictures.check(figures)

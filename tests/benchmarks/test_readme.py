"""README's tables: of each processor and case the newest commit, the median of its runs."""

import json

import pytest

from benchmarks import readme, record
from benchmarks.__main__ import main


@pytest.fixture(autouse=True)
def cases_of_today(monkeypatch):
    monkeypatch.setattr(readme, "listed", lambda suite: {"gpt B 1", "LSTM", "GRU", "RNN", *LISTED(suite)})


LISTED = readme.listed


def write(
    folder, name, cpu, date, ratio, disturbed=False, suite="models", case="gpt B 1", commit="c" * 40, kind="k", format=2
):  # fmt: skip
    row = {"name": case, "suite": suite, "against": "torch", "ratios": {"torch": {"median": ratio}, "oracle": {"median": 9}}}
    row |= {"samples": {"minilm": {"median": 0.01 / ratio}}, "rates": {"tokens/s": 1e4}, "bound": "arithmetic", "target": 1.3}
    row |= {"roof": {"median": 0.25}, "conditions": {"verdict": "disturbed: others" if disturbed else "quiet"}}
    content = {"machine": {"cpu": cpu, "cores": 2, "kind": kind}, "date": date, "commit": commit, "results": [row]}
    (folder / name).write_text(json.dumps({**content, "format": format}))


def test_processors_of_one_name_have_tables_of_their_own(tmp_path):
    """A virtual machine calls a Zen 3 and a Zen 5 by one name; a record of before format 2 does not say which it was."""
    write(tmp_path, "a.json", "P", "2026-11-01", 5.0, kind="znver5, 512-bit vectors", commit="b" * 40)
    write(tmp_path, "b.json", "P", "2026-11-02", 2.0, kind="znver3, 256-bit vectors")
    write(tmp_path, "c.json", "P", "2026-11-03", 9.0, kind=None, format=1)
    lines = readme.block("models", readme.records_of(str(tmp_path)))
    assert [line.partition(",")[0] for line in lines if line.startswith("**")] == ["**P** (znver3", "**P** (znver5"]
    assert [line.split(" | ")[3] for line in lines if line.startswith("| gpt")] == ["2.00 torch", "5.00 torch"]


def test_the_newest_commit_and_the_median_of_its_runs(tmp_path):
    write(tmp_path, "a.json", "P", "2026-11-01", 9.0, commit="b" * 40)
    write(tmp_path, "a2.json", "P", "2026-11-02T09:00:00Z", 9.0, commit="b" * 40)  # of that day too, and not of that commit
    for number, ratio in enumerate((1.0, 2.0, 7.0)):
        write(tmp_path, f"b{number}.json", "P", "2026-11-02T10:00:00Z", ratio)
    write(tmp_path, "c.json", "Q", "2026-10-01", 3.0, disturbed=True)
    lines = readme.block("models", readme.records_of(str(tmp_path)))
    text = "\n".join(lines)
    assert "**P** (k), 2 cores, 2026-11-02, commit cccccccccc: the median of 3 runs of `python -m benchmarks models`" in text
    assert "| gpt B 1 | 5.00 ms, 10,000 tokens/s | 25% arithmetic | 2.00 torch | oracle 9.00 | 1.30 |" in text
    assert "**Q**" in text and "one run" in text and "| gpt B 1* |" in text and "disturbed in most" in text


def test_partial_records_of_several_commits(tmp_path):
    """Each case stands once, in the table of the newest commit that has it, and each table says of how many runs it is."""
    write(tmp_path, "a.json", "P", "2026-11-01", 9.0, case="LSTM", commit=None)
    write(tmp_path, "b.json", "P", "2026-11-02T10:00:00Z", 4.0, case="LSTM", commit="b" * 40)
    write(tmp_path, "c.json", "P", "2026-11-02T11:00:00Z", 2.0, case="GRU", commit="b" * 40)
    write(tmp_path, "d.json", "P", "2026-11-02T12:00:00Z", 4.0, case="GRU", commit="b" * 40)
    write(tmp_path, "e.json", "P", "2026-11-03", 5.0, case="gpt B 1")
    write(tmp_path, "f.json", "P", "2026-11-01T01:00:00Z", 7.0, case="RNN", commit=None)
    lines = readme.block("models", readme.records_of(str(tmp_path)))
    rows = [line.split(" | ")[:4:3] for line in lines if line.startswith("| ") and not line.startswith("| case")]
    assert rows == [["| gpt B 1", "5.00 torch"], ["| LSTM", "4.00 torch"], ["| GRU", "3.00 torch"], ["| RNN", "7.00 torch"]]
    titles = [line.partition("2026-11-0")[2].partition(" of `")[0] for line in lines if line.startswith("**P**")]
    assert titles == ["3, commit cccccccccc: one run", "2, commit bbbbbbbbbb: the median of 1 or 2 runs", "1: one run"]


def test_a_case_that_a_suite_has_no_more_stands_in_the_records_alone(tmp_path):
    write(tmp_path, "a.json", "P", "2026-11-01", 3.0, case="LSTM of last year", commit=None)
    write(tmp_path, "b.json", "P", "2026-11-02", 5.0)
    text = "\n".join(readme.block("models", readme.records_of(str(tmp_path))))
    assert "5.00 torch" in text and "of last year" not in text and "2026-11-01" not in text


def test_a_row_without_its_peer_says_why_and_names_no_other_as_its_peer(tmp_path):
    write(tmp_path, "a.json", "P", "2026-11-01", 2.0)
    content = json.loads((tmp_path / "a.json").read_text())
    row = content["results"][0]
    row |= {"against": "onnxruntime-int8", "dropped": {"onnxruntime-int8": "onnx: not installed"}}
    (tmp_path / "a.json").write_text(json.dumps(content))
    (line,) = (line for line in readme.block("models", readme.records_of(str(tmp_path))) if line.startswith("| gpt"))
    assert "| without onnxruntime-int8: onnx: not installed | torch 2.00, oracle 9.00 |" in line


def test_blocks_are_written_between_their_lines(tmp_path, capsys):
    write(tmp_path, "a.json", "P", "2026-11-01", 2.0)
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- benchmarks: models; only: gpt -->\nold\n<!-- end of benchmarks -->\nafter\n")
    command = ["readme", str(page), "--records", str(tmp_path)]
    assert main(command) == 0
    assert "2.00 torch" in capsys.readouterr().out and "old" in page.read_text()
    assert main([*command, "--write"]) == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- benchmarks") and text.endswith("<!-- end of benchmarks -->\nafter\n")
    assert "2.00 torch" in text and "old" not in text
    assert main([*command, "--write"]) == 0 and page.read_text() == text  # nothing changes twice
    page.write_text("<!-- benchmarks: modles -->\n<!-- end of benchmarks -->\n")
    assert main(command) == 2
    assert "wants the suite 'modles'" in capsys.readouterr().err


def test_records_of_before_are_read():
    contents = readme.records_of(readme.RECORDS)
    assert contents and all(row.keys() >= record.LACKING.keys() for content in contents for row in content["results"])
    assert any("PyTorch" in line or "torch" in line for line in readme.block("models", contents))


def test_a_suite_without_records_says_so():
    assert readme.block("startup", []) == ["no records"]
    with pytest.raises(ValueError, match="there are ops"):
        readme.block("nothing", [])

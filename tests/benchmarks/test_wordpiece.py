import dataclasses

from benchmarks import cases_wordpiece
from benchmarks.case import measure


def test_every_case_runs_and_agrees():
    try:
        import tokenizers as peer
    except ImportError:
        peer = None
    for case in cases_wordpiece.cases(quick=True):
        result = measure(case, peer, seconds=0.01, quick=True)
        assert not result.error, f"{case.name}: {result.error}"
        assert set(result.ratios) == ({"tokenizers"} if peer else set())


def test_a_wrong_result_is_not_timed():
    case = cases_wordpiece.cases(quick=True)[0]
    ours = case.build(None)[0]
    cut = dataclasses.replace(ours, name="cut", arrays=lambda ids: [array[:-1] for array in ours.arrays(ids)], seconds=[])
    wrong = dataclasses.replace(case, build=lambda peer: [ours, cut])
    assert "wrong result" in measure(wrong, None, seconds=0.01, quick=True).error

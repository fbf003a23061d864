import dataclasses

from benchmarks import cases_wordpiece
from benchmarks.case import measure
from benchmarks.peers import Peers, none


def test_every_case_runs_and_agrees():
    peers = Peers()
    for case in cases_wordpiece.cases(quick=True):
        result = measure(case, peers, seconds=0.01, quick=True)
        assert not result.error, f"{case.name}: {result.error}"
        assert "tokenizers" in result.ratios or not peers.get("tokenizers")


def test_a_wrong_result_is_not_timed():
    case = cases_wordpiece.cases(quick=True)[0]
    ours = case.build(none())[0]
    cut = dataclasses.replace(ours, name="cut", arrays=lambda ids: [array[:-1] for array in ours.arrays(ids)], seconds=[])
    wrong = dataclasses.replace(case, build=lambda peers: [ours, cut])
    assert "wrong result" in measure(wrong, none(), seconds=0.01, quick=True).error

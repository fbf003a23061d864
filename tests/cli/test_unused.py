"""Options that change nothing beside others are refused in one line, by every command that has such."""

import pytest

from minilm import cli, tokenizers
from tests.cli.test_generate import TEXT, save
from tests.cli.test_targets import folder as converted  # noqa: F401

DRAWN = "is for a text that is written token by token"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("generate RUN --beam 2 --temperature 2", f"--temperature {DRAWN}"),
        ("generate RUN --beam 2 --top-k 2", f"--top-k {DRAWN}"),
        ("generate RUN --beam 2 --top-p 0.5", f"--top-p {DRAWN}"),
        ("generate RUN --beam 2 --seed 1", f"--seed {DRAWN}"),
        ("generate RUN --beam 2 --greedy", f"--greedy {DRAWN}"),
        ("generate RUN --beam 2 --samples 3", "--samples 3 with --beam 2"),
        ("generate RUN --greedy --seed 1", "--greedy draws none"),
        ("generate RUN --length-penalty 1", "--length-penalty is for a search: it goes with --beam B"),
        ("generate CONVERTED --prompt a --length-penalty 1", "--length-penalty is for a search: it goes with --beam B"),
        ("generate CONVERTED --prompt a --beam 2 --samples 3", "--samples 3 with --beam 2"),
        ("chat RUN --greedy --temperature 1", "--greedy draws none"),
        ("explain RUN --along --top 3", "--top explains one text"),
        ("explain RUN --along --neighbours 3", "--neighbours explains one text"),
        ("serve CONVERTED --tokens 9", "--tokens is for a language model"),
        ("serve CONVERTED --temperature 0.5", "--temperature is for a language model"),
        ("plan --model gpt2 --device a100 --machine FILE", "of a100 there are printed rates"),
        ("choose --json", "--json is for a TASK"),
        ("choose --measure", "--measure is for a TASK, or for --save-machine"),
        ("choose tag --examples 9 --machine FILE --measure", "--machine FILE has another's rates"),
    ],
)
def test_what_changes_nothing_is_refused(words, says, tmp_path, converted, capsys):  # noqa: F811
    save(tmp_path / "run", tokenizers.Character(TEXT))
    folders = {"RUN": str(tmp_path / "run"), "CONVERTED": converted}
    assert cli.main([folders.get(word, word) for word in words.split()]) == 2
    printed = capsys.readouterr()
    assert not printed.out and says in printed.err and printed.err.count("\n") == 1

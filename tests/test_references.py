"""What docstrings and pages name by a dotted path is there: a module, or a name that its module has."""

import pathlib
import re

import minilm

ROOT = pathlib.Path(minilm.__file__).parent.parent
PAGES = (path for pattern in ("*.py", "*.rst", "*.md", "*.cu", "*.h") for path in (ROOT / "minilm").rglob(pattern))
REFERENCE = re.compile(r"`(minilm(?:\.\w+)+)(?:\(\))?`")


def dangling(reference: str) -> bool:
    """Whether the longest part of a reference that is a module lacks the next name; nothing is imported."""
    parts = reference.split(".")
    for stop in range(len(parts), 0, -1):
        module = ROOT.joinpath(*parts[:stop])
        path = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
        if path.is_file():
            return stop < len(parts) and not re.search(rf"\b{parts[stop]}\b", path.read_text(encoding="utf-8"))
    return True


def test_references_lead_somewhere():
    references = {}
    for path in [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        if path.is_file():
            for reference in REFERENCE.findall(path.read_text(encoding="utf-8")):
                references.setdefault(reference, path.relative_to(ROOT).as_posix())
    assert len(references) > 300
    assert {name: page for name, page in references.items() if dangling(name)} == {}


def test_a_dangling_reference_is_seen():
    assert dangling("minilm.models.Nothing") and dangling("minilm.nowhere.at_all") and not dangling("minilm.models.GPT.forward")

"""What an editor sees: `dir` of a package shows its public names, all can be had, and `import minilm` reaches every package."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import minilm
from tests import clocks

INNER = ("minilm.compiled", "minilm.ops.cuda.emulated")  # packages without a public name


def packages():
    """Every package of minilm by its dotted name."""
    walked = pkgutil.walk_packages(minilm.__path__, "minilm.")
    names = (module.name for module in walked if module.ispkg and not module.name.startswith((*INNER, "minilm.corpora")))
    return ["minilm", *names]


@pytest.mark.parametrize("package", packages())
def test_dir_shows_the_public_names(package):
    module = importlib.import_module(package)
    assert dir(module) == sorted(set(module.__all__))
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_every_package_is_reachable_after_import_minilm():
    direct = [name.partition(".")[2] for name in packages() if name.count(".") == 1]
    code = f"import minilm; print(*(getattr(minilm, name).__name__ for name in {direct}))"
    options = {"capture_output": True, "text": True, "check": True, "timeout": clocks.PATIENCE}
    assert subprocess.run([sys.executable, "-c", code], **options).stdout.split() == [f"minilm.{name}" for name in direct]

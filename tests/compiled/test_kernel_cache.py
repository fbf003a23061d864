"""The cache of compiled kernels: what its files are named by, and which files it refuses."""

import errno
import hashlib
import importlib
import os
import pathlib
import pickle
import sys
import time
import typing
import warnings

import numba
import numpy as np
import pytest

from minilm import cache_folders
from minilm.compiled import kernel_cache
from minilm.compiled.jit import jit

KERNEL = """
import numpy as np
from minilm.compiled.jit import jit
from {package} import helpers
from {package}.constants import FACTOR
from {package}.helpers import built

ADDED = built(2)

@jit
def kernel(x):
    for row in range(x.shape[0]):
        x[row] = helpers.doubled(x[row]) * FACTOR + ADDED(x[row])
"""
HELPERS = """
from minilm.compiled.jit import jit
from {package} import deeper

@jit(part=True)
def doubled(x):
    return 2 * deeper.same(x)

def built(number):
    @jit
    def added(x):
        return x + number
    return added
"""
DEEPER = """
import functools
from numba.extending import intrinsic, overload
from minilm.compiled.jit import jit
from {package} import rules

@functools.cache
def lanes():
    return 8

@intrinsic
def first(typing, x):
    def generate(context, builder, signature, arguments):
        return arguments[0] if lanes() == 8 else None
    return x(x), generate

def chosen(x):
    raise NotImplementedError

@overload(chosen)
def _chosen(x):
    return rules.rule(x)

@jit(part=True)
def same(x):
    return chosen(first(x))
"""
RULES = """
def rule(x):
    return lambda x: x + 0
"""
SOURCES = {
    "__init__": "",
    "kernel": KERNEL,
    "helpers": HELPERS,
    "deeper": DEEPER,
    "rules": RULES,
    "constants": "FACTOR = 3\nOTHER = 4\n",
    "oracle": "def forward(x):\n    return 2 * x * 3 + x + 2\n",
}
packages = iter(range(100))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of its own, and no warning given yet."""
    monkeypatch.setattr(kernel_cache, "folder", lambda: str(tmp_path / "jit"))
    monkeypatch.setattr(kernel_cache, "_warned", False)
    kernel_cache.prune.cache_clear()
    (tmp_path / "jit").mkdir(mode=0o700)
    return tmp_path / "jit"


def ingredients(tmp_path, monkeypatch, changed="", old="", new=""):
    """The hash of a kernel in a package of its own, one of whose files has `new` for `old`."""
    package = f"kernels_of_a_test_{next(packages)}"
    (tmp_path / package).mkdir()
    for name, source in SOURCES.items():
        text = source.format(package=package) if "{package}" in source else source
        if name == changed:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    kernel = importlib.import_module(f"{package}.kernel").kernel.py_func
    text_hash = kernel_cache.ingredients(kernel)
    for name in [name for name in sys.modules if name.startswith(package)]:
        del sys.modules[name]
    return text_hash


@pytest.mark.parametrize(
    "changed, old, new",
    [
        ("kernel", "doubled(x[row])", "doubled(x[0])"),
        ("kernel", "built(2)", "built(5)"),  # a value in a closure
        ("helpers", "2 *", "4 *"),
        ("helpers", "x + number", "x - number"),
        ("deeper", "return chosen(", "return -chosen("),  # reached through a helper of a helper
        ("deeper", "return 8", "return 4"),  # a function whose result is kept, from where an intrinsic is written
        ("rules", "x + 0", "x + 1"),  # a function that says what stands for a name
        ("constants", "FACTOR = 3", "FACTOR = 5"),
    ],
)
def test_what_the_kernel_reaches_names_its_file(tmp_path, monkeypatch, changed, old, new):
    # without the files, whose import lines hold the package's name, which is another one in each call
    monkeypatch.setattr(kernel_cache, "_file_hash", lambda module: "")
    assert ingredients(tmp_path, monkeypatch) == ingredients(tmp_path, monkeypatch)
    assert ingredients(tmp_path, monkeypatch) != ingredients(tmp_path, monkeypatch, changed, old, new)


def test_only_the_files_that_the_kernel_reaches_are_read(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(kernel_cache, "_file_hash", lambda module: read.append(module.partition(".")[2]) or "")
    ingredients(tmp_path, monkeypatch)
    assert set(read) == {"kernel", "helpers", "deeper", "rules"}


def test_every_kernel_of_an_op_reaches_the_shared_code_it_uses():
    from minilm.ops.attention import cpu

    kernels = [value for value in vars(cpu).values() if hasattr(value, "py_func")]
    reached, waiting = set(), [kernel.py_func for kernel in kernels]
    while waiting:
        function = waiting.pop()
        if function not in reached:
            reached.add(function)
            waiting += kernel_cache._one(function, "minilm")[1]
    files_reached = {function.__module__ for function in reached}
    assert {"minilm.ops.simd", "minilm.ops.tile", "minilm.ops.memory", "minilm.ops.attention.tiles"} <= files_reached
    assert not {name for name in files_reached if name.endswith(("oracle", "devices"))}


def doubling():
    """A kernel, compiled; and the file that it is kept in."""

    @jit
    def double(x):
        for row in range(x.shape[0]):
            x[row] *= 2

    x = np.ones(3)
    double(x)
    np.testing.assert_array_equal(x, 2)
    return double


def test_found_again_and_private(folder):
    assert not sum(doubling().stats.cache_hits.values())
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert sum(doubling().stats.cache_hits.values()) == 1
    assert len(list(folder.iterdir())) == 1


def flipped(content):
    return content[:-100] + bytes([content[-100] ^ 1]) + content[-99:]


@pytest.mark.parametrize("damage", [lambda c: b"", lambda c: c[:10], lambda c: c[:-1], lambda c: b"<html>" * 99, flipped])
def test_a_damaged_file_is_compiled_anew_with_one_warning(folder, damage):
    doubling()
    (file,) = folder.iterdir()
    right = file.read_bytes()
    file.write_bytes(damage(right))
    with pytest.warns(RuntimeWarning, match="is damaged: its kernel is compiled anew") as given:
        doubling()
    assert len(given) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sum(doubling().stats.cache_hits.values()) == 1  # it was replaced


class Planted:
    def __reduce__(self):
        return exec, ("raise AssertionError('a file of somebody else was unpickled')",)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes of files are Unix's")
def test_a_folder_that_can_only_be_read_is_read(folder, monkeypatch):
    (folder.parent / "jit").mkdir(exist_ok=True)
    doubling()
    (file,) = folder.iterdir()
    monkeypatch.setenv("MINILM_CACHE", str(folder.parent))

    def read_only(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(cache_folders.tempfile, "TemporaryFile", read_only)
    assert cache_folders.own_cache_folder("jit") == (str(folder), f"{folder} cannot be written to (Read-only file system)")
    assert cache_folders.own_cache_folder("jit", write=True)[0] == cache_folders.private_folder()
    assert kernel_cache.read(str(file)) is not None


def test_without_any_place_to_write_to_a_process_runs_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "jit").write_text("a file where the folder should be")
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path))
    monkeypatch.setattr(kernel_cache, "_warned", False)

    def nowhere(*_, **__):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory")

    monkeypatch.setattr(cache_folders.tempfile, "mkdtemp", nowhere)
    monkeypatch.setattr(cache_folders, "private_folder", cache_folders.private_folder.__wrapped__)
    with pytest.warns(RuntimeWarning, match="compiled kernels are not kept"):
        path = kernel_cache.folder.__wrapped__()
    monkeypatch.setattr(kernel_cache, "folder", lambda: path)
    doubling()  # compiled, and kept nowhere
    assert path == cache_folders.NOWHERE and not os.path.exists(path)


@pytest.mark.parametrize("how", ["writable by others", "of another user", "a link"])
def test_a_planted_file_is_not_unpickled(folder, tmp_path, how):
    doubling()
    (file,) = folder.iterdir()
    payload = pickle.dumps(Planted())
    content = hashlib.sha256(payload).digest() + payload
    file.write_bytes(content)
    if how == "writable by others":
        file.chmod(0o666)
    elif how == "of another user":
        if os.geteuid():
            pytest.skip("only root can give a file away")
        os.chown(file, 12345, -1)
    else:
        file.rename(tmp_path / "target")
        file.symlink_to(tmp_path / "target")
    with pytest.warns(RuntimeWarning, match="is compiled anew"):
        doubling()


def test_a_full_disk_costs_one_warning(folder, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(RuntimeWarning, match="compiled kernels are not kept: No space left") as given:
        doubling()
        doubling()
    assert len(given) == 1
    assert list(folder.iterdir()) == []  # nothing half-written stays


def test_a_folder_that_cannot_be_used_is_replaced_by_a_private_one(tmp_path, monkeypatch):
    (tmp_path / "jit").write_text("a file where the folder should be")
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path))
    monkeypatch.setattr(kernel_cache, "_warned", False)
    with pytest.warns(RuntimeWarning, match="compiled kernels are not kept"):
        path = pathlib.Path(kernel_cache.folder.__wrapped__())
    assert path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("how", ["writable by others", "of another user"])
def test_a_folder_that_is_not_one_s_own_is_refused(tmp_path, monkeypatch, how):
    (tmp_path / "jit").mkdir()
    if how == "of another user":
        if os.geteuid():
            pytest.skip("only root can give a folder away")
        os.chown(tmp_path / "jit", 12345, -1)
        says = "it is another user's"
    else:
        (tmp_path / "jit").chmod(0o777)
        says = "others may write to it; chmod 700 closes it"
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path))
    monkeypatch.setattr(kernel_cache, "_warned", False)
    with pytest.warns(RuntimeWarning, match=f"{tmp_path}/jit cannot be trusted .{says}.") as raised:
        folder = pathlib.Path(kernel_cache.folder.__wrapped__())
    assert len(raised) == 1 and folder.stat().st_mode & 0o777 == 0o700 and folder.parent != tmp_path
    assert not list((tmp_path / "jit").iterdir())


def test_the_folder_is_made_for_its_owner_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path))
    before = os.umask(0)
    try:
        assert kernel_cache.folder.__wrapped__() == str(tmp_path / "jit")
    finally:
        os.umask(before)
    assert (tmp_path / "jit").stat().st_mode & 0o777 == 0o700


def test_without_a_home_the_cache_is_private(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("MINILM_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where HOME is unset and the user has no entry
    with pytest.warns(RuntimeWarning, match="no home folder is known"):
        folder = cache_folders.cache_folder("jit")
    assert os.path.isabs(folder) and os.stat(os.path.dirname(folder)).st_mode & 0o777 == 0o700


def test_what_nobody_reads_is_pruned(folder):
    (folder / "0123456789abcdef").mkdir()  # as older versions had them
    (folder / "0123456789abcdef" / "kernel.nbi").write_bytes(b"")
    (folder / "old").write_bytes(b"")
    month_ago = time.time() - 31 * 86400
    for path in folder.iterdir():
        os.utime(path, (month_ago, month_ago))
    (folder / "young").write_bytes(b"")
    doubling()
    kept = {path.name.partition(".")[0] for path in folder.iterdir()}
    assert "young" in kept and len(kept) == 2  # and the new kernel


def test_reading_a_file_keeps_it_from_being_pruned(folder):
    doubling()
    (file,) = folder.iterdir()
    os.utime(file, (0, 0))
    doubling()
    assert time.time() - file.stat().st_mtime < 86400


def test_where_a_named_tuple_is_defined_names_the_file():
    """What a file holds names the class by its module: after a move of the class it could not be read."""
    described = []
    for module in ("a", "b"):

        class Pair(typing.NamedTuple):
            x: float

        Pair.__module__ = module
        described.append(kernel_cache._fields((numba.types.NamedTuple((numba.types.float64,), Pair),)))
    assert described[0] != described[1]

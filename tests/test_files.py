"""Files that are written whole or not at all, and what stands in their places that is no file."""

import errno
import os
import subprocess
import sys
import threading

import pytest

from minilm.files import written_whole


def write(path, content=b"new"):
    with written_whole(path) as file:
        file.write(content)


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    write(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


def test_what_raises_leaves_the_old_file(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), written_whole(tmp_path / "a") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path):
    (tmp_path / "target").write_bytes(b"somebody's")
    (tmp_path / "a").symlink_to(tmp_path / "target")
    write(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"new" and not (tmp_path / "a").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"somebody's"


def test_a_folder_is_refused_by_name(tmp_path):
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        write(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are Unix's")
def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    pipe, received = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write(pipe)
    reader.join(10)
    assert received == [b"new"] and pipe.is_fifo()


@pytest.fixture
def full(tmp_path):
    """A device of our own on which there is never room, as /dev/full; so that a fault here does not destroy the machine's."""
    if not hasattr(os, "mknod") or os.geteuid():
        pytest.skip("only root can make a device")
    path = tmp_path / "full"
    try:
        os.mknod(path, 0o020666, os.makedev(1, 7))
    except OSError:
        pytest.skip("devices cannot be made here")
    return path


def test_a_full_device_is_named_and_stays_a_device(full):
    try:
        with open(full, "wb", buffering=0) as file:
            file.write(b"x")
    except OSError as error:
        if error.errno != errno.ENOSPC:
            pytest.skip("devices cannot be used here")
    with pytest.raises(OSError, match="No space left on device.*full"):
        write(full)
    assert full.is_char_device()


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="there is no /dev/stdout")
def test_standard_output_by_its_name(tmp_path):
    """Into a pipe, and into a file, to which it is appended where it stands."""
    code = "from minilm.files import written_whole\nwith written_whole('/dev/stdout') as file: file.write(b'new')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"new"
    with open(tmp_path / "out", "wb") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == b"new"
    assert os.path.islink("/dev/stdout")

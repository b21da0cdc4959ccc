"""Downloads from a server that fails in every way but one."""

from __future__ import annotations

import gzip
import sys
import threading
import time
from pathlib import Path

import pytest
from server import Server, noise, sha256

from phdyn import data
from phdyn.data import download
from phdyn.data.download import ATTEMPTS, RemoteFile, cache_folder, fetch
from phdyn.errors import DataError, MissingExtraError

CONTENT = noise(400_000)


@pytest.fixture
def server():
    with Server({"set.bin": CONTENT}) as running:
        yield running


def left(folder):
    """Return the names of the files in the cache, without locks."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_file_is_downloaded_once(cache, server):
    path = fetch(server.remote("set.bin"))
    assert path == cache / "set.bin"
    assert path.read_bytes() == CONTENT
    assert fetch(server.remote("set.bin")) == path
    assert server.ranges == [None]
    assert left(cache) == ["set.bin"]


def test_what_is_there_is_only_read(cache, server):
    cache.mkdir()
    (cache / "set.bin").write_bytes(CONTENT)
    fetch(server.remote("set.bin"))
    assert [path.name for path in cache.iterdir()] == ["set.bin"]
    assert server.ranges == []


def test_a_cut_download_goes_on_where_it_stopped(cache, server):
    server.faults = [("cut", 150_000), ("cut", 150_000)]
    assert fetch(server.remote("set.bin")).read_bytes() == CONTENT
    assert server.ranges[0] is None
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in server.ranges[1:]]
    assert len(starts) == 2
    assert 0 < starts[0] <= 150_000 < starts[1] <= 300_000


def test_the_next_call_goes_on_too(cache, server, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    server.faults = [("cut", 200_000)]
    with pytest.raises(DataError, match="what has arrived is kept"):
        fetch(server.remote("set.bin"))
    assert left(cache) == ["set.bin.part"]
    held = (cache / "set.bin.part").read_bytes()
    assert 0 < len(held) <= 200_000
    assert held == CONTENT[: len(held)]
    assert fetch(server.remote("set.bin")).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={len(held)}-"]
    assert left(cache) == ["set.bin"]


def test_a_server_without_ranges_starts_again(cache):
    with Server({"set.bin": CONTENT}, knows_ranges=False) as server:
        server.faults = [("cut", 200_000)]
        assert fetch(server.remote("set.bin")).read_bytes() == CONTENT
    assert server.ranges[0] is None
    assert server.ranges[1].startswith("bytes=")


def test_another_part_than_was_asked_for_is_thrown_away(cache, server):
    server.faults = [("cut", 200_000), ("another part",)]
    assert fetch(server.remote("set.bin")).read_bytes() == CONTENT
    assert [asked is None for asked in server.ranges] == [True, False, True]


def test_a_busy_server_is_asked_again_after_ever_longer_pauses(cache, server, monkeypatch):
    pauses = []
    monkeypatch.setattr(download, "PAUSE", 1.0)
    monkeypatch.setattr(download.time, "sleep", pauses.append)
    server.faults = [503, 503]
    assert fetch(server.remote("set.bin")).read_bytes() == CONTENT
    assert pauses == [1.0, 2.0]


def test_attempts_that_bring_nothing_end(cache, server):
    server.faults = [503] * 20
    with pytest.raises(DataError, match=r"set\.bin: the download .* failed: the server answered 503"):
        fetch(server.remote("set.bin"))
    assert len(server.ranges) == ATTEMPTS


def test_attempts_that_bring_something_do_not_count(cache, server):
    server.faults = [("cut", 70_000)] * (ATTEMPTS + 1)
    assert fetch(server.remote("set.bin")).read_bytes() == CONTENT
    assert len(server.ranges) == ATTEMPTS + 2


def test_a_server_without_ranges_that_always_cuts_is_given_up(cache):
    with Server({"set.bin": CONTENT}, knows_ranges=False) as server:
        server.faults = [("cut", 200_000)] * 20
        with pytest.raises(DataError, match="failed"):
            fetch(server.remote("set.bin"))
    assert len(server.ranges) == ATTEMPTS


def test_a_missing_file_is_asked_for_once(cache, server):
    with pytest.raises(DataError, match="the server answered 404 Not Found"):
        fetch(RemoteFile("other.bin", f"{server.url}/other.bin", sha256(b"")))
    assert len(server.ranges) == 1


def test_an_address_that_is_none(cache):
    with pytest.raises(DataError, match=r"set\.bin: the download from nowhere failed"):
        fetch(RemoteFile("set.bin", "nowhere", sha256(b"")))


def test_a_wrong_checksum_names_both_and_leaves_nothing(cache, server):
    right = CONTENT[:-1] + b"?"
    remote = server.remote("set.bin", content=right)
    with pytest.raises(DataError, match="Call again to download it anew") as caught:
        fetch(remote)
    assert str(cache / "set.bin") in str(caught.value)
    assert sha256(CONTENT) in str(caught.value)
    assert sha256(right) in str(caught.value)
    assert left(cache) == []
    server.files["set.bin"] = right
    assert fetch(remote).read_bytes() == right
    assert server.ranges == [None, None]


def test_a_damaged_copy_is_replaced(cache, server):
    cache.mkdir()
    (cache / "set.bin").write_bytes(CONTENT[:1000])
    assert fetch(server.remote("set.bin")).read_bytes() == CONTENT


def test_a_part_of_something_longer_is_dropped(cache, server):
    cache.mkdir()
    (cache / "set.bin.part").write_bytes(CONTENT + b"more")
    assert fetch(server.remote("set.bin")).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_part_of_something_else_is_dropped_by_its_checksum(cache, server):
    cache.mkdir()
    (cache / "set.bin.part").write_bytes(b"else")
    with pytest.raises(DataError, match="was removed"):
        fetch(server.remote("set.bin"))
    assert fetch(server.remote("set.bin")).read_bytes() == CONTENT


def test_a_part_that_is_whole_is_taken(cache, server):
    cache.mkdir()
    (cache / "set.bin.part").write_bytes(CONTENT)
    assert fetch(server.remote("set.bin")).read_bytes() == CONTENT
    assert server.ranges == []
    assert left(cache) == ["set.bin"]


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_what_a_server_calls_an_encoding_is_not_taken_off(cache, encoding):
    packed = gzip.compress(CONTENT)
    with Server({"set.gz": packed}, encoding=encoding) as server:
        server.faults = [("cut", 150_000)]
        assert fetch(server.remote("set.gz")).read_bytes() == packed


def test_two_at_a_time_download_once(cache, server):
    server.faults = [("wait", 0.3)]
    found = []
    threads = [threading.Thread(target=lambda: found.append(fetch(server.remote("set.bin")).read_bytes())) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert found == [CONTENT, CONTENT]
    assert server.ranges == [None]


@pytest.fixture
def offline():
    with Server({}) as server:
        pass
    return RemoteFile("set.bin", f"{server.url}/set.bin", sha256(CONTENT))


def test_offline_says_what_to_do(cache, offline):
    with pytest.raises(DataError) as caught:
        fetch(offline)
    message = str(caught.value)
    assert message.startswith(f"{cache / 'set.bin'}: the download from {offline.url} failed: Connection refused.")
    assert "or put the file there yourself, or set PHDYN_DATA_DIR" in message
    assert isinstance(caught.value, OSError)


def test_offline_with_a_damaged_copy_says_so(cache, offline):
    cache.mkdir()
    (cache / "set.bin").write_bytes(b"half")
    with pytest.raises(DataError, match="the copy there is damaged, and the download"):
        fetch(offline)


def test_an_error_before_is_not_the_cause(cache, offline):
    try:
        (cache / "nothing").read_bytes()
    except FileNotFoundError:
        with pytest.raises(DataError, match="failed: Connection refused"):
            fetch(offline)


def test_a_cache_folder_that_is_none(cache, server):
    cache.write_text("a file")
    with pytest.raises(DataError, match=r"cannot be used: .* Set PHDYN_DATA_DIR to a folder that can be written"):
        fetch(server.remote("set.bin"))
    assert server.ranges == []


def test_the_cache_folder_can_be_set(monkeypatch, tmp_path):
    import pooch

    monkeypatch.setenv("PHDYN_DATA_DIR", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.setenv("PHDYN_DATA_DIR", "~/mine")
    assert cache_folder() == Path.home() / "mine"
    for unset in (lambda: monkeypatch.setenv("PHDYN_DATA_DIR", ""), lambda: monkeypatch.delenv("PHDYN_DATA_DIR")):
        unset()
        assert cache_folder() == Path(pooch.os_cache("phdyn"))


@pytest.mark.parametrize("function", [data.fashion_mnist, data.cifar10])
def test_a_missing_extra_is_named(cache, monkeypatch, function):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'phdyn\[experiments\]'"):
        function()

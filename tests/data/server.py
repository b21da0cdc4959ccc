"""A small web server with faults on order, and tiny stand-ins for the real archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from phdyn.data.download import RemoteFile


class Server:
    """Serves ``files`` on this machine. Each request takes the next of ``faults``: a status, ("cut", bytes), ("wait", seconds) or
    ("another part",): what is asked for from somewhere on begins elsewhere.

    ``ranges`` are what it has been asked for, one entry a request, None for a whole file.
    """

    def __init__(self, files, *, knows_ranges=True, encoding=None):
        self.files, self.knows_ranges, self.encoding = dict(files), knows_ranges, encoding
        self.faults, self.ranges = [], []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(self))
        self.http.daemon_threads = False
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def remote(self, name, content=None):
        """What a registry says of a file; ``content`` is what it should be, if not what is served."""
        return RemoteFile(name, f"{self.url}/{name}", sha256(self.files[name] if content is None else content))


def handler_of(server):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            asked = self.headers.get("Range")
            server.ranges.append(asked)
            fault = server.faults.pop(0) if server.faults else None
            content = server.files.get(self.path[1:])
            status = fault if isinstance(fault, int) else 404 if content is None else 200
            if status >= 400:
                self.send_error(status)
                return
            start = 0
            if asked and server.knows_ranges:
                start, status = beginning(asked, fault), 206
                if start >= len(content):
                    self.send_error(416)
                    return
            self.answer(content, start, status)
            body = content[start:]
            if fault is not None and fault[0] == "wait":
                time.sleep(fault[1])
            self.wfile.write(body[: fault[1]] if fault is not None and fault[0] == "cut" else body)

        def answer(self, content, start, status):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content) - start))
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if server.encoding:
                self.send_header("Content-Encoding", server.encoding)
            self.end_headers()

    return Handler


def beginning(asked, fault):
    """Return where the answer to a range begins."""
    return 10 if fault == ("another part",) else int(asked.removeprefix("bytes=").removesuffix("-"))


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def noise(length, seed=0):
    return np.random.default_rng(seed).bytes(length)


def cifar_batch(samples, seed=0):
    """Return the bytes of a file of CIFAR-10: random images, with every label in turn."""
    records = np.random.default_rng(seed).integers(256, size=(samples, 3073), dtype=np.uint8)
    records[:, 0] = np.arange(samples) % 10
    return records.tobytes()


def cifar_files(samples=10):
    return {**{f"data_batch_{k}.bin": cifar_batch(samples, seed=k) for k in range(1, 6)}, "test_batch.bin": cifar_batch(samples, seed=6)}


def tar_gz(members):
    """Return an archive of files, given by name, and of whatever else is given as a TarInfo."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def idx(array):
    """Return the bytes of an idx file of uint8."""
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def fashion_arrays(train=20, test=10):
    random = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte": random.integers(256, size=(train, 28, 28), dtype=np.uint8),
        "train-labels-idx1-ubyte": np.arange(train, dtype=np.uint8) % 10,
        "t10k-images-idx3-ubyte": random.integers(256, size=(test, 28, 28), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": np.arange(test, dtype=np.uint8)[::-1] % 10,
    }


def fashion_files(arrays):
    return {f"{name}.gz": gzip.compress(idx(array)) for name, array in arrays.items()}

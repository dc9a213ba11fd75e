"""Durable writes per second, of the API and, beside it, of etcd on the same disk.

One process per client, so that clients do not wait for each other. The API is written to over TLS
with a client certificate; etcd over plain gRPC, which is the kinder of the two to it.
"""

import contextlib
import multiprocessing
import os
import shutil
import struct
import subprocess
import time
import typing

from host import GaveUp
from wire import Connection, connect

VALUE = "x" * 512
MAPS = "/api/v1/namespaces/default/configmaps"


class Etcd(typing.NamedTuple):
    """A running etcd."""

    address: tuple = ("127.0.0.1", 22379)
    process: subprocess.Popen = None


class ConfigMaps:
    """Creates config maps over one kept connection to a target."""

    def __init__(self, target, prefix):
        self.connection = Connection(target)
        self.prefix = prefix

    def write(self, number):
        self.connection.request("POST", MAPS, config_map(f"{self.prefix}-{number}"))


class Patches(ConfigMaps):
    """Changes one config map again and again."""

    def write(self, number):
        if number == "first":
            return super().write(number)
        path = f"{MAPS}/{self.prefix}-first"
        body = f'{{"data":{{"number":"{number}"}}}}'
        self.connection.request("PATCH", path, body, content="application/merge-patch+json")


class Gets(ConfigMaps):
    """Reads one config map again and again."""

    def write(self, number):
        if number == "first":
            return super().write(number)
        self.connection.request("GET", f"{MAPS}/{self.prefix}-first")


def config_map(name):
    return f'{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"value":"{VALUE}"}}}}'


class EtcdPuts:
    """One kept gRPC connection on which keys are put (HTTP/2: RFC 9113; HPACK: RFC 7541)."""

    HEADERS, DATA, SETTINGS, PING, WINDOW_UPDATE = 1, 0, 4, 6, 8
    END_STREAM, END_HEADERS, ACK = 1, 4, 1
    REQUEST = (
        (":method", "POST"), (":scheme", "http"), (":path", "/etcdserverpb.KV/Put"), (":authority", "bench"),
        ("content-type", "application/grpc"), ("te", "trailers"),
    )  # fmt: skip

    def __init__(self, etcd, prefix):
        self.socket, self.prefix, self.stream = connect(etcd.address), prefix, 1
        self.received = self.socket.makefile("rb")
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(self.SETTINGS, 0, 0, b""))
        self.socket.sendall(frame(self.WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**30)))
        # Literal fields that are not indexed: no state to keep on either side.
        self.head = b"".join(b"\x00" + text(name) + text(value) for name, value in self.REQUEST)

    def write(self, number):
        key, value = f"{self.prefix}-{number}".encode(), VALUE.encode()
        put = b"\x0a" + varint(len(key)) + key + b"\x12" + varint(len(value)) + value
        message = b"\x00" + struct.pack(">I", len(put)) + put
        stream, self.stream = self.stream, self.stream + 2
        self.socket.sendall(
            frame(self.HEADERS, self.END_HEADERS, stream, self.head)
            + frame(self.DATA, self.END_STREAM, stream, message)
        )
        answered = False
        while True:
            kind, flags, of, payload = self.receive()
            if kind == self.SETTINGS and not flags & self.ACK:
                self.socket.sendall(frame(self.SETTINGS, self.ACK, 0, b""))
            elif kind == self.PING and not flags & self.ACK:
                self.socket.sendall(frame(self.PING, self.ACK, 0, payload))
            elif of == stream:
                answered |= kind == self.DATA
                if kind in (self.HEADERS, self.DATA) and flags & self.END_STREAM:
                    break
        if not answered:
            raise RuntimeError("etcd refused a put")

    def receive(self):
        head = self.received.read(9)
        if len(head) < 9:
            raise RuntimeError("etcd closed the connection")
        payload = self.received.read(int.from_bytes(head[:3], "big"))
        return head[3], head[4], int.from_bytes(head[5:], "big") & 0x7FFFFFFF, payload


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def text(value):
    return bytes((len(value),)) + value.encode()


def varint(number):
    encoded = b""
    while number > 0x7F:
        encoded += bytes((number & 0x7F | 0x80,))
        number >>= 7
    return encoded + bytes((number,))


def load(writer, target, clients, seconds, run):
    """Lets `clients` write for some seconds; returns writes a second and the latency of each, sorted."""
    barrier = multiprocessing.Barrier(clients)
    results = multiprocessing.Queue()
    arguments = (writer, target, barrier, seconds, results)
    processes = [
        multiprocessing.Process(target=client, args=(*arguments, f"{run}-{number}"), daemon=True)
        for number in range(clients)
    ]
    for process in processes:
        process.start()
    answers = [results.get(timeout=seconds + 60) for _ in processes]
    for process in processes:
        process.join()
    failed = [answer for answer in answers if isinstance(answer, str)]
    if failed:
        raise RuntimeError(failed[0])
    rate = sum(len(latencies) / took for took, latencies in answers)
    return rate, sorted(latency for _, latencies in answers for latency in latencies)


def client(writer, target, barrier, seconds, results, prefix):
    try:
        connection = writer(target, prefix)
        connection.write("first")
        barrier.wait(timeout=30)
        latencies = []
        began = at = time.monotonic()
        while at < began + seconds:
            connection.write(len(latencies))
            before, at = at, time.monotonic()
            latencies.append(at - before)
        results.put((at - began, latencies))
    except Exception as error:
        barrier.abort()
        results.put(f"a client failed: {error!r}")


@contextlib.contextmanager
def etcd(directory):
    """A running etcd, or None where it is not installed."""
    if shutil.which("etcd") is None:
        yield None
        return
    host, port = Etcd().address
    url = f"http://{host}:{port}"
    command = ["etcd", "--data-dir", os.path.join(directory, "etcd"), "--listen-client-urls", url]
    command += ["--advertise-client-urls", url, "--listen-peer-urls", "http://127.0.0.1:22380"]
    log = open(os.path.join(directory, "etcd.log"), "w")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        etcd = Etcd(process=process)
        wait_for(etcd)
        yield etcd
    finally:
        process.kill()
        process.wait()


def wait_for(etcd):
    for _ in range(300):
        if etcd.process.poll() is not None:
            break
        try:
            connection = EtcdPuts(etcd, "ready")
            connection.socket.settimeout(1)
            return connection.write(0)
        except (OSError, RuntimeError):
            time.sleep(0.1)
    raise GaveUp("etcd did not start")

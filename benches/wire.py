"""One kept HTTP/1.1 connection that costs next to nothing, for loads of many requests."""

import dataclasses
import socket
import ssl

from api import read_kubeconfig


@dataclasses.dataclass
class Target:
    """An API server, and how its administrator reaches it."""

    address: tuple
    tls: ssl.SSLContext
    headers: str = ""

    @staticmethod
    def of_kubeconfig(path):
        return Target(*read_kubeconfig(path))


@dataclasses.dataclass
class Answer:
    """What a server said; headers in their order, names in lower case."""

    status: int
    headers: list
    body: bytes


class Connection:
    """Requests to one server, one after the other."""

    def __init__(self, target):
        self.target = target
        self.socket = target.tls.wrap_socket(connect(target.address), server_hostname=target.address[0])
        self.received = self.socket.makefile("rb")

    def request(self, method, path, body="", accept="application/json", content="application/json"):
        """The answer's body; an answer that is no success is an error."""
        self.send(method, path, body, accept, content)
        answer = self.receive()
        if answer.status // 100 != 2:
            text = answer.body[:300].decode(errors="replace")
            raise RuntimeError(f"{method} {path}: {answer.status} {text}")
        return answer.body

    def send(self, method, path, body="", accept="application/json", content="application/json"):
        payload = body.encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAccept: {accept}\r\n{self.target.headers}"
        if body:
            head += f"Content-Type: {content}\r\nContent-Length: {len(payload)}\r\n"
        self.socket.sendall(f"{head}\r\n".encode() + payload)

    def receive(self):
        """The answer to what was sent last."""
        status = int(self.received.readline().split(b" ", 2)[1])
        headers, length, chunked = [], 0, False
        while line := self.received.readline().strip():
            name, _, value = line.partition(b":")
            name, value = name.decode().lower(), value.strip().decode(errors="replace")
            headers.append((name, value))
            if name == "content-length":
                length = int(value)
            elif name == "transfer-encoding":
                chunked = True
        return Answer(status, headers, b"".join(self.chunks()) if chunked else self.received.read(length))

    def chunks(self):
        while size := int(self.received.readline().split(b";")[0], 16):
            yield self.received.read(size)
            self.received.readline()
        self.received.readline()


def connect(address):
    connection = socket.create_connection(address, timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection

"""Both servers, asked at the same time over kept connections."""

import json
import typing

from wire import Answer, Connection

RESET = 3


class Request(typing.NamedTuple):
    """What is asked; where servers must be told different things, by a text for each."""

    method: str
    path: str
    body: str = ""
    content: str = "application/json"
    accept: str = "application/json"
    own: tuple = ()

    def text(self, side=0):
        """The body, with what is the server's own in its places."""
        text = self.body
        for placeholder, values in self.own:
            text = text.replace(placeholder, values[side])
        return text


class Pair:
    """Our server and upstream's, in this order."""

    def __init__(self, targets):
        self.targets = targets
        self.connections = [None for _ in targets]

    def ask(self, request):
        """What both answer."""
        for side in range(2):
            self.send(side, request)
        return [self.receive(side, request) for side in range(2)]

    def both(self, method, path, body=None):
        """What both answer, as JSON; it must be a success."""
        request = Request(method, path, json.dumps(body) if body else "")
        return [json.loads(succeeded(answer, path).body) for answer in self.ask(request)]

    def send(self, side, request):
        if self.connections[side] is None:
            self.connections[side] = Connection(self.targets[side])
        try:
            self.connections[side].send(request.method, request.path, request.text(side), request.accept, request.content)
        except OSError:
            self.connections[side] = None

    def receive(self, side, request):
        for _ in range(RESET):
            try:
                answer = self.connections[side].receive()
                if ("connection", "close") in answer.headers:
                    self.connections[side] = None
                return answer
            except (AttributeError, IndexError, OSError):
                # The connection was closed behind an answer that did not say so.
                self.connections[side] = None
                self.send(side, request)
        # A server may panic; it says nothing then.
        return Answer(0, [], b"no answer")


def succeeded(answer, path):
    if answer.status // 100 != 2:
        raise RuntimeError(f"{path}: {answer.status} {answer.body[:1000].decode(errors='replace')}")
    return answer

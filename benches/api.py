"""A Kubernetes client that costs next to nothing: the bench shares its cores with the server."""

import base64
import http.client
import json
import os
import re
import ssl
import time


class Client:
    """Speaks to one server as the administrator of its kubeconfig, over one kept connection."""

    def __init__(self, kubeconfig):
        self.kubeconfig = kubeconfig
        self.address, self.tls = read_kubeconfig(kubeconfig)
        self.connection = self.connect()

    def connect(self, timeout=60):
        return http.client.HTTPSConnection(*self.address, context=self.tls, timeout=timeout)

    def request(self, method, path, body=None):
        payload = None if body is None else json.dumps(body)
        self.connection.request(method, path, payload, {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        answer = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {answer.decode(errors='replace')}")
        return json.loads(answer)

    def watch(self, path, timeout=60):
        """Yields (time, type, object) of what happens after the list that this begins with."""
        version = self.request("GET", path)["metadata"]["resourceVersion"]
        return self.events(f"{path}?watch=1&resourceVersion={version}", timeout)

    def events(self, path, timeout=60):
        connection = self.connect(timeout)
        connection.request("GET", path)
        response = connection.getresponse()
        try:
            while line := response.readline():
                seen = time.monotonic()
                event = json.loads(line)
                yield seen, event["type"], event["object"]
        finally:
            connection.close()


def read_kubeconfig(path):
    """The server's (host, port) and a TLS context that trusts it and shows the client certificate."""
    with open(path) as file:
        text = file.read()
    host, port = re.search(r"server: [\"']?https://([^:/\s]+):(\d+)", text).groups()
    parts = {}
    for key in ("certificate-authority-data", "client-certificate-data", "client-key-data"):
        parts[key] = base64.b64decode(re.search(key + r": [\"']?([A-Za-z0-9+/=]+)", text)[1])
    tls = ssl.create_default_context(cadata=parts["certificate-authority-data"].decode())
    # The ssl module only reads files: this one is in memory, and gone when it is closed.
    with open(os.memfd_create("client"), "wb") as pair:
        pair.write(parts["client-certificate-data"] + b"\n" + parts["client-key-data"])
        pair.flush()
        tls.load_cert_chain(f"/proc/self/fd/{pair.fileno()}")
    return (host, int(port)), tls

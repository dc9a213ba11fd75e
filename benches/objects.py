"""What an API server does under load and with many objects, Nauplius and upstream taking turns."""

import json
import multiprocessing
import re
import select
import ssl
import statistics
import time

import usage
import writes
from wire import Connection

PODS = 10_000
MAKERS = 8
PAGE = 500
WATCHERS = 1_000
CHANGES = 11
LISTS = 5
DEFINITIONS = 20
DEFINITION_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
LOADS = (("creates", writes.ConfigMaps), ("patches", writes.Patches), ("gets", writes.Gets))
CROWD = "/api/v1/namespaces/crowd/pods"
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
PROTOBUF = "application/vnd.kubernetes.protobuf"


def rates(targets, clients, seconds, rounds):
    """Requests a second of each target for each kind of load: {load: [median of each target]}."""
    measured = {}
    for name, load in LOADS:
        turns = [[] for _ in targets]
        for turn in range(rounds):
            for of, target in zip(turns, targets):
                of.append(writes.load(load, target, clients, seconds, f"{name}-{clients}-{turn}")[0])
        measured[name] = [statistics.median(turn) for turn in turns]
    return measured


def crowd(target):
    """Makes the pods. A namespace's service account may have to be made too: upstream's controllers are not there."""
    connection = Connection(target)
    connection.request("POST", "/api/v1/namespaces", '{"metadata":{"name":"crowd"}}')
    try:
        path = "/api/v1/namespaces/crowd/serviceaccounts"
        connection.request("POST", path, '{"metadata":{"name":"default"}}')
    except RuntimeError as error:
        if " 409 " not in str(error):
            raise
    makers = [multiprocessing.Process(target=make_pods, args=(target, number), daemon=True) for number in range(MAKERS)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
        if maker.exitcode != 0:
            raise RuntimeError("not all pods could be made")


def make_pods(target, maker):
    """Pods that nobody schedules."""
    connection = Connection(target)
    container = {"name": "web", "image": "nginx:1.27", "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}
    for number in range(maker, PODS, MAKERS):
        metadata = {"name": f"pod-{number}", "labels": {"app": "web", "pod-template-hash": "5d59d67564"}}
        spec = {"schedulerName": "nobody", "containers": [container]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        connection.request("POST", CROWD, json.dumps(pod))


def lists(targets):
    """Seconds for a list of all pods in each form: {form: [median of each target]}."""
    forms = {
        "JSON": lambda connection: connection.request("GET", f"{CROWD}?resourceVersion=0"),
        "protobuf": lambda connection: connection.request("GET", f"{CROWD}?resourceVersion=0", accept=PROTOBUF),
        "Table": lambda connection: connection.request("GET", f"{CROWD}?resourceVersion=0", accept=TABLE),
        f"JSON, pages of {PAGE}": pages,
    }
    measured = {}
    for form, read in forms.items():
        turns = [[] for _ in targets]
        for _ in range(LISTS):
            for of, target in zip(turns, targets):
                connection = Connection(target)
                began = time.monotonic()
                read(connection)
                of.append(time.monotonic() - began)
        measured[form] = [statistics.median(turn) for turn in turns]
    return measured


def pages(connection):
    """Only where the next page begins is looked for: to decode objects takes longer than to send them."""
    token = ""
    while token is not None:
        head = connection.request("GET", f"{CROWD}?limit={PAGE}&continue={token}")[:1024]
        found = re.search(rb'"continue":"([^"]+)"', head)
        token = found and found[1].decode()


def fan_out(target):
    """Seconds until a change has reached the median and the last of many watchers; the median of some changes."""
    writer = Connection(target)
    writer.request("POST", writes.MAPS, writes.config_map("watched"))
    path = f"{writes.MAPS}?watch=1&resourceVersion=0&fieldSelector=metadata.name%3Dwatched"
    poll = select.epoll()
    watches = {}
    for _ in range(WATCHERS):
        watch = Connection(target)
        watch.send("GET", path)
        watches[watch.socket.fileno()] = watch.socket
    for number, stream in watches.items():
        received = b""
        while b'"type":"ADDED"' not in received:
            received += stream.recv(65536)
        stream.setblocking(False)
        poll.register(number, 0)
    middle, last = [], []
    for change in range(CHANGES):
        mark = f'"mark":"{change}"'.encode()
        for number in watches:
            poll.modify(number, select.EPOLLIN | select.EPOLLONESHOT)
        began = time.monotonic()
        path, body = f"{writes.MAPS}/watched", f'{{"data":{{{mark.decode()}}}}}'
        writer.send("PATCH", path, body, content="application/merge-patch+json")
        times = sorted(seen - began for seen in arrivals(poll, watches, mark))
        writer.receive()
        middle.append(statistics.median(times))
        last.append(times[-1])
    for stream in watches.values():
        stream.close()
    return statistics.median(middle), statistics.median(last)


def arrivals(poll, watches, mark):
    """When `mark` reached each watch. That something has come is noted at once, and read when all have got
    something: to read a thousand TLS streams takes this client longer than a server needs to write them."""
    received = dict.fromkeys(watches, b"")
    times = {}
    while len(times) < len(watches):
        noted = {}
        while len(noted) + len(times) < len(watches):
            ready = poll.poll(30)
            if not ready:
                raise RuntimeError("a change has not reached all who watch")
            seen = time.monotonic()
            noted.update((number, seen) for number, _ in ready)
        for number, seen in noted.items():
            received[number] += available(watches[number])
            if mark in received[number]:
                times[number] = seen
            else:
                poll.modify(number, select.EPOLLIN | select.EPOLLONESHOT)
    return times.values()


def available(stream):
    """What has arrived on a TLS stream that does not block."""
    received = b""
    try:
        while part := stream.recv(65536):
            received += part
    except ssl.SSLWantReadError:
        pass
    return received


def served_definitions(target):
    """Seconds from the answer to the creation of a custom resource definition until lists of its kind succeed,
    in order."""
    connection = Connection(target)
    times = []
    for number in range(DEFINITIONS):
        connection.request("POST", DEFINITION_PATH, definition(number))
        began = time.monotonic()
        while not answers(connection, f"/apis/bench.example.com/v1/namespaces/default/gadget{number}s"):
            if time.monotonic() > began + 30:
                raise RuntimeError("a custom resource is not served")
        times.append(time.monotonic() - began)
    for number in range(DEFINITIONS):
        connection.request("DELETE", f"{DEFINITION_PATH}/gadget{number}s.bench.example.com")
    return sorted(times)


def definition(number):
    """A custom resource definition."""
    plural = f"gadget{number}s"
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": plural, "singular": plural[:-1], "kind": f"Gadget{number}", "listKind": f"Gadget{number}List"}
    spec = {"group": "bench.example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    kind = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    return json.dumps({**kind, "metadata": {"name": f"{plural}.bench.example.com"}, "spec": spec})


def answers(connection, path):
    try:
        connection.request("GET", path)
        return True
    except RuntimeError as error:
        if ": 404 " not in str(error):
            raise
        return False


def explain(connection):
    """Fetches what `kubectl explain pod` does."""
    index = json.loads(connection.request("GET", "/openapi/v3"))
    connection.request("GET", index["paths"]["api/v1"]["serverRelativeURL"])


def documents(connection):
    """Fetches every OpenAPI document."""
    index = json.loads(connection.request("GET", "/openapi/v3"))
    for entry in index["paths"].values():
        connection.request("GET", entry["serverRelativeURL"])
    connection.request("GET", "/openapi/v2")


def resident(pids):
    """Bytes that processes share proportionally, and what they hold resident."""
    sizes = [usage.memory(pid) for pid in pids]
    return sum(size["Pss"] for size in sizes), sum(size["Rss"] for size in sizes)

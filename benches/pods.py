"""Pods as a user sees them: from the request that creates one until a watch shows it running, and
from the request that deletes it until the watch shows it gone."""

import queue
import threading
import time

from host import GaveUp

PATH = "/api/v1/namespaces/default/pods"
POD_LIMIT_S = 60


class Pods:
    """Creates and deletes pods while a watch in the background notes when what happened."""

    def __init__(self, client):
        self.client = client
        self.running, self.gone = {}, {}
        self.news = queue.Queue()
        self.wait_for_account()
        events = client.watch(PATH, timeout=600)
        threading.Thread(target=self.follow, args=(events,), daemon=True).start()

    def wait_for_account(self):
        for _ in range(500):
            accounts = self.client.request("GET", "/api/v1/namespaces/default/serviceaccounts")["items"]
            if accounts:
                return
            time.sleep(0.02)
        raise GaveUp("the namespace has no service account")

    def follow(self, events):
        for seen, kind, pod in events:
            name = pod["metadata"]["name"]
            if kind == "DELETED":
                self.gone[name] = seen
            elif pod.get("status", {}).get("phase") == "Running":
                self.running.setdefault(name, seen)
            else:
                continue
            self.news.put(name)

    def wait(self, names, table):
        """Waits until `table` has all names."""
        limit = time.monotonic() + POD_LIMIT_S
        while missing := [name for name in names if name not in table]:
            try:
                self.news.get(timeout=max(0, limit - time.monotonic()))
            except queue.Empty:
                raise GaveUp(f"{len(missing)} pods did not get there: {missing[:5]}") from None

    def create(self, names):
        """Creates pods one right after the other; returns when each was asked for."""
        asked = {}
        for name in names:
            asked[name] = time.monotonic()
            self.client.request("POST", PATH, manifest(name))
        return asked

    def start(self, names):
        """Seconds that each pod took from created to running."""
        asked = self.create(names)
        self.wait(names, self.running)
        return [self.running[name] - asked[name] for name in names]

    def delete(self, names):
        """Seconds that each pod took from deleted to gone."""
        asked = {}
        for name in names:
            asked[name] = time.monotonic()
            self.client.request("DELETE", f"{PATH}/{name}")
        self.wait(names, self.gone)
        return [self.gone[name] - asked[name] for name in names]


def manifest(name):
    container = {"name": "main", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "36000"]}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "bench"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }  # fmt: skip

"""The throw-away machine: its network, and the server that is started and stopped on it.

Everything here runs inside namespaces that scripts/bench made; when they end, so does all of this.
"""

import contextlib
import glob
import http.client
import os
import shutil
import signal
import ssl
import subprocess
import time

from api import Client

ADDRESS = "10.77.0.1"
START_LIMIT_S = 60
STOP_LIMIT_S = 20


class GaveUp(Exception):
    """Something did not happen in time."""


class Host:
    def __init__(self, binary, directory, cgroup=None):
        self.binary = os.path.join(directory, "nauplius")
        shutil.copy(binary, self.binary)
        self.directory = directory
        self.cgroup = cgroup
        make_network()

    @contextlib.contextmanager
    def server(self, data="data", image=False, options=()):
        """A running server; its state stays in the folder `data` when it has ended."""
        server = Server(self, data, options)
        if image:
            images = os.path.join(server.data, "agent/images")
            os.makedirs(images, exist_ok=True)
            shutil.copy(os.path.join(self.directory, "busybox.tar"), images)
        server.start()
        try:
            yield server
        except BaseException:
            server.print_log()
            raise
        finally:
            server.stop()

    def forget_binary(self):
        """Takes the executable out of the page cache, so that the next start reads it from the disk
        and its pages count for whoever starts it."""
        with open(self.binary, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Server:
    def __init__(self, host, data, options=()):
        self.host = host
        self.options = list(options)
        self.data = os.path.join(host.directory, data)
        self.kubeconfig = os.path.join(host.directory, data + ".kubeconfig")
        self.log = os.path.join(host.directory, data + ".log")
        self.process = None
        self.began = self.began_wall = 0.0

    def start(self):
        logs = os.path.join(self.host.directory, "logs")
        self.began_wall, self.began = time.time(), time.monotonic()
        self.process = subprocess.Popen(
            [
                self.host.binary, "server", f"--data-dir={self.data}", "--node-name=bench", f"--node-ip={ADDRESS}",
                f"--write-kubeconfig={self.kubeconfig}", f"--cgroup={self.host.cgroup or 'nauplius'}",
                f"--pod-logs-dir={logs}/pods", f"--container-logs-dir={logs}/containers", *self.options,
            ],
            stdin=subprocess.DEVNULL, stdout=open(self.log, "a"), stderr=subprocess.STDOUT,
            preexec_fn=(lambda: enter_cgroup(self.host.cgroup + "-server")) if self.host.cgroup else None,
        )  # fmt: skip

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def pid(self):
        return self.process.pid

    def wait_for_api(self):
        """Seconds from the start of the process until /readyz says so."""
        unverified = ssl._create_unverified_context()
        while time.monotonic() < self.began + START_LIMIT_S:
            if self.process.poll() is not None:
                raise GaveUp(f"the server ended with {self.process.returncode}")
            try:
                connection = http.client.HTTPSConnection(ADDRESS, 6443, context=unverified, timeout=5)
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return time.monotonic() - self.began
            except OSError:
                pass
            time.sleep(0.005)
        raise GaveUp("the API did not become ready")

    def wait_for_node(self):
        """Seconds from the start of the process until the node that it is has reported Ready. What
        an earlier process reported does not count."""
        for seen, _, node in self.client().events("/api/v1/nodes?watch=1", START_LIMIT_S):
            for condition in node.get("status", {}).get("conditions", []):
                if condition["type"] == "Ready" and condition["status"] == "True":
                    if condition["lastHeartbeatTime"] >= second_of(self.began_wall):
                        return seen - self.began
        raise GaveUp("the node did not become ready")

    def client(self):
        while not os.path.exists(self.kubeconfig):
            if time.monotonic() > self.began + START_LIMIT_S:
                raise GaveUp("there is no kubeconfig")
            time.sleep(0.002)
        return Client(self.kubeconfig)

    def print_log(self):
        with open(self.log, errors="replace") as file:
            print("the end of the server's log:", *file.readlines()[-20:], sep="\n", flush=True)


def second_of(wall):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall))


def make_network():
    """One interface with an address and a default route, both ends of it in here."""
    for command in (
        "link set lo up", "link add eth0 type veth peer name eth0-peer", "link set eth0-peer up",
        f"address add {ADDRESS}/24 dev eth0", "link set eth0 up", "route add default via 10.77.0.254",
    ):  # fmt: skip
        subprocess.run(["ip", *command.split()], check=True)


def enter_cgroup(name):
    """Moves the caller into a cgroup of its own, where memory is counted (version 1 or 2)."""
    for directory in memory_cgroups(name):
        os.makedirs(directory, exist_ok=True)
        with open(os.path.join(directory, "cgroup.procs"), "w") as file:
            file.write(str(os.getpid()))


def memory_cgroups(name):
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return [f"/sys/fs/cgroup/{name}"]
    return [f"{mount}/{name}" for mount in glob.glob("/sys/fs/cgroup/memory")]

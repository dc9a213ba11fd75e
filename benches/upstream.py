"""Upstream's kube-apiserver with etcd, to measure beside Nauplius where its executable is at hand."""

import contextlib
import os
import ssl
import subprocess
import time

import writes
from host import GaveUp
from wire import Connection, Target

PORT = 6444
TOKEN = "bench-administrator"


class Upstream:
    """A running kube-apiserver and its etcd."""

    def __init__(self, target, processes):
        self.target = target
        self.processes = processes

    @property
    def pids(self):
        return [process.pid for process in self.processes]


@contextlib.contextmanager
def apiserver(executable, directory):
    """A kube-apiserver on its etcd, with a fresh key for service accounts."""
    with writes.etcd(directory) as etcd:
        if etcd is None:
            raise GaveUp("kube-apiserver needs etcd")
        work = os.path.join(directory, "upstream")
        os.makedirs(work)
        tokens = os.path.join(work, "tokens.csv")
        with open(tokens, "w") as file:
            file.write(f'{TOKEN},bench,bench,"system:masters"\n')
        key = os.path.join(work, "service.key")
        subprocess.run(["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", key], check=True)
        command = [
            executable, f"--etcd-servers=http://{etcd.address[0]}:{etcd.address[1]}", f"--secure-port={PORT}",
            "--bind-address=127.0.0.1", f"--cert-dir={work}", f"--token-auth-file={tokens}",
            "--authorization-mode=Node,RBAC", "--service-cluster-ip-range=10.43.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-signing-key-file={key}",
            f"--service-account-key-file={key}",
        ]  # fmt: skip
        log = open(os.path.join(work, "log"), "w")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        target = Target(("127.0.0.1", PORT), ssl._create_unverified_context(), f"Authorization: Bearer {TOKEN}\r\n")
        try:
            wait_until_ready(target, process)
            yield Upstream(target, [process, etcd.process])
        finally:
            process.terminate()
            process.wait()


def wait_until_ready(target, process):
    for _ in range(600):
        if process.poll() is not None:
            raise GaveUp(f"kube-apiserver ended with {process.returncode}")
        try:
            return Connection(target).request("GET", "/readyz")
        except (OSError, RuntimeError, IndexError):
            time.sleep(0.1)
    raise GaveUp("kube-apiserver did not become ready")

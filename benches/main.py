#!/usr/bin/env python3
"""Measures the numbers that SPEC.md promises and prints them as one table.

Started by scripts/bench, inside namespaces of its own. Each part starts a server of its own.
"""

import argparse
import contextlib
import os
import statistics
import sys
import time

import objects
import upstream
import usage
import writes
from host import Host
from pods import Pods
from wire import Connection, Target

DAY_S = 24 * 3600
STARTS = 5
PODS = 50
MEMORY_PODS = 30
ROUNDS = 3


def start(host, table, options):
    """Starts on an empty folder, and starts again on what that left."""
    first_api, first_node, warm_api, warm_node = [], [], [], []
    for number in range(STARTS):
        host.forget_binary()
        with host.server(f"start-{number}") as server:
            first_api.append(server.wait_for_api())
            first_node.append(server.wait_for_node())
        time.sleep(1.2)  # heartbeats are in whole seconds: the next process's must differ
        with host.server(f"start-{number}") as server:
            warm_api.append(server.wait_for_api())
            warm_node.append(server.wait_for_node())
    table.row("first start to API ready", None, statistics.median(first_api), "s")
    table.row("first start to node Ready", 1, statistics.median(first_node), "s", spread(first_node))
    table.row("warm start to API ready", None, statistics.median(warm_api), "s")
    table.row("warm start to node Ready", 1, statistics.median(warm_node), "s", spread(warm_node))


def idle(host, table, options):
    """A server and node that nobody asks anything."""
    host.forget_binary()
    with host.server("idle") as server:
        server.wait_for_api()
        server.wait_for_node()
        time.sleep(options.settle)
        cpu, written, began = usage.cpu_seconds(server.pid), usage.bytes_written(server.pid), time.monotonic()
        time.sleep(options.idle)
        took = time.monotonic() - began
        cpu, written = usage.cpu_seconds(server.pid) - cpu, usage.bytes_written(server.pid) - written
        sizes = usage.memory(server.pid)
        charged = usage.cgroup_memory(host.cgroup + "-server")
        connection = Connection(Target.of_kubeconfig(server.kubeconfig))
        grown = []
        for fetch in (objects.explain, objects.documents):
            fetch(connection)
            time.sleep(options.settle)
            grown.append(usage.anonymous(server.pid) - sizes["Anonymous"])
    table.row("idle memory, server + agent, whole cgroup", 50, charged / 1e6, "MB")
    table.row("  its proportional set (PSS)", None, sizes["Pss"] / 1e6, "MB")
    table.row("  of that anonymous", None, sizes["Anonymous"] / 1e6, "MB")
    table.row("  its resident set (RSS)", None, sizes["Rss"] / 1e6, "MB")
    table.row("anonymous memory more after kubectl explain", 3, grown[0] / 1e6, "MB")
    table.row("  after every OpenAPI document was fetched", 3, grown[1] / 1e6, "MB")
    table.row("idle processor time", 0.3, 100 * cpu / took, "% of a core")
    table.row("idle writes", 5, written / took * DAY_S / 1e6, "MB/day", f"{written / 1e3:.0f} kB in {took:.0f} s")


def memory(host, table, options):
    """What one more pod costs."""
    with host.server("memory", image=True) as server:
        server.wait_for_node()
        pods = Pods(server.client())
        pods.start(["first"])
        time.sleep(options.settle)
        before, growth = total_pss(host), usage.private(server.pid)
        names = [f"pod-{number}" for number in range(MEMORY_PODS)]
        pods.start(names)
        time.sleep(options.settle)
        each = (total_pss(host) - before) / MEMORY_PODS
        growth = (usage.private(server.pid) - growth) / MEMORY_PODS
        shims = [usage.private(pid) for pid in usage.pids_of(host.binary) if pid != server.pid]
        pods.delete(names + ["first"])
    table.row("memory per extra pod (PSS, all of Nauplius)", 1, each / 1e6, "MB", f"over {MEMORY_PODS} pods")
    table.row("  private memory of its shim", None, statistics.median(shims) / 1e6, "MB")
    table.row("  growth of the server", None, growth / 1e6, "MB")


def total_pss(host):
    return sum(usage.memory(pid)["Pss"] for pid in usage.pids_of(host.binary))


def pods(host, table, options):
    """Pods one after the other, and all at once; the image is there."""
    with host.server("pods", image=True) as server:
        server.wait_for_node()
        pods = Pods(server.client())
        pods.delete(["first"] if pods.start(["first"]) else [])
        names = [f"one-{number}" for number in range(PODS)]
        one_by_one = sorted(pods.start([name])[0] for name in names)
        deletes = sorted(pods.delete([name])[0] for name in names)
        names = [f"all-{number}" for number in range(PODS)]
        at_once = sorted(pods.start(names))
        deletes_at_once = sorted(pods.delete(names))
    times(table, "pod created to running", one_by_one, f"{PODS} one by one", (0.1, 0.3))
    times(table, "pod created to running", at_once, f"{PODS} at once")
    times(table, "pod deleted to gone", deletes, f"{PODS} one by one")
    times(table, "pod deleted to gone", deletes_at_once, f"{PODS} at once")


def times(table, what, latencies, note, promised=(None, None)):
    table.row(f"{what}, {note}, p50", promised[0], quantile(latencies, 0.5), "s")
    table.row(f"{what}, {note}, p99", promised[1], quantile(latencies, 0.99), "s")


def durable_writes(host, table, options):
    """Config maps created by 1 and by 64 clients, taking turns with puts into etcd."""
    with host.server("writes") as server, writes.etcd(host.directory) as etcd:
        server.wait_for_node()
        target = Target.of_kubeconfig(server.kubeconfig)
        for clients in (1, 64):
            ours, theirs = [], []
            for turn in range(ROUNDS):
                run = f"{clients}-{turn}"
                ours.append(writes.load(writes.ConfigMaps, target, clients, options.load, run))
                if etcd:
                    theirs.append(writes.load(writes.EtcdPuts, etcd, clients, options.load, run))
            report_writes(table, clients, ours, theirs)


def report_writes(table, clients, ours, theirs):
    who = "1 client" if clients == 1 else f"{clients} clients"
    rate = statistics.median(rate for rate, _ in ours)
    other = statistics.median(rate for rate, _ in theirs) if theirs else None
    latencies = sorted(latency for _, latencies in ours for latency in latencies)
    note = f"p50 {1e3 * quantile(latencies, 0.5):.1f} ms, p99 {1e3 * quantile(latencies, 0.99):.1f} ms"
    table.row(f"durable writes, {who}", other, rate, "1/s", note, more_is_better=True)
    if other:
        latencies = sorted(latency for _, latencies in theirs for latency in latencies)
        note = f"p50 {1e3 * quantile(latencies, 0.5):.1f} ms, p99 {1e3 * quantile(latencies, 0.99):.1f} ms"
        table.row(f"  etcd, {who}", None, other, "1/s", note)


def objects_and_requests(host, table, options):
    """Requests, lists and watches of the API server, beside upstream's kube-apiserver if it is there."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(host.server("objects"))
        server.wait_for_node()
        targets, pids = [Target.of_kubeconfig(server.kubeconfig)], [[server.pid]]
        if options.upstream:
            other = stack.enter_context(upstream.apiserver(options.upstream, host.directory))
            targets.append(other.target)
            pids.append(other.pids)
        for target in targets:
            objects.crowd(target)
        time.sleep(options.settle)
        sizes = [objects.resident(of) for of in pids]
        beside(table, f"memory with {objects.PODS} pods (PSS)", [size[0] / 1e6 for size in sizes], "MB")
        beside(table, f"memory with {objects.PODS} pods (RSS)", [size[1] / 1e6 for size in sizes], "MB")
        for form, measured in objects.lists(targets).items():
            beside(table, f"list of {objects.PODS} pods, {form}", [1e3 * seconds for seconds in measured], "ms")
        served = [objects.served_definitions(target) for target in targets]
        medians = [1e3 * statistics.median(times) for times in served]
        beside(table, "a custom resource definition served, median", medians, "ms")
        beside(table, f"  the worst of {objects.DEFINITIONS}", [1e3 * times[-1] for times in served], "ms")
        fans = [objects.fan_out(target) for target in targets]
        beside(table, f"a change at {objects.WATCHERS} watchers, median", [1e3 * fan[0] for fan in fans], "ms")
        beside(table, f"a change at {objects.WATCHERS} watchers, last", [1e3 * fan[1] for fan in fans], "ms")
        for clients in (1, 64):
            who = "1 client" if clients == 1 else f"{clients} clients"
            for load, measured in objects.rates(targets, clients, options.load, ROUNDS).items():
                beside(table, f"{load}, {who}", measured, "1/s", more_is_better=True)

def beside(table, what, measured, unit, more_is_better=False):
    ours, *others = measured
    table.row(what, others[0] if others else None, ours, unit, "upstream on the left" if others else "", more_is_better)


def quantile(ordered, share):
    """The smallest value that at least `share` of all are not above."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def spread(values):
    return f"{min(values):.2f} to {max(values):.2f}"


class Table:
    """What was measured, against what is promised (or, for writes, against etcd)."""

    def __init__(self):
        self.rows = [("what", "promised", "measured", "", "ratio", "")]

    def row(self, what, promised, measured, unit, note="", more_is_better=False):
        sign = "> " if more_is_better else "<= "
        wanted = "" if promised is None else sign + number(promised)
        ratio = "" if promised is None else f"{measured / promised:.2f}"
        self.rows.append((what, wanted, number(measured), unit, ratio, note))
        print(f"  {what}: {number(measured)} {unit} {note}", file=sys.stderr, flush=True)

    def print(self):
        widths = [max(len(row[column]) for row in self.rows) for column in range(6)]
        for row in self.rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


PARTS = {"start": start, "idle": idle, "memory": memory, "pods": pods, "writes": durable_writes, "objects": objects_and_requests}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--directory", required=True, help="an empty folder on the disk to measure")
    parser.add_argument("--cgroup", required=True, help="a name that nobody else uses")
    parser.add_argument("--settle", type=float, default=20, help="seconds of rest before memory is read")
    # What may be lost in a power cut is written every quarter of an hour: less would not see it.
    parser.add_argument("--idle", type=float, default=1000, help="seconds that an idle server is watched")
    parser.add_argument("--load", type=float, default=4, help="seconds of each turn of writing")
    parser.add_argument("--upstream", help="a kube-apiserver to measure beside (needs etcd)")
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[])
    options = parser.parse_args()
    host = Host(options.binary, options.directory, options.cgroup)
    table = Table()
    table.row("executable, stripped", 25, os.path.getsize(host.binary) / 1e6, "MB")
    for name in options.parts or PARTS:
        print(f"{name}:", file=sys.stderr, flush=True)
        PARTS[name](host, table, options)
    table.print()


if __name__ == "__main__":
    main()

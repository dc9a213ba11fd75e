#!/usr/bin/env python3
"""Asks two API servers the same and tells where their answers differ.

Started by scripts/differential, inside namespaces of its own.
"""

import argparse
import json
import multiprocessing
import re
import sys
import time

import cases
import reads
import report
import upstream
from compare import Baselines, compare
from host import Host
from pair import Pair
from wire import Target

WORKERS = 4
CHUNK = 50
# In this order: objects must be there before they are changed.
PHASES = {
    "create": cases.creates,
    "stored": cases.stored,
    "patch": cases.patches,
    "update": cases.updates,
    "status": cases.statuses,
    "delete": cases.deletes,
}


def main():
    options = arguments()
    host = Host(options.binary, options.directory)
    with (
        host.server(options=["--disable-agent"]) as server,
        upstream.apiserver(options.upstream, options.directory) as theirs,
    ):
        server.wait_for_api()
        pair = Pair([of_administrator(Target.of_kubeconfig(server.kubeconfig)), of_administrator(theirs.target)])
        cases.make_fixtures(pair)
        differences = reads.differences(pair, options.filter) if "reads" in options.only else []
        differences += writes(pair, options)
    report.print_groups(differences, options.list)
    if options.json:
        with open(options.json, "w") as file:
            json.dump([difference._asdict() for difference in differences], file, indent=1)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--directory", required=True, help="an empty folder")
    parser.add_argument("--json", help="a file that gets every difference")
    parser.add_argument("--list", type=int, default=5, help="places that are shown of a pattern")
    names = ["reads", *PHASES]
    parser.add_argument("--only", type=lambda text: text.split(","), default=names, help=",".join(names))
    parser.add_argument("filter", nargs="?", default="")
    return parser.parse_args()


def of_administrator(target):
    """The same user at both servers, whatever they were told by certificate or token."""
    target.headers += "Impersonate-User: administrator\r\nImpersonate-Group: system:masters\r\n"
    return target


def writes(pair, options):
    found = []
    seeds = [seed for seed in cases.seeds(pair) if re.search(options.filter, seed.name)]
    for seed, why in cases.refused(pair, seeds):
        print(f"upstream refuses the seed {seed.name}: {why}", flush=True)
    for name, phase in PHASES.items():
        if name in options.only or name in ("stored", "delete"):
            began = time.monotonic()
            count, differences = run(pair, phase, seeds)
            found += differences
            took = time.monotonic() - began
            print(f"{name}: {count} requests, {len(differences)} differences, {took:.0f} s", file=sys.stderr, flush=True)
    return found


def run(pair, phase, seeds):
    """The cases of all seeds, shared among workers."""
    chunks = []
    for seed in seeds:
        planned = phase(seed, pair)
        # Dry runs set addresses and ports aside for a moment: they must not meet.
        size = len(planned) or 1 if seed.manifest["kind"] == "Service" else CHUNK
        chunks += [planned[at : at + size] for at in range(0, len(planned), size)]
    with multiprocessing.Pool(WORKERS, prepare_worker, (pair.targets,)) as pool:
        results = pool.map(work, chunks, chunksize=1)
    return sum(map(len, chunks)), [difference for result in results for difference in result]


def prepare_worker(targets):
    global worker, baselines
    worker, baselines = Pair(targets), Baselines()


def work(chunk):
    differences = []
    for case in chunk:
        ours, theirs = worker.ask(case.request)
        differences += compare(case, ours, theirs, baselines.of(case, worker))
    return differences


if __name__ == "__main__":
    main()

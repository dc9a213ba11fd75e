"""What is asked about each seed: requests that change nothing, but for those that make the object and remove it."""

import copy
import glob
import json
import os
import typing

import mutations
from pair import Request, succeeded

HERE = os.path.dirname(os.path.abspath(__file__))
NAMESPACE = "differential"
DRY = "dryRun=All&fieldManager=differential"
VERSION = "@resourceVersion@"
# Jobs name their own UID in labels and selectors; each server gave it another.
UID = "@uid@"
# Who they are stands in every seed; they are changed in this one alone. Its owners are of a kind that nobody serves:
# only one of the servers has a garbage collector, which would miss others.
IDENTITY_SEED = "core.v1.ConfigMap"
# What each server says about itself.
OWN = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink")


class Case(typing.NamedTuple):
    """One request, and what was changed for it."""

    kind: str
    operation: str
    field: str
    mutation: str
    request: Request
    baseline: Request = None
    ignored: tuple = ()

    def ignores(self, place):
        return place.startswith(self.ignored) if self.ignored else False


class Seed(typing.NamedTuple):
    """A valid manifest and where its kind is served."""

    name: str
    manifest: dict
    collection: str
    subresources: frozenset

    @property
    def path(self):
        return f"{self.collection}/{self.manifest['metadata']['name']}"


def make_fixtures(pair):
    """Objects that seeds refer to."""
    with open(os.path.join(HERE, "fixtures.json")) as file:
        fixtures = json.load(file)
    known = kinds(pair)
    for manifest in fixtures:
        request = Request("POST", seed_of("fixture", manifest, known).collection, json.dumps(manifest))
        for answer in pair.ask(request):
            if answer.status != 409:
                succeeded(answer, request.path)


def seeds(pair):
    """All seeds, by the names of their files."""
    known = kinds(pair)
    for path in sorted(glob.glob(os.path.join(HERE, "seeds", "*.json"))):
        name = os.path.basename(path).removesuffix(".json")
        with open(path) as file:
            yield seed_of(name, json.load(file), known)


def refused(pair, seeds):
    """The seeds that are no good, and what upstream says of them."""
    for seed in seeds:
        _, answer = pair.ask(creates(seed, pair)[0].request)
        if answer.status >= 300:
            yield seed, json.loads(answer.body).get("message")


def seed_of(name, manifest, known):
    resource, prefix, namespaced, subresources = known[manifest["apiVersion"], manifest["kind"]]
    namespace = manifest["metadata"].get("namespace", NAMESPACE)
    middle = f"/namespaces/{namespace}" if namespaced else ""
    return Seed(name, manifest, f"{prefix}{middle}/{resource}", frozenset(subresources))


def kinds(pair):
    """(apiVersion, kind) of what upstream serves -> (resource, prefix, namespaced, subresources)."""
    _, groups = pair.both("GET", "/apis")
    versions = [("v1", "/api/v1")]
    for group in groups["groups"]:
        versions += [(version["groupVersion"], f"/apis/{version['groupVersion']}") for version in group["versions"]]
    known = {}
    for version, prefix in versions:
        _, listed = pair.both("GET", prefix)
        names = [resource["name"] for resource in listed["resources"]]
        for resource in listed["resources"]:
            if "/" not in resource["name"]:
                below = [name.split("/")[1] for name in names if name.startswith(resource["name"] + "/")]
                known[version, resource["kind"]] = (resource["name"], prefix, resource["namespaced"], below)
    return known


def creates(seed, pair):
    """The seed and its mutations, as new objects."""
    manifest = {name: value for name, value in seed.manifest.items() if name != "status"}
    plain = Request("POST", f"{seed.collection}?{DRY}", json.dumps(manifest))
    cases = [Case(seed.name, "create", "", "none", plain)]
    for change in mutations.all_of(manifest):
        if change.way[0] not in ("apiVersion", "kind") or seed.name == IDENTITY_SEED:
            request = plain._replace(body=json.dumps(change.manifest))
            cases.append(Case(seed.name, "create", change.field, change.name, request, plain))
    return cases


def stored(seed, pair):
    """The seed as an object that stays."""
    request = Request("POST", f"{seed.collection}?fieldManager=differential", json.dumps(seed.manifest))
    return [Case(seed.name, "stored", "", "none", request)] if is_stored(seed) else []


def is_stored(seed):
    """Reviews and their like are answered and forgotten."""
    return "name" in seed.manifest["metadata"] and not seed.manifest["kind"].endswith("Review")


def updates(seed, pair):
    """The stored object, as upstream shows it, with one change."""
    there = current(seed, pair)
    if there is None:
        return []
    base, own = there
    base.pop("status", None)
    put = Request("PUT", f"{seed.path}?{DRY}", json.dumps(base), own=own)
    ignored = ("status",) if "status" in seed.subresources else ()
    cases = [
        Case(seed.name, "update", "", "none", put, None, ignored),
        Case(seed.name, "update", "metadata.resourceVersion", "removed", without_version(put, base), put, ignored),
        Case(seed.name, "update", "metadata.resourceVersion", "old", put._replace(own=with_version(put, "1")), put, ignored),
        Case(seed.name, "update", "metadata.resourceVersion", "text", put._replace(own=with_version(put, "a")), put, ignored),
    ]
    if not refuses(pair, without_version(put, base)):
        # Controllers change some objects meanwhile.
        put = without_version(put, base)
    base = json.loads(put.body)
    for change in mutations.all_of(base):
        if change.way[0] not in ("apiVersion", "kind") and change.field != "metadata.resourceVersion":
            request = put._replace(body=json.dumps(change.manifest))
            cases.append(Case(seed.name, "update", change.field, change.name, request, put, ignored))
    return cases


def statuses(seed, pair):
    """The stored object's status, with one change."""
    there = current(seed, pair) if "status" in seed.manifest and "status" in seed.subresources else None
    if there is None:
        return []
    base, own = there
    base["status"] = seed.manifest["status"]
    put = Request("PUT", f"{seed.path}/status?{DRY}", json.dumps(base), own=own)
    if not refuses(pair, without_version(put, base)):
        put = without_version(put, base)
    cases = [Case(seed.name, "status", "", "none", put)]
    for change in mutations.all_of(json.loads(put.body), ("status",)):
        request = put._replace(body=json.dumps(change.manifest))
        cases.append(Case(seed.name, "status", change.field, change.name, request, put))
    return cases


def current(seed, pair):
    """The stored object as a client of upstream's would send it back, and each server's version of it."""
    answers = pair.ask(Request("GET", seed.path)) if is_stored(seed) else []
    if not answers or any(answer.status != 200 for answer in answers):
        return None
    objects = [json.loads(answer.body) for answer in answers]
    versions, uids = (tuple(found["metadata"][name] for found in objects) for name in ("resourceVersion", "uid"))
    base = copy.deepcopy(objects[1])
    for name in OWN:
        base["metadata"].pop(name, None)
    base = json.loads(json.dumps(base).replace(uids[1], UID))
    base["metadata"]["resourceVersion"] = VERSION
    return base, ((VERSION, versions), (UID, uids))


def without_version(put, base):
    base = {**base, "metadata": {name: value for name, value in base["metadata"].items() if name != "resourceVersion"}}
    return put._replace(body=json.dumps(base), own=with_version(put))


def with_version(put, *version):
    """What stands for each server's own, with another version or none."""
    kept = tuple(own for own in put.own if own[0] != VERSION)
    return kept + tuple((VERSION, (text, text)) for text in version)


def refuses(pair, request):
    return any(answer.status >= 300 for answer in pair.ask(request))


def patches(seed, pair):
    """Patches of every type, good ones and bad ones."""
    if current(seed, pair) is None:
        return []
    cases = []
    for name, content, body in PATCHES:
        request = Request("PATCH", f"{seed.path}?{DRY}", body, f"application/{content}-patch+json")
        cases.append(Case(seed.name, "patch", "", f"{content}: {name}", request, None, ("status",)))
    return cases + applications(seed)


def applications(seed):
    """The seed applied by another manager: as it is, with other values, and by force."""
    applied = {name: value for name, value in seed.manifest.items() if name != "status"}
    changed = copy.deepcopy(applied)
    for way in list(mutations.ways(applied)):
        value = mutations.at(applied, way)
        if way[0] not in ("apiVersion", "kind", "metadata") and type(value) is int:
            mutations.at(changed, way[:-1])[way[-1]] = value + 1
    cases = []
    for name, body, query in (
        ("same", applied, "fieldManager=differential-other"),
        ("same without manager", applied, ""),
        ("numbers", changed, "fieldManager=differential-other"),
        ("numbers by force", changed, "fieldManager=differential-other&force=true"),
        ("unknown field", {**applied, "unknown": 1}, "fieldManager=differential-other"),
        ("managed fields", with_metadata(applied, managedFields=[{"manager": "x"}]), "fieldManager=differential-other"),
        ("other name", with_metadata(applied, name="other"), "fieldManager=differential-other"),
        ("no type", {"metadata": applied["metadata"]}, "fieldManager=differential-other"),
    ):
        request = Request("PATCH", f"{seed.path}?dryRun=All&{query}", json.dumps(body), "application/apply-patch+yaml")
        cases.append(Case(seed.name, "patch", "", f"apply: {name}", request, None, ("status",)))
    return cases


def with_metadata(manifest, **more):
    return {**manifest, "metadata": {**manifest["metadata"], **more}}


def deletes(seed, pair):
    """The end of the stored object."""
    return [Case(seed.name, "delete", "", "none", Request("DELETE", seed.path), None, ("status",))] if is_stored(seed) else []


PATCHES = (
    ("label", "json", '[{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]'),
    ("bad label", "json", '[{"op":"add","path":"/metadata/labels","value":{"a":"-"}}]'),
    ("missing path", "json", '[{"op":"replace","path":"/spec/missing/field","value":1}]'),
    ("remove missing", "json", '[{"op":"remove","path":"/metadata/missing"}]'),
    ("test fails", "json", '[{"op":"test","path":"/metadata/name","value":"x"}]'),
    ("bad operation", "json", '[{"op":"frob","path":"/metadata/name","value":"x"}]'),
    ("no operation", "json", '[{"path":"/metadata/name","value":"x"}]'),
    ("no value", "json", '[{"op":"add","path":"/metadata/labels"}]'),
    ("no path", "json", '[{"op":"add","value":"x"}]'),
    ("copy", "json", '[{"op":"copy","from":"/metadata/name","path":"/metadata/generateName"}]'),
    ("move missing", "json", '[{"op":"move","from":"/metadata/missing","path":"/metadata/generateName"}]'),
    ("add beyond", "json", '[{"op":"add","path":"/metadata/finalizers/7","value":"a/b"}]'),
    ("map", "json", '{"metadata":{}}'),
    ("not JSON", "json", "[{"),
    ("empty", "json", "[]"),
    ("unknown field", "json", '[{"op":"add","path":"/unknown","value":1}]'),
    ("name", "json", '[{"op":"replace","path":"/metadata/name","value":"other"}]'),
    ("kind", "json", '[{"op":"replace","path":"/kind","value":"Other"}]'),
    ("label", "merge", '{"metadata":{"labels":{"a":"b"}}}'),
    ("null label", "merge", '{"metadata":{"labels":null}}'),
    ("wrong type", "merge", '{"metadata":{"labels":["a"]}}'),
    ("no metadata", "merge", '{"metadata":null}'),
    ("list", "merge", "[]"),
    ("not JSON", "merge", "{"),
    ("unknown field", "merge", '{"unknown":1}'),
    ("name", "merge", '{"metadata":{"name":"other"}}'),
    ("namespace", "merge", '{"metadata":{"namespace":"other"}}'),
    ("kind", "merge", '{"kind":"Other"}'),
    ("uid", "merge", '{"metadata":{"uid":"other"}}'),
    ("version", "merge", '{"metadata":{"resourceVersion":"1"}}'),
    ("deletion", "merge", '{"metadata":{"deletionTimestamp":"2020-01-01T00:00:00Z"}}'),
    ("finalizer", "merge", '{"metadata":{"finalizers":["bad"]}}'),
    ("owner", "merge", '{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"a"}]}}'),
    ("label", "strategic-merge", '{"metadata":{"labels":{"a":"b"}}}'),
    ("owner", "strategic-merge", '{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"a","uid":"b"}]}}'),
    ("owner without key", "strategic-merge", '{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod"}]}}'),
    ("directive", "strategic-merge", '{"metadata":{"labels":{"$patch":"replace","c":"d"}}}'),
    ("bad directive", "strategic-merge", '{"metadata":{"$patch":"frob"}}'),
    ("wrong type", "strategic-merge", '{"metadata":{"labels":["a"]}}'),
    ("delete from list", "strategic-merge", '{"metadata":{"$deleteFromPrimitiveList/finalizers":["a/b"]}}'),
    ("bad order", "strategic-merge", '{"metadata":{"$setElementOrder/finalizers":["a/b"],"finalizers":["c/d"]}}'),
    ("unknown field", "strategic-merge", '{"unknown":1}'),
    ("not JSON", "strategic-merge", "{"),
)  # fmt: skip

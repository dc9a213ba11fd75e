"""Requests that write nothing: discovery, lists in every form, and what is wrong with a request itself."""

import re

import cases
from cases import Case
from compare import compare
from pair import Request

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
MAPS = f"/api/v1/namespaces/{cases.NAMESPACE}/configmaps"
# Lists of what no controller makes: only one of the servers has controllers.
EMPTY = f"/api/v1/namespaces/{cases.NAMESPACE}/podtemplates"
PODS = f"/api/v1/namespaces/{cases.NAMESPACE}/pods"
LABELS = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}'
# What is not of the API but of the program, its age and its machine.
OWN = ("serverAddressByClientCIDRs", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform",
       "gitVersion")  # fmt: skip


def differences(pair, wanted):
    found = []
    for name, request in requests(pair):
        if re.search(wanted, f"reads {name} {request.path}"):
            case = Case(f"{request.method} {request.path}", "read", name, "none", request, None)
            found += [one for one in compare(case, *pair.ask(request)) if not any(own in one.aspect for own in OWN)]
    return found


def requests(pair):
    yield from discovery(pair)
    yield from lists(pair)
    for path in PATHS:
        yield "path", Request("GET", path)
    for query in QUERIES:
        yield "query", Request("GET", f"{EMPTY}?{query}")
    for query in WRITE_QUERIES:
        yield "write query", Request("POST", f"{MAPS}?dryRun=All&{query}", LABELS)
    for accept in ACCEPTS:
        yield f"accept {accept}", Request("GET", EMPTY, accept=accept)
        yield f"accept {accept}", Request("GET", "/apis", accept=accept)
    for content in CONTENTS:
        yield f"content {content}", Request("POST", f"{MAPS}?dryRun=All", LABELS, content)
        yield f"content {content}", Request("PATCH", f"{MAPS}/missing", "{}", content)
    for method, path, body in METHODS:
        yield "method", Request(method, path, body)


def discovery(pair):
    _, groups = pair.both("GET", "/apis")
    for path in ("/api", "/apis", "/version", "/api/v1", "/openid/v1/jwks", "/.well-known/openid-configuration"):
        yield "discovery", Request("GET", path)
    for group in groups["groups"]:
        yield "discovery", Request("GET", f"/apis/{group['name']}")
        for version in group["versions"]:
            yield "discovery", Request("GET", f"/apis/{version['groupVersion']}")
    for path in ("/api", "/apis"):
        yield "discovery", Request("GET", path, accept=AGGREGATED)


def lists(pair):
    """Lists whose objects differ are of no use: those of what is nowhere."""
    for _, prefix, namespaced, resource in sorted(
        (version, prefix, namespaced, resource)
        for (version, _), (resource, prefix, namespaced, _) in cases.kinds(pair).items()
    ):
        path = f"{prefix}/namespaces/nowhere/{resource}" if namespaced else f"{prefix}/{resource}?labelSelector=no=where"
        yield "list", Request("GET", path)
        yield "table", Request("GET", path, accept=TABLE)
        yield "partial", Request("GET", path, accept=PARTIAL)
        one = f"{prefix}/namespaces/nowhere/{resource}/missing" if namespaced else f"{prefix}/{resource}/missing"
        for method in ("GET", "DELETE"):
            yield "missing", Request(method, one)
        yield "missing", Request("PATCH", one, "{}", "application/merge-patch+json")
        for method in ("PUT", "POST"):
            yield "body", Request(method, one, "{}")
        collection = path.partition("?")[0]
        yield "body", Request("POST", f"{collection}?dryRun=All", "{}")
        yield "body", Request("POST", f"{collection}?dryRun=All", "[]")
        yield "body", Request("POST", f"{collection}?dryRun=All", "")
        yield "body", Request("POST", f"{collection}?dryRun=All", '{"metadata":{"name":"a"}}')
        yield "selector", Request("GET", f"{collection}?fieldSelector=no.where=1")
        yield "selector", Request("GET", f"{collection}?fieldSelector=metadata.name=nothing")


PATHS = (
    "/nowhere", "/apis/nowhere", "/apis/apps/v7", "/apis/apps/v1/nowhere", "/api/v2", "/api/v1/nowhere", "/api/v1/",
    "/api/", "/apis/", "/apis/apps/", "/api/v1/namespaces/a/b", "/api/v1/namespaces/a/b/c", "/api/v1/namespaces/a/pods/b/c",
    "/api/v1/pods/a", "/api/v1/nodes/a/b", "/api/v1/configmaps/a", "/apis/apps/v1/namespaces/a/deployments/b/scale",
    "/apis/apps/v1/namespaces/a/deployments/b/status", "/api/v1/namespaces/a/pods/b/log", "/api/v1/namespaces/a/status",
    "/api/v1/namespaces/a/finalize", "/api/v1/namespaces/a/pods/b/exec", "/api/v1/namespaces/a/pods/b/binding",
    "/api/v1/namespaces/a/pods/b/eviction", "/api/v1/namespaces/a/serviceaccounts/b/token", "/readyz", "/livez", "/healthz",
    "/readyz/ping", "/readyz/nowhere", "/livez/ping", "/healthz/ping", "/readyz/etcd", "/openapi/v3/nowhere", "/openapi/v2/nowhere",
    "/version/", "/openapi", "/metrics/nowhere", "/logs", "/debug", "/api/v1/watch/namespaces/a/pods/b/log",
    "/api/v1/namespaces//pods", "//api/v1", "/api/v1/namespaces/%20/pods", "/api/v1/namespaces/a%2Fb/pods",
    "/api/v1/componentstatuses/nowhere", "/apis/batch/v1/namespaces/a/jobs/b/scale", "/api/v1/bindings",
)  # fmt: skip
QUERIES = (
    "limit=a", "limit=-1", "limit=1.5", "limit=0", "continue=a", "continue=a&resourceVersion=1", "resourceVersion=a",
    "resourceVersion=-1", "resourceVersion=99999999999", "resourceVersionMatch=Exact", "resourceVersionMatch=Other",
    "resourceVersionMatch=Exact&resourceVersion=0", "resourceVersionMatch=NotOlderThan&resourceVersion=0",
    "resourceVersionMatch=NotOlderThan", "resourceVersionMatch=Exact&resourceVersion=1&continue=a",
    "resourceVersion=1&resourceVersionMatch=NotOlderThan&limit=1&continue=a", "labelSelector=a=b=c", "labelSelector=a in",
    "labelSelector=a%20in%20(b", "labelSelector=!", "labelSelector=a%3Db!", "labelSelector=-a", "labelSelector=a/b/c",
    "labelSelector=a%3D" + "x" * 64, "labelSelector=a%3E1", "labelSelector=a%3Ex", "labelSelector=,", "labelSelector=a,,b",
    "labelSelector=a%20notin%20()", "labelSelector=%3D", "fieldSelector=metadata.name", "fieldSelector=metadata.name%3D%3Da",
    "fieldSelector=spec.x=1", "fieldSelector=metadata.name!%3Da", "fieldSelector=metadata.namespace=other",
    "fieldSelector=metadata.name%3Da%5Cb", "fieldSelector=,", "fieldSelector=a%3Eb", "timeoutSeconds=a", "timeoutSeconds=-1",
    "timeoutSeconds=1&watch=maybe", "timeoutSeconds=1&watch=false", "watch=0", "allowWatchBookmarks=x", "sendInitialEvents=true", "sendInitialEvents=false",
    "timeoutSeconds=1&watch=1&sendInitialEvents=true", "timeoutSeconds=1&watch=1&sendInitialEvents=true&resourceVersionMatch=Exact",
    "timeoutSeconds=1&watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", "timeoutSeconds=1&watch=1&resourceVersionMatch=Exact",
    "timeoutSeconds=1&watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=1", "timeoutSeconds=1&watch=1&resourceVersion=a", "pretty=true",
    "includeObject=Other", "unknown=1", "timeoutSeconds=1&watch=1&continue=a", "timeoutSeconds=1&watch=1&limit=1&resourceVersion=9999999999",
    "timeoutSeconds=1&watch=1&labelSelector=!", "timeoutSeconds=1&watch=1&fieldSelector=spec.x=1", "exact=1", "dryRun=All",
)  # fmt: skip
WRITE_QUERIES = (
    "dryRun=Some", "dryRun=", "fieldManager=" + "x" * 129, "fieldManager=a%0Ab", "fieldValidation=Other", "fieldValidation=Strict",
    "fieldValidation=Ignore", "force=true", "force=maybe", "pretty=x", "unknown=1", "timeout=1x", "timeout=40s", "timeout=-1s",
    "timeout=0", "dryRun=All&dryRun=All", "dryRun=All&dryRun=Some", "fieldManager=é",
)  # fmt: skip
ACCEPTS = (
    "text/html", "application/xml", "*/*", "application/*", "", "application/yaml", "application/json;as=Table",
    "application/json;as=Other;v=v1;g=meta.k8s.io", "application/json;as=Table;v=v2;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "application/json;as=PartialObjectMetadataList;v=v1beta1;g=meta.k8s.io",
    "application/json;as=Table;v=v1beta1;g=meta.k8s.io", "application/json;stream=watch", "application/json; charset=utf-8",
    "application/json;q=0.1,application/yaml;q=0.9", "application/vnd.kubernetes.protobuf;as=Other;v=v1;g=x,application/json",
    "application/json;v=v2", "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList",
    "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList,application/json", "application/json;pretty=1",
    "a", "application/cbor", "application/json,*/*;q=0.1",
)  # fmt: skip
CONTENTS = (
    "text/plain", "application/json", "application/json; charset=utf-8", "application/yaml", "application/x", "",
    "application/merge-patch+json", "application/apply-patch+yaml", "application/strategic-merge-patch+json",
    "application/json-patch+json", "application/vnd.kubernetes.protobuf", "application/cbor", "a/b/c", "application/json;stream=watch",
    "application/apply-patch+cbor", "application/JSON",
)  # fmt: skip
METHODS = (
    ("POST", f"{MAPS}/a", LABELS), ("PUT", MAPS, LABELS), ("PATCH", MAPS, "{}"), ("OPTIONS", MAPS, ""), ("TRACE", MAPS, ""),
    ("POST", "/version", ""), ("PUT", "/api", ""), ("DELETE", "/apis", ""), ("DELETE", "/apis/apps/v1", ""), ("POST", "/readyz", ""),
    ("POST", "/apis/apps/v1", "{}"), ("POST", "/nowhere", "{}"), ("PUT", "/nowhere", "{}"), ("DELETE", "/nowhere", ""),
    ("PATCH", "/nowhere", "{}"), ("GET", "/apis/authentication.k8s.io/v1/tokenreviews", ""), ("FROB", MAPS, ""),
    ("DELETE", "/apis/authentication.k8s.io/v1/tokenreviews/a", ""), ("PUT", f"{PODS}/a/binding", "{}"), ("GET", f"{PODS}/a/eviction", ""),
    ("DELETE", f"{PODS}/a/log", ""), ("POST", f"{PODS}/a/status", "{}"), ("DELETE", f"{PODS}/a/status", ""),
    ("DELETE", f"{MAPS}/a?gracePeriodSeconds=x", ""), ("DELETE", f"{MAPS}/a?propagationPolicy=Other", ""),
    ("DELETE", f"{MAPS}/a?orphanDependents=maybe", ""), ("DELETE", f"{MAPS}/a?orphanDependents=true&propagationPolicy=Orphan", ""),
    ("DELETE", f"{MAPS}/a", '{"gracePeriodSeconds":"x"}'), ("DELETE", f"{MAPS}/a", '{"kind":"Other","apiVersion":"v1"}'),
    ("DELETE", f"{MAPS}/a", '{"propagationPolicy":"Other"}'), ("DELETE", f"{MAPS}/a", "["), ("DELETE", f"{MAPS}/a", '{"unknown":1}'),
    ("DELETE", f"{MAPS}/a", '{"dryRun":["Some"]}'), ("DELETE", f"{MAPS}?dryRun=Some", ""), ("DELETE", f"{MAPS}?labelSelector=!", ""),
    ("DELETE", f"{MAPS}?labelSelector=no=where", ""), ("DELETE", "/api/v1/componentstatuses/a", ""), ("DELETE", "/api/v1/namespaces", ""),
    ("POST", f"{MAPS}?dryRun=All", LABELS + LABELS), ("POST", f"{MAPS}?dryRun=All", "{"),
    ("POST", f"{MAPS}?dryRun=All", '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","name":"b"},"unknown":1}'),
    ("POST", f"{MAPS}?dryRun=All&fieldValidation=Strict", '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","name":"b"},"unknown":1}'),
    ("POST", f"{MAPS}?dryRun=All", '{"APIVERSION":"v1","Kind":"ConfigMap","metaData":{"name":"a"}}'),
    ("POST", f"{MAPS}?dryRun=All", '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"DATA":{"a":"b"}}'),
    ("POST", "/api/v1/namespaces/missing/configmaps?dryRun=All", LABELS), ("POST", "/api/v1/namespaces/other/configmaps?dryRun=All",
     '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"differential"}}'),
    ("POST", f"{MAPS}?dryRun=All", '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"a-"}}'),
    ("POST", f"{MAPS}?dryRun=All", '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"' + "a" * 300 + '"}}'),
    ("POST", "/api/v1/configmaps", LABELS), ("POST", f"{MAPS}?dryRun=All", '{"apiVersion":"v1","kind":"List","items":[]}'),
    ("POST", f"{MAPS}?dryRun=All", '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}'),
    ("POST", f"{MAPS}?dryRun=All", '{"apiVersion":"v7","kind":"ConfigMap","metadata":{"name":"a"}}'),
    ("POST", f"{MAPS}?dryRun=All", '{"apiVersion":"a/b/c","kind":"ConfigMap","metadata":{"name":"a"}}'),
    ("PUT", f"{MAPS}/a?dryRun=All", LABELS), ("PUT", f"{MAPS}/b?dryRun=All", LABELS),
)  # fmt: skip

"""What is different between two answers, apart from what must be."""

import collections
import json
import re
import time
import typing

ABSENT = "(absent)"
MANAGED = "managedFields"
UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
NOW = re.compile(time.strftime("%Y-%m-%dT") + r"\d\d:\d\d:\d\d(\.\d+)?Z")
# How far each server's store is by now.
CURRENT = re.compile(r"(?<=, current: )\d+")
ADDRESS = re.compile(r"\b10\.43\.\d+\.\d+\b")


class Difference(typing.NamedTuple):
    """One thing that both servers said, differently."""

    kind: str
    operation: str
    field: str
    mutation: str
    aspect: str
    ours: object
    theirs: object


class Baselines:
    """How answers about an unchanged seed differ: said once, not again for every mutation of it."""

    def __init__(self):
        self.known = {}

    def of(self, case, pair):
        if case.baseline is None:
            return set()
        if case.baseline not in self.known:
            ours, theirs = pair.ask(case.baseline)
            self.known[case.baseline] = {
                (place, repr(a), repr(b)) for place, a, b in self.unlike(ours, theirs, case.baseline)
            }
        return self.known[case.baseline]

    def unlike(self, ours, theirs, request):
        return unlike(understood(ours, request), understood(theirs, request)) + warnings(ours, theirs)


def compare(case, ours, theirs, known=()):
    """The differences between two answers to a case, without those that are known."""

    def difference(aspect, ours, theirs):
        return Difference(case.kind, case.operation, case.field, case.mutation, aspect, ours, theirs)

    found = []
    a, b = understood(ours, case.request), understood(theirs, case.request)
    if ours.status != theirs.status:
        return [difference("code", outcome(ours, a), outcome(theirs, b))]
    places = refusals(a, b) if ours.status >= 300 else unlike(a, b)
    for place, of_ours, of_theirs in [*places, *warnings(ours, theirs)]:
        if (place, repr(of_ours), repr(of_theirs)) not in known and not case.ignores(place):
            found.append(difference(place, of_ours, of_theirs))
    # Who owns a field says nothing more where the field is another one.
    return [one for one in found if MANAGED not in one.aspect] or found


def outcome(answer, body):
    if answer.status < 300:
        return f"{answer.status}"
    if not isinstance(body, dict):
        return f"{answer.status}: {body}"
    return f"{answer.status} {body.get('reason')}: {body.get('message')}"


def refusals(ours, theirs):
    """Causes tell more than the message that is made of them."""
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return unlike(ours, theirs)
    causes = [causes_of(body) for body in (ours, theirs)]
    if causes[0] != causes[1]:
        alone = [sorted((collections.Counter(mine) - collections.Counter(other)).elements()) for mine, other in (causes, causes[::-1])]
        return [("causes", *alone)] if any(alone) else [("order of causes", *causes)]
    return unlike(ours, theirs)


def causes_of(body):
    causes = (body.get("details") or {}).get("causes", [])
    return [f"{cause.get('reason')} {cause.get('field')}: {cause.get('message')}" for cause in causes]


def unlike(ours, theirs, place=""):
    """(place, ours, theirs) of everything that differs."""
    if type(ours) is dict and type(theirs) is dict:
        return [
            found
            for name in sorted({*ours, *theirs})
            for found in unlike(ours.get(name, ABSENT), theirs.get(name, ABSENT), f"{place}.{name}" if place else name)
        ]
    if type(ours) is list and type(theirs) is list and len(ours) == len(theirs):
        return [
            found for at, (a, b) in enumerate(zip(ours, theirs)) for found in unlike(a, b, f"{place}[{at}]")
        ]
    same = type(ours) is type(theirs) and ours == theirs
    return [] if same else [(place, ours, theirs)]


def understood(answer, request):
    """The answer's body without what is each server's own."""
    text = NOW.sub("<now>", UID.sub("<uid>", answer.body.decode(errors="replace")))
    text = CURRENT.sub("<revision>", text)
    asked = request.path + request.text()
    text = ADDRESS.sub(lambda found: found[0] if found[0] in asked else "<address>", text)
    try:
        body = json.loads(text)
    except ValueError:
        return text
    strip(body, asked)
    return body


def strip(value, asked):
    if isinstance(value, list):
        for item in value:
            strip(item, asked)
    if not isinstance(value, dict):
        return
    for name in ("uid", "resourceVersion", "creationTimestamp"):
        if name in value and value[name] not in ("", None):
            value[name] = f"<{name}>"
    for name in ("nodePort", "healthCheckNodePort"):
        if isinstance(value.get(name), int) and str(value[name]) not in asked and value[name] > 29999:
            value[name] = "<port>"
    # The suffix is drawn anew for each pod.
    if str(value.get("name")).startswith("kube-api-access-"):
        value["name"] = "kube-api-access-<random>"
    # OpenShift's API server mounts one file more.
    if isinstance(value.get("sources"), list):
        value["sources"] = [source for source in value["sources"] if "openshift-service-ca.crt" not in str(source)]
    # Only one of the servers has a controller that taints nodes for what it knows of them.
    if isinstance(value.get("taints"), list):
        value["taints"] = [taint for taint in value["taints"] if not is_of_controller(taint)]
    if value.get("generateName") and "name" in value:
        value["name"] = value["name"][:-5] + "<random>"
    if "managedFields" in value:
        value["managedFields"] = [entry for entry in value["managedFields"] or [] if entry.get("manager", "").startswith("differential")]
    for inner in value.values():
        strip(inner, asked)


def is_of_controller(taint):
    return isinstance(taint, dict) and str(taint.get("key")).startswith("node.kubernetes.io/")


def warnings(ours, theirs):
    """Each warning that one of them gives alone, or all of them where the order differs."""
    given = [[value for name, value in answer.headers if name == "warning"] for answer in (ours, theirs)]
    alone = [sorted((collections.Counter(mine) - collections.Counter(other)).elements()) for mine, other in (given, given[::-1])]
    found = [("warning", text, ABSENT) for text in alone[0]] + [("warning", ABSENT, text) for text in alone[1]]
    return found if found or given[0] == given[1] else [("order of warnings", *given)]

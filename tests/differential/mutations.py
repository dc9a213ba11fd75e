"""What may be wrong with a manifest: every field of it changed, one at a time."""

import copy
import typing

HUGE = 2**63
LONG = "x" * 300
# Maps with keys of the user's.
FREE = ("labels", "annotations", "data", "stringData", "binaryData", "matchLabels", "nodeSelector", "parameters",
        "limits", "requests", "hard", "capacity", "overhead", "default", "defaultRequest", "max", "min")  # fmt: skip


class Mutation(typing.NamedTuple):
    """One change: where, what kind of change, and the manifest with it."""

    field: str
    name: str
    manifest: dict
    # The names on the way to the field, without places in lists.
    way: tuple = ()


def all_of(manifest, below=()):
    """Each field of the manifest under `below` in turn, changed in every way that fits it."""
    for way in ways(manifest):
        if way[: len(below)] != tuple(below) or len(way) <= len(below):
            continue
        for name, change in changes(way, at(manifest, way)):
            mutated = copy.deepcopy(manifest)
            change(at(mutated, way[:-1]), way[-1])
            yield Mutation(spelled(way), name, mutated, tuple(step for step in way if isinstance(step, str)))


def ways(value, way=()):
    """The ways to all fields and items; of long lists the first items only."""
    if way:
        yield way
    if isinstance(value, dict):
        for name in value:
            yield from ways(value[name], (*way, name))
    elif isinstance(value, list):
        for place in range(len(value)):
            yield from ways(value[place], (*way, place))


def at(value, way):
    for step in way:
        value = value[step]
    return value


def spelled(way):
    text = ""
    for before, step in zip((None, *way), way):
        if isinstance(step, int):
            text += f"[{step}]"
        elif before in FREE:
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def changes(way, value):
    """(name, function of the owner and the key) of every change that fits a value."""
    if isinstance(way[-1], int):
        # An item as a whole; what is in it has its own turn.
        yield "removed", remove
        if isinstance(value, (dict, list)):
            return
    else:
        yield "removed", remove
        yield "null", put(None)
    for name, new in values(way, value):
        if new != value or type(new) is not type(value):
            yield name, put(new)
    if isinstance(value, list) and value:
        yield "first item twice", put([*value, copy.deepcopy(value[0])])
        yield "null item", put([*value, None])
        if len(value) > 1:
            yield "reversed", put(value[::-1])
    if isinstance(value, dict):
        if way[-1] in FREE:
            first = next(iter(value.values()), "x")
            yield "bad key", put({**value, "Bad Key!": first})
            yield "another key", put({**value, "another": first})
        else:
            yield "unknown field", put({**value, "unknownField": 1})


def values(way, value):
    if isinstance(value, bool):
        yield from (("false", False), ("true", True), ("text", "true"), ("number", 1))
    elif isinstance(value, (int, float)):
        yield from (("zero", 0), ("negative", -1), ("one", 1), ("more", value + 1), ("65536", 65536), ("2^31", 2**31))
        yield from (("huge", HUGE), ("fraction", 1.5), ("text", "text"), ("digits", "7"), ("true", True), ("map", {}))
    elif isinstance(value, str):
        yield from (("empty", ""), ("invalid", "Bad_Value!"), ("long", LONG), ("slash", "a/b"), ("other", "other"))
        yield from (("space", " "), ("digits", "7"), ("number", 5), ("true", True), ("map", {}), ("list", []))
        yield "unicode", "é"
    elif isinstance(value, list):
        yield from (("empty", []), ("text", "text"), ("map", {}), ("number", 1))
    elif isinstance(value, dict):
        yield from (("empty", {}), ("text", "text"), ("list", []), ("true", True))


def remove(owner, key):
    del owner[key]


def put(new):
    def change(owner, key):
        owner[key] = copy.deepcopy(new)

    return change

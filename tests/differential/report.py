"""Differences in groups: a pattern first, then where it shows."""

import collections
import re

TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
PLACE = re.compile(r"(?<![\w.])[a-zA-Z]\w*(?:\[[^\]\s]*\]|\.[a-zA-Z]\w*)+")
LONG = re.compile(r"x{20,}")
HANDLED = re.compile(r'\w+ in version "[^"]*" cannot be handled as a \w+')
NUMBER = re.compile(r"-?\d+")
WIDTH = 400


def print_groups(differences, shown):
    groups = collections.defaultdict(list)
    for difference in differences:
        groups[pattern(difference)].append(difference)
    for name, group in sorted(groups.items(), key=lambda item: -len(item[1])):
        aspect, ours, theirs = name
        print(f"\n{len(group)} × {aspect}\n    ours:   {cut(ours)}\n    theirs: {cut(theirs)}")
        print_places(group, shown)
    print(f"\n{len(differences)} differences in {len(groups)} patterns")


def print_places(group, shown):
    places = collections.defaultdict(list)
    for difference in group:
        places[difference.kind, difference.operation, difference.field].append(difference)
    for (kind, operation, field), found in list(places.items())[:shown]:
        mutations = ", ".join(dict.fromkeys(difference.mutation for difference in found))
        print(f"  {kind} {operation} {field} ({mutations})")
        print(f"      {cut(found[0].ours)}  <>  {cut(found[0].theirs)}")
    if len(places) > shown:
        kinds = collections.Counter(kind for kind, _, _ in list(places)[shown:])
        print("  and " + ", ".join(f"{kind} ({count})" for kind, count in kinds.items()))


def pattern(difference):
    return tuple(shape(part, difference) for part in (difference.aspect, difference.ours, difference.theirs))


def shape(part, difference):
    text = LONG.sub("xxx…", str(part))
    if difference.field:
        text = text.replace(difference.field, "<field>")
    text = HANDLED.sub("<kind> in version \"\" cannot be handled as a <kind>", text)
    text = TEXT.sub('"…"', text)
    text = PLACE.sub("<place>", text)
    return NUMBER.sub("N", text)


def cut(text):
    text = LONG.sub("xxx…", str(text))
    return text if len(text) <= WIDTH else f"{text[: WIDTH // 2]} … {text[-WIDTH // 2 :]}"

"""What Schemathesis cannot know of this API: names that exist.

A random name is nobody's, so nearly every generated request would end at the same 404. Half of the paths get one of a few names instead, so that
requests meet each other's deployments, and ?tenant= is one of three tenants rather than a new one each time.
"""

import zlib

import schemathesis

NAMES = ["fuzz-a", "fuzz-b", "fuzz-c", "fuzz-seed"]
TENANTS = ["fuzz", "fuzz-other", "nobody"]


def pick(value, *choices):
    """One of the choices, always the same for a value: a seed has to lead to the same requests again."""
    return choices[zlib.crc32(repr(value).encode()) % len(choices)]


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    for member, suffix in (("name", ""), ("id", "-" + "0" * 26)):
        if path_parameters and member in path_parameters:
            value = path_parameters[member]
            path_parameters[member] = pick(value, value, value, value, value, *(name + suffix for name in NAMES))
    return path_parameters


@schemathesis.hook
def map_query(context, query):
    if query and "wait" in query:
        query["wait"] = pick(query["wait"], query["wait"], "1s")  # who waits sends nothing meanwhile
    return query


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict) and isinstance(body.get("name"), str):
        body["name"] = pick(body["name"], body["name"], *NAMES)
    return body


@schemathesis.hook
def before_call(context, case, kwargs):
    """Leave ?tenant= out three times of four, in every phase: whoever is no admin gets no further than 403 with it."""
    if case.query and "tenant" in case.query:
        tenant = pick((case.query, case.body, case.path_parameters), None, None, None, case.query["tenant"])
        if tenant is None:
            del case.query["tenant"]
        elif case.query["tenant"] != "" and isinstance(tenant, str):
            case.query["tenant"] = pick(tenant, *TENANTS, tenant[:64])

"""Makes types of the comments through the API, and gives the ID of the module: `register.py [OUTPUT_FILE]`.

Whose rules hold is not its business: the engine answers as the version of the module being loaded demands.
"""

import json
import sys

import comments
from api import Word, call, chain

KINDS = {"String": "STRING_KIND", "Int": "INTEGER_KIND", "Float": "FLOAT_KIND", "Boolean": "BOOLEAN_KIND", "Void": "VOID_KIND"}
POLICIES = {"NEVER": "Never", "PER_SESSION": "PerSession", "DEFAULT": "Default"}


def module_id():
    """The ID of a module with the types of the comments."""
    document = comments.read().document()
    enums = [item["name"] for item in document["types"] if item["kind"] == "ENUM"]
    fields = [call("withDescription", description=document["description"])]
    for item in document["types"]:
        made = enum(item) if item["kind"] == "ENUM" else main_object(item, enums)
        fields.append(call("withEnum", enum=made) if item["kind"] == "ENUM" else call("withObject", object=made))
    return chain("module", *fields, "id")


def enum(item):
    members = [call("withEnumMember", **member) for member in item["members"]]
    return chain("typeDef", call("withEnum", name=item["name"], description=item["description"]), *members, "id")


def main_object(item, enums):
    functions = [call("withFunction", function=function(found, enums)) for found in item["functions"]]
    return chain("typeDef", call("withObject", name=item["name"], description=item["description"]), *functions, "id")


def function(item, enums):
    fields = [call("withDescription", description=item["description"])]
    for arg in item["args"]:
        default = json.dumps(arg["default"]) if "default" in arg else None
        more = {"description": arg["description"], "defaultValue": default}
        more |= {"defaultPath": arg.get("defaultPath"), "ignore": arg.get("ignore")}
        fields.append(call("withArg", name=arg["name"], typeDef=type_def(arg["type"], enums), **more))
    if "cache" in item:
        policy = Word(POLICIES[item["cache"]["policy"]])
        fields.append(call("withCachePolicy", policy=policy, timeToLive=item["cache"].get("ttl")))
    return chain(call("function", name=item["name"], returnType=type_def(item["returns"], enums)), *fields, "id")


def type_def(text, enums):
    """The ID of the type that the text means in GraphQL."""
    inner = text.removesuffix("!")
    if inner.startswith("["):
        made = call("withListOf", elementType=type_def(inner[1:-1], enums))
    elif inner in KINDS:
        made = call("withKind", kind=Word(KINDS[inner]))
    else:
        made = call("withEnum" if inner in enums else "withObject", name=inner)
    optional = [] if text.endswith("!") else [call("withOptional", optional=True)]
    return chain("typeDef", made, *optional, "id")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        with open(sys.argv[1], "w") as output:
            json.dump(module_id(), output)
    else:
        print(module_id(), end="")

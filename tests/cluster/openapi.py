# SPDX-License-Identifier: MIT
"""The document at /v1/openapi.json, and whether answers are as it says. Knows the
part of OpenAPI 3.0 that the document uses, and complains about any other."""

import json
import re

KNOWN = {"type", "required", "properties", "additionalProperties", "items", "minItems", "maxItems",
         "enum", "pattern", "format", "nullable", "allOf", "description", "default", "example",
         "minimum", "minLength"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Document:
    def __init__(self, answer):
        self.doc = answer.json
        self.seen = {}  # "get /v1/status": set of statuses

    def resolve(self, o):
        while "$ref" in o:
            found = self.doc
            for name in o["$ref"].removeprefix("#/").split("/"):
                found = found[name.replace("~1", "/").replace("~0", "~")]
            o = found
        return o

    def operations(self):
        """(method, path, operation) of all."""
        for path, operations in self.doc["paths"].items():
            for method, operation in operations.items():
                yield method, path, operation

    def parameters(self, operation):
        return [self.resolve(p) for p in operation.get("parameters", [])]

    def check(self, method, path, answer):
        """The answer is one that the document has for the operation; a list of what is wrong."""
        where = f"{method} {path}: {answer.status}"
        operation = self.doc["paths"][path][method]
        if str(answer.status) not in operation["responses"]:
            return [f"{where} is not documented: {answer!r}"]
        self.seen.setdefault(f"{method} {path}", set()).add(answer.status)
        content = self.resolve(operation["responses"][str(answer.status)]).get("content", {})
        kind = answer.headers.get("Content-Type", "").split(";")[0]
        if not content:
            return [f"{where} has a body: {answer!r}"] if answer.body else []
        if kind not in content and "*/*" not in content:
            return [f"{where} is {kind!r}, not one of {list(content)}"]
        if kind != "application/json" or kind not in content:
            return []
        return [f"{where}: {wrong}" for wrong in
                self.mismatches(content[kind]["schema"], json.loads(answer.body), "body")]

    def mismatches(self, schema, value, at):
        schema = self.resolve(schema)
        if unknown := schema.keys() - KNOWN:
            return [f"{at}: this test does not know {unknown}"]
        if value is None:
            return [] if schema.get("nullable") or not schema.keys() - {"description"} else [
                f"{at} is null"]
        wrong = [w for part in schema.get("allOf", []) for w in self.mismatches(part, value, at)]
        kind = schema.get("type")
        if kind in TYPES and not isinstance(value, TYPES[kind]):
            return wrong + [f"{at} is no {kind}: {value!r}"]
        if kind in ("integer", "number") and (isinstance(value, bool) or not isinstance(
                value, int if kind == "integer" else (int, float))):
            return wrong + [f"{at} is no {kind}: {value!r}"]
        if "enum" in schema and value not in schema["enum"]:
            wrong.append(f"{at} is {value!r}, none of {schema['enum']}")
        if "pattern" in schema and not re.search(schema["pattern"], value):
            wrong.append(f"{at} is {value!r}, which does not match {schema['pattern']}")
        if schema.get("format") == "uuid" and not UUID.fullmatch(value):
            wrong.append(f"{at} is {value!r}, no uuid")
        if kind == "array":
            for i, item in enumerate(value):
                wrong += self.mismatches(schema.get("items", {}), item, f"{at}[{i}]")
        if kind == "object":
            wrong += self._members(schema, value, at)
        return wrong

    def _members(self, schema, value, at):
        properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        wrong = [f"{at} lacks {name}" for name in schema.get("required", []) if name not in value]
        for name, member in value.items():
            if name in properties:
                wrong += self.mismatches(properties[name], member, f"{at}.{name}")
            elif more is False:
                wrong.append(f"{at} has an unknown member {name}")
            elif more is not True:
                wrong += self.mismatches(more, member, f"{at}.{name}")
        return wrong

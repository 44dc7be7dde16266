#!/usr/bin/env python3
"""check_json_schema.py SOURCE BUILD: 500 texts by chance, each from the grammar of a JSON Schema,
are UTF-8, JSON, and valid against that schema, as the package jsonschema sees it."""
import json
import os
import subprocess
import sys

try:
    import jsonschema
except ImportError:
    print("skipped: the Python package jsonschema is missing")
    sys.exit(77)

PERSON = {"type": "object", "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 12},
    "age": {"type": "integer", "minimum": 0, "maximum": 130},
    "email": {"type": "string", "format": "email"},
    "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 4}},
    "required": ["name", "age"], "additionalProperties": False}

SCHEMAS = [
    True,
    {"type": "object"},
    {"type": ["integer", "null", "boolean"]},
    PERSON,
    {"type": "array", "items": PERSON, "minItems": 1, "maxItems": 2},
    {**PERSON, "additionalProperties": {"type": "number"}},
    {**PERSON, "additionalProperties": True, "required": ["age", "other"]},
    {"type": "number", "minimum": -12.5, "exclusiveMaximum": 1300},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "integer", "exclusiveMinimum": -1000, "maximum": -17},
    {"type": "integer", "minimum": 9876, "maximum": 123456},
    {"type": "integer", "maximum": 5},
    {"enum": ["red", "gr\u00fcn", "\"", 1, 0.1, None, {"a": [True]}]},
    {"type": "string", "pattern": "^[a-c]{2,4}(-[0-9]+)?$"},
    {"type": "string", "pattern": "^(foo|ba[rz])\\s\\S"},
    {"type": "string", "pattern": "^\\w+@[^\\d\\\\]{1,3}\"$"},
    {"type": "string", "format": "date-time"},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}],
     "items": {"type": "boolean"}, "minItems": 4, "maxItems": 6},
    {"$defs": {"tree": {"type": "object", "properties": {
        "value": {"type": "integer"},
        "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}},
        "required": ["value"], "additionalProperties": False}}, "$ref": "#/$defs/tree"},
    {"oneOf": [
        {"type": "object", "properties": {"kind": {"const": "circle"}, "r": {"type": "number"}},
         "required": ["kind", "r"]},
        {"type": "object", "properties": {"kind": {"const": "line"}, "to": {
            "type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}},
         "required": ["kind", "to"]}]},
    {"anyOf": [{"type": "string", "format": "uuid"}, {"type": "string", "format": "ipv4"},
               {"type": "string", "format": "date"}]},
    {"allOf": [{"$ref": "#/$defs/a"}, {"properties": {"b": {"type": "integer", "minimum": 5}},
                                       "required": ["b"]}],
     "$defs": {"a": {"type": "object", "properties": {"a": {"type": "null"},
                                                      "b": {"maximum": 7}}}}},
    {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
     "anyOf": [{"required": ["a"]}, {"required": ["b"]}], "additionalProperties": False},
    {"type": "object", "properties": {"ab": {"type": "integer"}, "a": {"type": "null"},
                                      "b\"c": {"type": "boolean"}, "\u00e9": {}},
     "additionalProperties": {"type": "string", "maxLength": 3}},
    {"type": "string", "minLength": 3, "maxLength": 9},
]


def main():
    program = os.path.join(sys.argv[2], "tests", "test_json_grammar")
    checker = jsonschema.FormatChecker()
    count = 0
    for schema in SCHEMAS:
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema, format_checker=checker)
        for seed in range(1, 21):
            result = subprocess.run([program, "--generate", json.dumps(schema), str(seed)],
                                    capture_output=True)
            if result.returncode != 0:
                sys.exit("%s, seed %d: %s" % (json.dumps(schema), seed, result.stderr.decode()))
            text = result.stdout.decode("utf-8").rstrip("\n")
            try:
                validator.validate(json.loads(text))
            except (ValueError, jsonschema.ValidationError) as error:
                sys.exit("%s, seed %d: %s: %s" % (json.dumps(schema), seed, text, error))
            count += 1
    print("%d of %d texts are valid against their schemas" % (count, count))


main()

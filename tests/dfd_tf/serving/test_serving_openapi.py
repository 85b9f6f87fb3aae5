"""The OpenAPI document, and what a fuzzer that has read it makes of the server."""

import os
import subprocess
import sys
from pathlib import Path

from dfd_tf.serving.openapi import openapi_document
from dfd_tf.serving.settings import ServeSettings

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)


def test_the_document_names_every_route_of_the_interface(app):
    paths = openapi_document(ServeSettings())["paths"]
    documented = {(path, method.upper()) for path, methods in paths.items() for method in methods}
    served = {
        (rule.rule.replace("<", "{").replace(">", "}"), method)
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    undocumented = {"/", "/static/{path:filename}", "/metrics", "/api/v1/openapi.json"}
    assert documented == {one for one in served if one[0] not in undocumented}


def test_every_reference_of_the_document_leads_somewhere(client):
    document = client.get("/api/v1/openapi.json").get_json()
    schemas = document["components"]["schemas"]

    def references(value):
        if isinstance(value, dict):
            yield from ([value["$ref"]] if "$ref" in value else [])
            value = list(value.values())
        if isinstance(value, list):
            for one in value:
                yield from references(one)

    found = {one.removeprefix("#/components/schemas/") for one in references(document)}
    assert {"Result", "ErrorBody", "Job"} <= found <= schemas.keys()
    parameters = document["paths"]["/api/v1/jobs"]["post"]["parameters"]
    assert {one["name"]: one["schema"]["type"] for one in parameters} == {
        "model": "array",
        "operating_point": "string",
        "explain": "boolean",
        "stability": "boolean",
        "frames": "integer",
        "dense": "boolean",
    }


def test_a_fuzzer_finds_nothing_that_is_not_in_the_document(start_server, served_run, tmp_path):
    server = start_server(served_run, "--workers", 1, folder=tmp_path)
    schemathesis = Path(sys.executable).with_name("st")
    command = [
        str(schemathesis), "run", f"{server.url}/api/v1/openapi.json",
        "--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", "15",
        "--generation-deterministic", "--no-color",
        "--warnings", "off",
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert server.stop() == 0
    assert not any("Traceback" in line for line in server.log)

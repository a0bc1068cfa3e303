"""Requests made from ``openapi.json``, fit and unfit, to every endpoint: an answer of its schema, and never a fault.

Not ``/v1/events``, whose answer does not end (``watch/test_events.py`` has what it refuses), nor what breaks the host.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.popbox.serve.api import TOKEN, Api
from tests.popbox.serve.mailing import until
from tests.popbox.standin import standin

from popbox.serve.app import SCHEMA

SPEC = json.loads(SCHEMA.read_text())
DIALECT = "https://json-schema.org/draft/2020-12/schema"
OPERATIONS = [
    (method.upper(), path, said) for path, of in SPEC["paths"].items() for method, said in of.items()
    if path.split("/")[2:3] not in (["events"], ["faults"], ["scenarios"])
]  # fmt: skip
STARTS_PROGRAMS = {"/readyz", "/v1/explain", "/v1/accounts", "/v1/lint", "/v1/queue"}  # each of their answers costs
UNHURRIED = settings(
    derandomize=True, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
WITHIN = st.sampled_from(["1ms", "0s", "5ms", "-1s", "1e9s", "99h", "s", ""])
ODD = st.one_of(
    st.sampled_from(["", "\0", "-1", "9" * 30, "1e5", "null", "%00", "..", "\U0001f4e7", "x" * 3_000, "a\r\nb: c"]),
    st.text(max_size=20),
)
ODDER = st.one_of(ODD, st.none(), st.integers(), st.booleans(), st.lists(st.none(), max_size=1), st.just({"x": 1}))


def fit(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What a schema of ours takes."""
    if name := schema.get("$ref"):
        return fit(SPEC["components"]["schemas"][name.rpartition("/")[2]])
    if kinds := schema.get("anyOf"):
        return st.one_of([fit(one) for one in kinds])
    if among := schema.get("enum"):
        return st.sampled_from(among)
    most = min(schema.get("maxLength", 30), 40)
    match schema["type"]:
        case "object":
            members = {name: fit(one) for name, one in schema["properties"].items()}
            wanted = {name: members.pop(name) for name in schema.get("required", [])}
            return st.fixed_dictionaries(wanted, optional=members)
        case "array":
            return st.lists(fit(schema["items"]), min_size=schema.get("minItems", 0), max_size=3)
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    if pattern := schema.get("pattern"):
        return st.from_regex(pattern).filter(lambda said: len(said) <= schema.get("maxLength", 2_000))
    return st.text(min_size=schema.get("minLength", 0), max_size=most)


def asked(said: dict[str, Any], where: str, ids: list[int]) -> st.SearchStrategy[dict[str, Any]]:
    """The parameters of an operation in the path or the query; ``within`` always, whose default waits."""
    listed = {one["name"]: one for one in said.get("parameters", ()) if one["in"] == where}
    known = {"within": WITHIN, "id": st.sampled_from(ids), "number": st.integers(1, 3)}
    made = {name: st.one_of(known.get(name, fit(one["schema"])), fit(one["schema"]), ODD)
            for name, one in listed.items() if name != "within"}  # fmt: skip
    always = {name: made.pop(name) for name, one in listed.items() if name in made and one["required"]}
    always |= {"within": WITHIN} if "within" in listed else {}
    return st.fixed_dictionaries(always, optional={**made, "nonesuch": ODD} if where == "query" else made)


def bodies(said: dict[str, Any]) -> st.SearchStrategy[bytes]:
    if "requestBody" not in said:
        return st.just(b"")
    schema = said["requestBody"]["content"]["application/json"]["schema"]
    name = schema["$ref"].rpartition("/")[2]
    members = SPEC["components"]["schemas"][name]["properties"]
    spoilt = st.dictionaries(st.sampled_from([*members, "nonesuch"]), ODDER, max_size=2)
    mixed = st.tuples(fit(schema), st.one_of(st.just({}), spoilt)).map(lambda both: {**both[0], **both[1]})
    return st.one_of(mixed.map(lambda one: json.dumps(one).encode()), mixed.map(repr).map(str.encode), st.binary())


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A host with mail."""
    with standin(tmp_path_factory.mktemp("state")) as up, Api(up, tmp_path_factory.mktemp("store")) as api:
        space = api.space()
        for number in range(2):
            wanted = {"to": [f"a@{space['domain']}"], "subject": f"{number}", "html": "<a href='x'>\0", "attachments": [
                {"name": "a\u202eb.txt", "content": "eA=="}]}  # fmt: skip
            assert api.post("/v1/messages", wanted)[0] == 200
        yield api


@pytest.fixture(scope="module")
def ids(api: Api) -> list[int]:
    """Of its messages and journeys."""

    def ended() -> Any:
        found = api.get("/v1/journeys")[1]["journeys"]
        return found if len(found) == 2 and all(one["ended"] and one["messages"] for one in found) else None

    return [number for one in until(ended) for number in (one["id"], *one["messages"])]


def answered(api: Api, method: str, url: str, body: bytes = b"", **more: Any) -> httpx.Response:
    async def answer() -> httpx.Response:
        over = httpx.ASGITransport(api.app, raise_app_exceptions=False)
        headers = {"popbox-token": TOKEN, **({"content-type": "application/json"} if method == "POST" else {})}
        async with httpx.AsyncClient(transport=over, base_url="http://127.0.0.1:8025", headers=headers) as client:
            return await client.request(method, url, content=body, **more)

    return asyncio.run(answer())


def judge(said: dict[str, Any], answer: httpx.Response) -> None:
    assert answer.status_code < 500, answer.text
    told = said["responses"].get(str(answer.status_code))
    assert told or answer.status_code >= 400, "a success that openapi.json does not know"
    content = (told or said["responses"]["default"])["content"]
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in content
    if kind == "application/json":
        schema = {"$schema": DIALECT, "components": SPEC["components"], **content[kind]["schema"]}
        jsonschema.validate(answer.json(), schema)


@pytest.mark.parametrize(("method", "path", "said"), OPERATIONS, ids=[f"{one[0]} {one[1]}" for one in OPERATIONS])
def test_any_request_is_answered_by_the_schema(
    api: Api, ids: list[int], method: str, path: str, said: dict[str, Any]
) -> None:
    """50 cases each, 3 where each starts programs or changes the host; the same ones every time."""
    cases = 3 if path in STARTS_PROGRAMS or method != "GET" else 50

    @settings(UNHURRIED, max_examples=cases)
    @given(asked(said, "path", ids), asked(said, "query", ids), bodies(said))
    def one(names: dict[str, Any], query: dict[str, Any], body: bytes) -> None:
        quoted = {name: quote(str(value).encode(), safe="") for name, value in names.items()}
        url = path.format(**quoted)
        judge(said, answered(api, method, url, body, params=query))

    one()

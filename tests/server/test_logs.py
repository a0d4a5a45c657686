"""Log lines: one a request, with its id, without what a query holds."""

import aiohttp
import orjson

from tests.backing import Backing
from tests.web import Web

SECRET = "not-for-any-log"


async def test_a_request_is_one_line_with_its_id_and_no_query(http: aiohttp.ClientSession, migrated: Backing) -> None:
    for log_format in ("json", "text"):
        web = Web.start(migrated.env, LOG_FORMAT=log_format).ready()
        async with http.get(
            f"{web.url}/healthz?access_token={SECRET}", headers={"X-Request-Id": "request-7", "Connection": "close"}
        ) as answer:
            assert answer.headers["X-Request-Id"] == "request-7"
        assert web.stop() == 0
        [line] = [line for line in web.output().splitlines() if "request-7" in line]
        assert SECRET not in web.output()
        if log_format == "json":
            told = orjson.loads(line)
            assert (told["method"], told["path"], told["status"]) == ("GET", "/healthz", 200)
            assert told["requestId"] == "request-7" and told["ms"] >= 0
            assert all(orjson.loads(each) for each in web.output().splitlines())
        else:
            assert "INFO access [request-7] GET /healthz 200" in line

"""The page and its files, as a browser gets them."""

import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from handlers import pages

Client = TestClient[web.Request, web.Application]


@pytest.fixture
def app() -> web.Application:
    app = web.Application()
    pages.setup(app)
    return app


@pytest.fixture
async def client(app: web.Application) -> AsyncIterator[Client]:
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_the_page_allows_its_own_scripts_only(client: Client) -> None:
    response = await client.get("/")
    assert response.status == 200
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "same-origin"
    inline = re.findall(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=", await response.text())
    assert inline == [], "the policy forbids it"


async def test_all_that_the_page_names_is_there(client: Client) -> None:
    names = re.findall(r'(?:src|href)="(/[^"]+)"', await (await client.get("/")).text())
    assert "/static/js/app.js" in names and "/static/css/base.css" in names
    for name in names:
        assert (await client.get(name)).status == 200, name


async def test_a_file_is_sent_again_only_when_it_changed(client: Client) -> None:
    first = await client.get("/static/js/app.js")
    assert first.headers["Cache-Control"] == "no-cache"
    assert "javascript" in first.content_type
    again = await client.get("/static/js/app.js", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status == 304


async def test_nothing_beside_the_files_is_served(client: Client) -> None:
    for name in ("/static/templates/index.html", "/static/js/", "/static/js/..%2ftemplates/index.html"):
        assert (await client.get(name)).status in (403, 404), name

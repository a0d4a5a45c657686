"""A real browser's EventSource goes on after its process was replaced, and misses nothing."""

import asyncio

import aiohttp
import pytest
from playwright.async_api import async_playwright

from tests.backing import Backing
from tests.web import Web, free_port, people, start_many

CHROMIUM = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]

LISTEN = """([token, topic]) => {
  window.heard = [];
  window.subscribed = 0;
  const source = new EventSource(`/events?topic=${topic}&access_token=${token}`);
  source.addEventListener("subscribed", (event) => {
    window.subscribed += 1;
    window.recovered = JSON.parse(event.data).topics.map((topic) => topic.recovered);
  });
  source.addEventListener("MessageReceived", (event) => window.heard.push(JSON.parse(event.data).data.text));
}"""


@pytest.mark.slow
async def test_an_event_source_resumes_by_itself(migrated: Backing) -> None:
    port = str(free_port())
    web = await asyncio.to_thread(Web.start(migrated.env, PORT=port).ready)
    [other] = await asyncio.to_thread(start_many, migrated.env, 1)
    async with aiohttp.ClientSession() as http, async_playwright() as playwright:
        ann, bob = await people(http, other.url, 2)
        conversation_id = await ann.direct(bob)
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        page = await (await browser.new_context(bypass_csp=True)).new_page()  # to wait for expressions in it
        await page.goto(web.url)
        await page.evaluate(LISTEN, [bob.tokens["accessToken"], f"conv:{conversation_id}"])
        await page.wait_for_function("window.subscribed === 1")
        await ann.send(conversation_id, "one")
        await page.wait_for_function("window.heard.length === 1")
        assert await asyncio.to_thread(web.stop) == 0
        await ann.send(conversation_id, "two")
        await ann.send(conversation_id, "three")
        web = await asyncio.to_thread(Web.start(migrated.env, PORT=port).ready)
        await page.wait_for_function("window.subscribed >= 2")
        await ann.send(conversation_id, "four")
        await page.wait_for_function("window.heard.length >= 4")
        assert await page.evaluate("window.heard") == ["one", "two", "three", "four"]
        await page.wait_for_function("window.recovered.every((each) => each === true)")
        await browser.close()
    for process in (web, other):
        assert await asyncio.to_thread(process.stop) == 0

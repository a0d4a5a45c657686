"""Two people in two browsers: what the page promises, on a running web process."""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

FLAGS = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
PASSWORD = "correct horse battery"


@dataclass
class Person:
    page: Page
    username: str
    display_name: str

    async def open_conversation(self, *usernames: str, title: str = "") -> None:
        await self.page.get_by_role("button", name="New conversation").click()
        await self.page.get_by_label("User names").fill(", ".join(usernames))
        if title:
            await self.page.get_by_label("Title of the group").fill(title)
        await self.page.locator(".start-dialog button[type=submit]").click()
        await expect(self.page.get_by_label("Message", exact=True)).to_be_visible()

    async def choose(self, name: str) -> None:
        await self.page.locator(".conversation-item", has_text=name).get_by_role("link").click()

    async def is_ready_to_answer(self) -> None:
        """Where a stranger's messages are a request, accepting it comes first."""
        accept = self.page.get_by_role("button", name="Accept")
        message = self.page.get_by_role("textbox", name="Message", exact=True)
        await expect(accept.or_(message)).to_be_visible()
        if await accept.is_visible():
            await accept.click()
        await expect(message).to_be_visible()

    async def write(self, text: str) -> None:
        await self.page.get_by_label("Message", exact=True).fill(text)
        await self.page.get_by_role("button", name="Send").click()

    async def sees(self, *texts: str) -> None:
        """Exactly these messages, in this order, and none of them still under way."""
        await expect(self.page.locator(".message-item .text")).to_have_text(list(texts))
        await expect(self.page.get_by_text("Sending…")).to_have_count(0)

    async def is_connected(self) -> None:
        await expect(self.page.get_by_text("Connected")).to_be_visible()


class Line:
    """A network line to the server that can be cut: connections break, new ones are refused, until it is mended."""

    def __init__(self, host: str, port: int) -> None:
        self.target = host, port
        self.writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def mend(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self.target)
        self.writers |= {writer, far_writer}
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        self.writers -= {writer, far_writer}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield browser
        pages = [page for context in browser.contexts for page in context.pages]
        faults = [str(error) for page in pages for error in await page.page_errors()]
        messages = [message.text for page in pages for message in await page.console_messages()]
        assert faults + [text for text in messages if "Content Security Policy" in text] == []
        await browser.close()


@pytest.fixture
async def line(web_url: str) -> AsyncIterator[Line]:
    url = urlsplit(web_url)
    line = Line(url.hostname or "127.0.0.1", url.port or 80)
    await line.mend()
    yield line
    await line.cut()


@pytest.fixture
async def ada(browser: Browser, web_url: str) -> Person:
    return await _register(browser, web_url, "Ada")


@pytest.fixture
async def bob(browser: Browser, line: Line) -> Person:
    return await _register(browser, f"http://127.0.0.1:{line.port}", "Bob")


@pytest.fixture
async def talk(ada: Person, bob: Person) -> None:
    """Ada wrote to Bob, who has it open."""
    await ada.open_conversation(bob.username)
    await ada.write("Hello Bob")
    await bob.choose(ada.display_name)
    await bob.is_ready_to_answer()
    await bob.sees("Hello Bob")


async def _register(browser: Browser, url: str, name: str) -> Person:
    context = await browser.new_context()
    context.set_default_timeout(15_000)
    page = await context.new_page()
    username = f"{name.lower()}_{secrets.token_hex(4)}"
    await page.goto(url)
    await page.get_by_role("radio", name="Register").check()
    await page.get_by_label("User name", exact=True).fill(username)
    await page.get_by_label("E-mail", exact=True).fill(f"{username}@example.org")
    await page.get_by_label("Name to show").fill(f"{name} {username[-4:]}")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Create account").click()
    person = Person(page, username, f"{name} {username[-4:]}")
    await person.is_connected()
    return person


async def test_messages_reach_both_sides_live(talk: None, ada: Person, bob: Person) -> None:
    await bob.write("Hello Ada")
    await ada.write("<b>How are you?</b>")
    await ada.sees("Hello Bob", "Hello Ada", "<b>How are you?</b>")
    await bob.sees("Hello Bob", "Hello Ada", "<b>How are you?</b>")


async def test_typing_shows_and_goes(talk: None, ada: Person, bob: Person) -> None:
    typing = bob.page.get_by_text(f"{ada.display_name} is typing…")
    await ada.page.get_by_label("Message", exact=True).press_sequentially("Hm")
    await expect(typing).to_be_visible()
    await ada.page.get_by_label("Message", exact=True).fill("")
    await expect(typing).to_have_count(0)


async def test_the_sender_sees_that_it_was_read(talk: None, ada: Person, bob: Person) -> None:
    note = ada.page.locator(".message-item .note").last
    await expect(note).to_have_text("Read")
    await bob.page.goto(f"{bob.page.url.split('#')[0]}#/chat")
    await ada.write("And this?")
    await expect(note).to_have_text("Sent")
    await bob.choose(ada.display_name)
    await expect(note).to_have_text("Read")


async def test_unread_messages_are_counted_until_they_are_seen(talk: None, ada: Person, bob: Person) -> None:
    await bob.page.goto(f"{bob.page.url.split('#')[0]}#/chat")
    for text in ("One", "Two"):
        await ada.write(text)
    item = bob.page.locator(".conversation-item", has_text=ada.display_name)
    await expect(item.locator(".unread")).to_have_text("2 unread")
    await bob.choose(ada.display_name)
    await expect(item.locator(".unread")).to_be_hidden()


async def test_a_reload_keeps_session_and_conversation(talk: None, ada: Person) -> None:
    await ada.page.reload()
    await ada.is_connected()
    await ada.sees("Hello Bob")


async def test_a_dropped_connection_loses_nothing_in_either_direction(
    talk: None, ada: Person, bob: Person, line: Line
) -> None:
    await line.cut()
    await expect(bob.page.get_by_text("Connected")).to_have_count(0)
    await ada.write("While you were away")
    await bob.write("Written offline")
    await expect(bob.page.get_by_text("Sending…")).to_be_visible()
    await ada.sees("Hello Bob", "While you were away")
    await line.mend()
    await bob.page.evaluate("window.dispatchEvent(new Event('online'))")
    await bob.sees("Hello Bob", "While you were away", "Written offline")
    await ada.sees("Hello Bob", "While you were away", "Written offline")


async def test_a_group_has_a_title_and_names(ada: Person, bob: Person, browser: Browser, web_url: str) -> None:
    eve = await _register(browser, web_url, "Eve")
    await ada.open_conversation(bob.username, eve.username, title="Three of us")
    await ada.write("Hello both")
    for person in (bob, eve):
        await person.choose("Three of us")
        await expect(person.page.locator(".message-item .text").last).to_have_text("Hello both")
        await expect(person.page.locator(".message-item .author").last).to_have_text(ada.display_name)


async def test_logging_out_ends_the_session(ada: Person) -> None:
    await ada.page.get_by_role("button", name="Log out").click()
    await expect(ada.page.get_by_role("button", name="Log in")).to_be_visible()
    await ada.page.reload()
    await expect(ada.page.get_by_role("button", name="Log in")).to_be_visible()


UNNAMED = """() => [...document.querySelectorAll('input, textarea, button, a[href], select, [role=log], nav, img')]
  .filter((el) => el.checkVisibility())
  .filter((el) => !(el.labels?.length || el.getAttribute('aria-label') || el.getAttribute('aria-labelledby')
    || el.textContent.trim() || el.hasAttribute('alt')))
  .map((el) => el.outerHTML)"""


async def test_every_control_has_a_name(talk: None, ada: Person, browser: Browser, web_url: str) -> None:
    assert await ada.page.evaluate(UNNAMED) == []
    await ada.page.get_by_role("button", name="New conversation").click()
    assert await ada.page.evaluate(UNNAMED) == []
    page = await browser.new_page()
    await page.goto(web_url)
    await expect(page.get_by_label("User name or e-mail")).to_be_visible()
    assert await page.evaluate(UNNAMED) == []


async def test_nothing_overflows_on_a_phone(talk: None, ada: Person) -> None:
    await ada.page.set_viewport_size({"width": 360, "height": 640})
    await ada.write("word" * 60)
    await expect(ada.page.locator(".message-item")).to_have_count(2)
    assert await ada.page.evaluate("document.documentElement.scrollWidth") <= 360
    await ada.page.get_by_label("Back to conversations").click()
    await expect(ada.page.get_by_role("button", name="New conversation")).to_be_visible()
    assert await ada.page.evaluate("document.documentElement.scrollWidth") <= 360

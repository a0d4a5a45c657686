"""Whatever exists is documented: settings, events, methods, close codes, commands, modules."""

import re
from pathlib import Path

import pytest

from handlers.methods import METHODS
from protocols.events import KINDS
from protocols.websocket import Close
from settings import Settings

ROOT = Path(__file__).resolve().parents[1]
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
INTERNAL = {"UserSuspended", "RolesChanged", "AccessChanged"}  # of `control`, which no client hears


@pytest.mark.parametrize("event", sorted(set(KINDS) - INTERNAL))
def test_every_event_is_in_the_protocol(event: str) -> None:
    assert f"`{event}`" in PROTOCOL


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_is_in_the_protocol(method: str) -> None:
    assert f"`{method}" in PROTOCOL


@pytest.mark.parametrize("code", sorted(Close))
def test_every_close_code_is_in_the_protocol(code: Close) -> None:
    assert re.search(rf"^\| {code} \|", PROTOCOL, re.MULTILINE)


@pytest.mark.parametrize("setting", sorted(Settings.model_fields))
def test_every_setting_is_in_the_readme(setting: str) -> None:
    assert f"`{setting.upper()}`" in README


@pytest.mark.parametrize("command", ["run", "test", "test-fast"])
def test_every_command_of_the_readme_exists(command: str) -> None:
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([\w./-]+)\)", README))))
def test_every_link_of_the_readme_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:\w+/)+\w+\.\w+)`", ARCHITECTURE + README))))
def test_every_file_that_is_named_exists(name: str) -> None:
    assert (ROOT / name).exists()

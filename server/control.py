"""What a process hears for itself: the `control` topic, which ends access, and messages, which teach the rosters."""

import asyncio
import logging
from collections.abc import Sequence

from protocols.errors import Failure
from protocols.events import Entry
from realtime.channel import Channel
from realtime.connections import Connections
from realtime.hub import Hub
from realtime.resume import Resume
from services.access import Access
from services.chat.roster import Rosters
from services.revocations import Revocations, parse_control

log = logging.getLogger(__name__)

TOPIC = "control"
COMPARE_S = 1.0


class Control:
    def __init__(self, rosters: Rosters, revocations: Revocations) -> None:
        self._rosters, self._revocations = rosters, revocations
        self._lost = False

    def hear(self, topic: str, entries: Sequence[Entry]) -> None:
        if topic != TOPIC:
            self._rosters.hear(topic, entries)
            return
        for entry in entries:
            if entry.type in ("SessionRevoked", "UserSuspended", "RolesChanged"):
                self._revocations.apply(parse_control(entry.data))

    def lost(self, topic: str) -> None:
        if topic == TOPIC:
            self._lost = True

    async def run(self, hub: Hub, connections: Connections, access: Access, resume: Resume) -> None:
        """Follow `control` for ever, compare it each second, and authorise everything again where it was lost."""
        channel: Channel | None = None
        while True:
            if channel is None:
                opened = (await hub.open([TOPIC]))[TOPIC]
                channel = opened if isinstance(opened, Channel) else None
                self._lost = self._lost or channel is not None
            else:
                await hub.compare(channel)
            if self._lost:
                self._lost = not await authorise_again(connections, access, resume)
            await asyncio.sleep(COMPARE_S)


async def authorise_again(connections: Connections, access: Access, resume: Resume) -> bool:
    """End what is no longer allowed; whether all could be asked for."""
    for connection in list(connections):
        try:
            verdicts = await access.judge(connection.viewer, list(connection.topics))
        except Failure as failure:
            log.warning("subscriptions can't be authorised again yet: %s", failure)
            return False
        ended = [topic for topic, refusal in verdicts.items() if refusal is not None and topic in connection.topics]
        for topic in ended:
            resume.leave(connection, topic)
        if ended:
            connection.unsubscribed(ended, "not_member", "You may not follow this any more.")
    return True

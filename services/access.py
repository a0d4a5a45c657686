"""Who may follow which topic. Absent and forbidden are one answer, found by the same store calls."""

from collections.abc import Sequence

from protocols.errors import Failure, not_found
from protocols.identity import Viewer
from protocols.ids import is_id
from stores.conversations import Conversations


class Access:
    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations

    async def judge(self, viewer: Viewer, topics: Sequence[str]) -> dict[str, Failure | None]:
        """For each topic None, or why not; one query for all conversations."""
        conversations = [topic[5:] for topic in topics if topic.startswith("conv:") and is_id(topic[5:])]
        mine = await self._conversations.memberships(viewer.user_id, conversations) if conversations else set()
        allowed = {f"user:{viewer.user_id}"} | {f"conv:{conversation_id}" for conversation_id in mine}
        return {topic: None if topic in allowed else not_found("topic") for topic in topics}

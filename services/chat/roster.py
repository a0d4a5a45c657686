"""What a process holds of a conversation: the newest seq that it knows of, and the member rows as of that message.

"Newest known" and "authorised as of" are one number, `as_of`. A message stored at as_of + 1 was authorised rightly:
had a removal come between, that seq would be taken.
"""

from collections import OrderedDict
from collections.abc import Sequence

from protocols.errors import not_found
from protocols.events import Entry
from stores.conversations import Conversations, Member
from stores.messages import Message, Messages

ROSTERS_MAX = 20_000
MEMBERS_MAX = 2_000  # rows of one conversation; more are read again
CATCH_UP_MESSAGES = 500


class Roster:
    __slots__ = ("as_of", "conversation_id", "members")

    def __init__(self, conversation_id: str, as_of: int) -> None:
        self.conversation_id, self.as_of = conversation_id, as_of
        self.members: dict[str, Member] = {}


class Rosters:
    """The newest used, up to a limit. Dropping one costs a read, never correctness."""

    def __init__(self, conversations: Conversations, messages: Messages) -> None:
        self._conversations, self._messages = conversations, messages
        self._known: OrderedDict[str, Roster] = OrderedDict()

    async def member(self, conversation_id: str, user_id: str, as_of: int = 0) -> tuple[Roster, Member]:
        """The conversation as this process knows it, and the user's row, as of that message or later. Raises Failure
        (conversation_not_found), the same whether there is no such conversation or the user is not in it."""
        roster = self._known.get(conversation_id)
        if roster is not None and roster.as_of < as_of:
            await self.catch_up(roster)
        if roster is not None and (member := roster.members.get(user_id)) is not None:
            self._known.move_to_end(conversation_id)
            return roster, member
        while True:
            # The row is read after the newest seq, so that it is as of that message or later.
            seq = await self._messages.newest_seq(conversation_id)
            row = await self._conversations.member(conversation_id, user_id)
            if row is None:
                raise not_found("conversation")
            roster = self._known.get(conversation_id)
            if roster is None:
                roster = self._known[conversation_id] = Roster(conversation_id, seq)
                if len(self._known) > ROSTERS_MAX:
                    self._known.popitem(last=False)
            if seq >= roster.as_of:
                break
        if len(roster.members) >= MEMBERS_MAX:
            roster.members.clear()
        roster.members[user_id] = row
        return roster, row

    def drop(self, conversation_id: str) -> None:
        self._known.pop(conversation_id, None)

    async def catch_up(self, roster: Roster) -> None:
        """Apply what others stored since. Who is far behind forgets the rows, and stands at the newest."""
        newer = await self._messages.after(roster.conversation_id, roster.as_of, CATCH_UP_MESSAGES)
        for message in newer:
            apply(roster, message.seq, message.kind)
        if len(newer) == CATCH_UP_MESSAGES:
            newest = await self._messages.newest_seq(roster.conversation_id)
            if newest > roster.as_of:
                roster.as_of = newest
                roster.members.clear()

    def hear(self, topic: str, entries: Sequence[Entry]) -> None:
        """What a hub hands out teaches the roster, too: the next send needs no second try."""
        roster = self._known.get(topic[5:]) if topic.startswith("conv:") else None
        if roster is None:
            return
        for entry in entries:
            if entry.type == "MessageReceived":
                seq, kind = read_key(entry.key)
                if seq == roster.as_of + 1:
                    apply(roster, seq, kind)


def apply(roster: Roster, seq: int, kind: str) -> None:
    """The next message. A system message tells of a change of members: their rows are read anew when needed."""
    if seq <= roster.as_of:
        return
    roster.as_of = seq
    if kind == "system":
        roster.members.clear()


def message_key(message: Message) -> str:
    """The `key` of a MessageReceived: what a roster needs to know without decoding its data."""
    return f"{message.seq}:{message.kind}"


def read_key(key: str) -> tuple[int, str]:
    seq, _, kind = key.partition(":")
    return int(seq), kind

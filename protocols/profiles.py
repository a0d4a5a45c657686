"""Profiles on the wire."""

from protocols.contracts import Dto, Time


class UserProfileDto(Dto):
    user_id: str
    username: str
    display_name: str
    bio: str
    avatar_url: str | None
    banner_url: str | None
    created_at: Time

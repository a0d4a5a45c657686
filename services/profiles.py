"""Who people are to others."""

from collections.abc import Iterable
from datetime import datetime

from protocols.contracts import PersonDto
from protocols.errors import not_found
from protocols.profiles import UserProfileDto
from protocols.times import iso
from stores.profiles import Profile
from stores.profiles import Profiles as ProfileStore


class Profiles:
    def __init__(self, profiles: ProfileStore) -> None:
        self._profiles = profiles

    async def create(self, user_id: str, username: str, display_name: str, created_at: datetime) -> None:
        """Idempotent: a profile that is there stays as it is."""
        await self._profiles.create(Profile(user_id, username, display_name, "", None, None, created_at))

    async def get(self, user_id: str) -> UserProfileDto:
        """Raises Failure (profile_not_found)."""
        return _dto(await self._profiles.get(user_id))

    async def by_username(self, username: str) -> UserProfileDto:
        """Raises Failure (profile_not_found)."""
        return _dto(await self._profiles.by_username(username.lower()))

    async def of(self, user_ids: Iterable[str]) -> list[UserProfileDto]:
        """Those who exist, in the order asked for; one query."""
        wanted = list(dict.fromkeys(user_ids))
        known = {profile.user_id: profile for profile in await self._profiles.get_many(wanted)}
        return [_dto(known[user_id]) for user_id in wanted if user_id in known]

    async def persons(self, user_ids: Iterable[str]) -> dict[str, PersonDto]:
        """Those who exist, by id; one query."""
        wanted = set(user_ids)
        return {p.user_id: _person(p) for p in await self._profiles.get_many(wanted)} if wanted else {}


def _dto(profile: Profile | None) -> UserProfileDto:
    if profile is None:
        raise not_found("profile")
    return UserProfileDto(
        userId=profile.user_id,
        username=profile.username,
        displayName=profile.display_name,
        bio=profile.bio,
        avatarUrl=profile.avatar_url,
        bannerUrl=profile.banner_url,
        createdAt=iso(profile.created_at),
    )


def _person(profile: Profile) -> PersonDto:
    return PersonDto(
        userId=profile.user_id,
        username=profile.username,
        displayName=profile.display_name,
        avatarUrl=profile.avatar_url,
    )

"""Profiles in MongoDB. Each method is one round trip and raises Failure (unavailable)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo.errors import DuplicateKeyError

from stores.mongo import Database, reaching


@dataclass(frozen=True, slots=True)
class Profile:
    user_id: str
    username: str
    display_name: str
    bio: str
    avatar_url: str | None
    banner_url: str | None
    created_at: datetime


class Profiles:
    def __init__(self, database: Database) -> None:
        self._profiles = database["profiles"]

    async def create(self, profile: Profile) -> None:
        """Make it, unless it is there already."""
        document = {
            "username": profile.username,
            "displayName": profile.display_name,
            "bio": profile.bio,
            "avatarUrl": profile.avatar_url,
            "bannerUrl": profile.banner_url,
            "createdAt": profile.created_at,
        }
        with reaching():
            try:
                await self._profiles.update_one({"_id": profile.user_id}, {"$setOnInsert": document}, upsert=True)
            except DuplicateKeyError:
                pass  # two at once: the other one made it

    async def get(self, user_id: str) -> Profile | None:
        with reaching():
            found = await self._profiles.find_one({"_id": user_id})
        return None if found is None else _profile(found)

    async def by_username(self, username: str) -> Profile | None:
        with reaching():
            found = await self._profiles.find_one({"username": username})
        return None if found is None else _profile(found)

    async def get_many(self, user_ids: Iterable[str]) -> list[Profile]:
        with reaching():
            found = await self._profiles.find({"_id": {"$in": list(user_ids)}}).to_list(None)
        return [_profile(document) for document in found]


def _profile(document: Mapping[str, Any]) -> Profile:
    return Profile(
        user_id=document["_id"],
        username=document["username"],
        display_name=document["displayName"],
        bio=document["bio"],
        avatar_url=document["avatarUrl"],
        banner_url=document["bannerUrl"],
        created_at=document["createdAt"],
    )

"""People."""

from handlers.answers import Reply
from handlers.endpoints import Call, Endpoints
from handlers.keys import PROFILES
from protocols.profiles import UserProfileDto

endpoints = Endpoints("profiles")


@endpoints.get("/api/profiles/by-username/{username}", public=True)
async def by_username(call: Call) -> Reply[UserProfileDto]:
    return Reply(await call.app[PROFILES].by_username(call.path("username")))


@endpoints.get("/api/profiles/{profileId}", public=True)
async def profile(call: Call) -> Reply[UserProfileDto]:
    return Reply(await call.app[PROFILES].get(call.path("profileId")))

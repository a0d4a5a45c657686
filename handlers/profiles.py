"""People."""

from handlers.answers import Reply
from handlers.endpoints import Call, Endpoints
from handlers.keys import PROFILES
from protocols.profiles import ProfilesQuery, UserProfileDto

endpoints = Endpoints("profiles")


@endpoints.get("/api/profiles", public=True)
async def profiles(call: Call, query: ProfilesQuery) -> Reply[list[UserProfileDto]]:
    return Reply(await call.app[PROFILES].of(query.ids))


@endpoints.get("/api/profiles/by-username/{username}", public=True)
async def by_username(call: Call) -> Reply[UserProfileDto]:
    return Reply(await call.app[PROFILES].by_username(call.path("username")))


@endpoints.get("/api/profiles/{profileId}", public=True)
async def profile(call: Call) -> Reply[UserProfileDto]:
    return Reply(await call.app[PROFILES].get(call.path("profileId")))

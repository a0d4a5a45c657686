"""Who is asking."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Viewer:
    """One verified access token. `expires_at` is in seconds since the epoch."""

    user_id: str
    session_id: str
    username: str
    roles: tuple[str, ...]
    expires_at: float

"""Where handlers find what they call: typed keys of the application's state."""

import asyncio

from aiohttp import web

from realtime.connections import Connections
from realtime.resume import Resume
from services.access import Access
from services.auth import Auth
from services.chat.conversations import Conversations
from services.chat.reading import Reading
from services.chat.sending import Sender
from services.health import Health
from services.profiles import Profiles
from services.rates import Rates
from services.sockets import Sockets
from services.tokens import Tokens
from settings import Settings

SETTINGS = web.AppKey("settings", Settings)
AUTH = web.AppKey("auth", Auth)
RATES = web.AppKey("rates", Rates)
PROFILES = web.AppKey("profiles", Profiles)
CONVERSATIONS = web.AppKey("conversations", Conversations)
READING = web.AppKey("reading", Reading)
SENDER = web.AppKey("sender", Sender)
ACCESS = web.AppKey("access", Access)
SOCKETS = web.AppKey("sockets", Sockets)
RESUME = web.AppKey("resume", Resume)
CONNECTIONS = web.AppKey("connections", Connections)
TOKENS = web.AppKey("tokens", Tokens)
HEALTH = web.AppKey("health", Health)
STOP = web.AppKey("stop", asyncio.Event)  # set: the process drains and ends

"""Whether this process lives, and whether it can serve."""

import orjson
from aiohttp import web

from handlers.keys import CONNECTIONS, HEALTH


async def healthz(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """200 where every backing service answers and the process does not drain; each one's state in the body."""
    draining = request.app[CONNECTIONS].draining
    services = await request.app[HEALTH].look()
    ready = not draining and all(fault is None for fault in services.values())
    told = {name: "ok" if fault is None else fault for name, fault in services.items()}
    body = {"status": "ready" if ready else "draining" if draining else "degraded", "services": told}
    return web.Response(body=orjson.dumps(body), status=200 if ready else 503, content_type="application/json")


def setup(app: web.Application) -> None:
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)

"""The web client: its one page, and the files that the page loads."""

from pathlib import Path

import aiohttp_jinja2
import jinja2
from aiohttp import hdrs, web

STATIC = Path(__file__).resolve().parent.parent / "static"
TITLE = "WeChat"

# The page runs nothing but its own files: an injected script finds no way to run, nor to send what it read elsewhere.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "connect-src 'self' ws: wss:",
        "img-src 'self' data: blob: https:",
        "media-src 'self' blob: https:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    # Modules name each other without a version: asking whether they changed (ETag) keeps a deploy from mixing two.
    hdrs.CACHE_CONTROL: "no-cache",
}


async def index(request: web.Request) -> web.Response:
    return aiohttp_jinja2.render_template("index.html", request, {})


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    if request.path == "/" or request.path.startswith("/static/"):
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)


def setup(app: web.Application) -> None:
    templates = jinja2.FileSystemLoader(STATIC / "templates")
    environment = aiohttp_jinja2.setup(app, loader=templates, auto_reload=False)
    stylesheets = sorted(sheet.name for sheet in (STATIC / "css").glob("*.css"))
    environment.globals.update(title=TITLE, stylesheets=stylesheets)
    environment.get_template("index.html")  # read now: no request waits for the disk
    app.on_response_prepare.append(_add_headers)
    app.router.add_get("/", index)
    for folder in ("css", "js", "img"):
        app.router.add_static(f"/static/{folder}/", STATIC / folder)

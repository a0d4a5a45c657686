"""Around every request: its id, its one line in the log, and errors in the shape that the API promises."""

import logging
import re
import time
from collections.abc import Callable
from contextvars import ContextVar

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from handlers.answers import error
from handlers.keys import STOP
from protocols.errors import Failure, Kind
from protocols.ids import new_id

log = logging.getLogger(__name__)

AccessLog = Callable[[str, str, str, int, float], None]  # request id, method, path, status, milliseconds
ACCESS_LOG: web.AppKey[AccessLog] = web.AppKey("access_log")

REQUEST_ID = "X-Request-Id"
request_id: ContextVar[str] = ContextVar("request_id", default="-")
_GIVEN = re.compile(r"[A-Za-z0-9._-]{1,64}")

# What aiohttp itself refuses, in our words.
BY_STATUS = {
    400: Failure(Kind.MALFORMED, "malformed", "The request can't be read."),
    404: Failure(Kind.NOT_FOUND, "not_found", "There is nothing at this address."),
    405: Failure(Kind.MALFORMED, "method_not_allowed", "This address does not take that method."),
    413: Failure(Kind.TOO_LARGE, "too_large", "The body is too large."),
}
INTERNAL = Failure(Kind.UNAVAILABLE, "internal", "Something went wrong on our side; it has been logged.")


@web.middleware
async def envelope(request: web.Request, handler: Handler) -> web.StreamResponse:
    given = request.headers.get(REQUEST_ID, "")
    number = given if _GIVEN.fullmatch(given) else new_id()
    request_id.set(number)
    began = time.perf_counter()
    response = await answered(request, handler, number)
    if not response.prepared:
        response.headers[REQUEST_ID] = number
        if request.app[STOP].is_set():  # a client that comes again shall come to another process
            response.force_close()
    if (access := request.app.get(ACCESS_LOG)) is not None:
        access(number, request.method, request.path, response.status, (time.perf_counter() - began) * 1000)
    return response


async def answered(request: web.Request, handler: Handler, number: str) -> web.StreamResponse:
    try:
        return await handler(request)
    except Failure as failure:
        return error(failure, number)
    except web.HTTPException as refusal:
        if refusal.status < 400:
            raise
        known = BY_STATUS.get(refusal.status, BY_STATUS[400])
        response = error(known, number, refusal.status)
        if hdrs.ALLOW in refusal.headers:
            response.headers[hdrs.ALLOW] = refusal.headers[hdrs.ALLOW]
        return response
    except web.RequestPayloadError:  # chunks that are none, a Content-Encoding that the body hasn't
        return error(BY_STATUS[400], number)
    except ConnectionError:
        raise  # the client went away: there is nobody to answer
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return error(INTERNAL, number, 500)

"""`python -m workers [names]`: run the named consumers, all of them by default, until SIGTERM or SIGINT; then exit 0.

A consumer is a coroutine that runs until it is cancelled. One that ends by itself, or raises, ends the process with 1,
so that whoever started it starts it anew.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence

from settings import Settings, SettingsError
from workers import retention

CONSUMERS: dict[str, Callable[[Settings], Awaitable[None]]] = {"retention": retention.run}

log = logging.getLogger("workers")


async def serve(settings: Settings, names: Sequence[str]) -> int:
    """Returns the exit code."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    running = [asyncio.ensure_future(CONSUMERS[name](settings)) for name in names]
    stop = asyncio.ensure_future(stopped.wait())
    log.info("running %s", ", ".join(names))
    await asyncio.wait([stop, *running], return_when=asyncio.FIRST_COMPLETED)
    code = 0
    for name, task in zip(names, running, strict=True):
        if task.done():
            code = 1
            log.error("%s ended by itself", name, exc_info=task.exception())
    stop.cancel()
    for task in running:
        task.cancel()
    await asyncio.gather(stop, *running, return_exceptions=True)
    return code


def main(arguments: Sequence[str]) -> int:
    unknown = set(arguments) - set(CONSUMERS)
    if unknown:
        print(
            f"workers: no such consumer: {', '.join(sorted(unknown))}; there are {', '.join(CONSUMERS)}",
            file=sys.stderr,
        )
        return 2
    try:
        settings = Settings.load()
    except SettingsError as error:
        print(f"workers: {error}", file=sys.stderr)
        return 1
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return asyncio.run(serve(settings, arguments or list(CONSUMERS)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

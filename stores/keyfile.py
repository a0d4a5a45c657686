"""A secret that is made once and then kept in a file, however many processes start at once."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def read_or_make(path: Path, make: Callable[[], bytes]) -> bytes:
    """The file's bytes; where there is none, what `make` gives, kept with mode 0600. Blocks: for start-up only.

    The file appears whole: it is written under another name, and linked to its own only if none has been faster.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # O_EXCL, 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was faster: its file counts
    finally:
        os.unlink(draft)
    return path.read_bytes()

"""Run a command that ends when its parent does: python -I -S bound.py SIGNAL PARENT UID COMMAND [ARGUMENT...]

A script of its own, not a preexec_fn: that one forbids vfork and may dead-lock in a program with threads.
UID -1 keeps the user. COMMAND is a path: the user may not be able
to read Python's library any more. The process id stays the same throughout (exec, no fork).
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(signal_number: int, parent: int, uid: int, command: list[str]) -> None:
    if uid >= 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    if sys.platform == "linux":  # after setuid, which clears it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit("the parent is gone")
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])

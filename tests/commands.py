"""What a process asks of MongoDB, command by command."""

from collections.abc import Iterator
from typing import Any

from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

Command = dict[str, Any]

ASKS = ("find", "aggregate", "insert", "update", "delete", "findAndModify", "count", "distinct")
# What is the driver's and not the question's.
AROUND = {"lsid", "$clusterTime", "$db", "$readPreference", "txnNumber", "startTransaction", "autocommit"}


class Commands(CommandListener):
    """All since `clear`, each as it was sent, without what the driver adds."""

    def __init__(self) -> None:
        self.seen: list[Command] = []

    def clear(self) -> None:
        self.seen.clear()

    @property
    def names(self) -> list[str]:
        return [next(iter(command)) for command in self.seen]

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in ASKS:
            self.seen.append({name: part for name, part in event.command.items() if name not in AROUND})

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


def explainable(commands: list[Command]) -> Iterator[Command]:
    """Each question that a plan answers; of an update with many each by itself."""
    for command in commands:
        name = next(iter(command))
        if name in ("update", "delete"):
            part = name + "s"
            yield from ({name: command[name], part: [each]} for each in command[part])
        elif name != "insert":
            yield {key: value for key, value in command.items() if key not in ("writeConcern", "readConcern")}


def stages(plan: Any) -> list[Command]:
    """All stages of an explanation's chosen plans."""
    found = []
    if isinstance(plan, dict):
        found += [plan] if "stage" in plan else []
        for name, part in plan.items():
            if name not in ("rejectedPlans", "executionStats"):
                found += stages(part)
    elif isinstance(plan, list):
        for part in plan:
            found += stages(part)
    return found


def examined(plan: Any) -> tuple[int, int]:
    """(index keys, documents) that were looked at."""
    if isinstance(plan, dict):
        if "totalKeysExamined" in plan:
            return int(plan["totalKeysExamined"]), int(plan["totalDocsExamined"])
        return max((examined(part) for part in plan.values()), default=(0, 0))
    return max(map(examined, plan), default=(0, 0)) if isinstance(plan, list) else (0, 0)

"""Contention: what do four processes do to each other when all send into one conversation?

64 people of one group send by REST, each waiting for its answer: first all through one process, then 16 through each of
four. Everything shares the machine's cores. A send that is still waited for at the end counts with what it took.

Left out: more processes than cores could serve at any rate, followers.
"""

from bench.processes import CORES, BenchError, Json, Senders
from bench.sends import BODY, CLIENTS, WARM_S
from bench.world import LIMITED, Crowd, Figure, Web, World, one_conversation

PROCESSES = 4
SPREAD_AIM, LONGEST_AIM_MS, TOTAL_AIM = 3.0, 2_000.0, 0.5


def run(world: World) -> list[Figure]:
    world.pin_backing(set(CORES))
    with world.webs(PROCESSES, LIMITED, set(CORES)) as webs:
        crowd = one_conversation(webs[0].url, CLIENTS)
        runs = [(send(world, webs[:1], crowd), send(world, webs, crowd)) for _ in range(2 if world.quick else 3)]
    together = [four for _, four in runs]
    rates = [rate(four) for four in together]
    late = [[port["p99_us"] / 1000 for port in four["ports"]] for four in together]
    return [
        Figure("one process", "a second", [rate(one) for one, _ in runs]),
        Figure("four processes together", "a second", rates),
        Figure("together, of one", "x", [rate(four) / rate(one) for one, four in runs], TOTAL_AIM, at_least=True),
        Figure("one process: p99", "ms", [one["all"]["p99_us"] / 1000 for one, _ in runs]),
        Figure("fastest process of four: p99", "ms", [min(each) for each in late]),
        Figure("slowest process of four: p99", "ms", [max(each) for each in late]),
        Figure("messages, busiest process to idlest", "x", [spread(four) for four in together], SPREAD_AIM),
        Figure("p99, slowest process to fastest", "x", [max(each) / min(each) for each in late], SPREAD_AIM),
        Figure("longest send", "ms", [four["all"]["max_us"] / 1000 for four in together], LONGEST_AIM_MS),
    ]


def send(world: World, webs: list[Web], crowd: Crowd) -> Json:
    path = f"/api/chat/conversations/{crowd.conversations[0]}/messages"
    lines = [
        (str(webs[i % len(webs)].port), "http", path, str(person.tokens["accessToken"]), BODY)
        for i, person in enumerate(crowd.people)
    ]
    with Senders(world.tools, lines, WARM_S, world.seconds) as senders:
        senders.started()
        got = senders.answer()
        if got["errors"] or got["stuck"] or len(got["ports"]) != len(webs):
            raise BenchError(f"{got['errors']} errors, {got['stuck']} without an answer: {senders.said()}")
    return got


def rate(got: Json) -> float:
    return float(got["good"] / got["seconds"])


def spread(got: Json) -> float:
    answers = [port["answers"] for port in got["ports"]]
    return float(max(answers) / min(answers))

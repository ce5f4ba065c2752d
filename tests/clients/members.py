"""The lives of a group's members, whichever client they are of.

A member has `values` (what it was given so far), `owned` (its partitions now), `kept` (those that it has had since it was
first given any), `close()` (it leaves), and maybe `poll()`, where it has no thread of its own.
"""

import itertools
import time

from entry import for_a_while, until

QUIET_S = 1.0


def sharing(arguments, join, produce):
    """Two members share the topic, and it is quiet while they read."""
    partitions = set(range(arguments["partitions"]))
    members = [join(), join()]
    poll = polling(members)
    until("two members share", lambda: shared(members, partitions), poll)
    for n in range(arguments["records"]):
        produce(n % len(partitions), f"v{n}")
    produce.flush()
    until("all is read", lambda: sum(len(m.values) for m in members) >= arguments["records"], poll)
    # What comes twice comes late.
    for_a_while(QUIET_S, poll)
    told = [{"partitions": sorted(m.owned), "values": list(m.values)} for m in members]
    for member in members:
        member.close()
    return {"members": told}


def rebalancing(arguments, join, produce):
    """One member reads; another joins; the first one leaves; and somebody writes all the while."""
    partitions = set(range(arguments["partitions"]))
    sent = itertools.count()
    first = join()
    members = [first]

    def step():
        n = next(sent)
        produce(n % len(partitions), f"v{n}")
        polling(members)()
        time.sleep(0.005)

    until("the first member has all", lambda: first.owned == partitions, step)
    for_a_while(0.3, step)
    second = join()
    members.append(second)
    until("two members share", lambda: shared(members, partitions), step)
    for_a_while(0.3, step)
    kept = sorted(first.kept)
    members.remove(first)
    first.close()
    until("the second member has all", lambda: second.owned == partitions, step)
    for_a_while(0.3, step)
    produce.flush()
    count = next(sent)
    seen = lambda: set(first.values) | set(second.values)
    until("all is read", lambda: len(seen()) >= count, polling(members))
    second.close()
    return {"sent": count, "kept": kept, "values": first.values + second.values}


def shared(members, partitions):
    owned = [m.owned for m in members]
    return all(owned) and set().union(*owned) == partitions and sum(map(len, owned)) == len(partitions)


def polling(members):
    def poll():
        for member in members:
            member.poll()

    return poll

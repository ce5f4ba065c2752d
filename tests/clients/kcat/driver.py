"""kcat (librdkafka), which is a command: each step is a run of it."""

import json
import pathlib
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from entry import WITHIN_S, main, until
from members import rebalancing, sharing


def kcat(bootstrap, *arguments, stdin=""):
    ended = subprocess.run(
        ["kcat", "-b", bootstrap, *map(str, arguments)], input=stdin, text=True, capture_output=True, timeout=WITHIN_S
    )
    assert ended.returncode == 0, f"kcat {arguments}: {ended.stderr}"
    return ended.stdout


def version(bootstrap, arguments):
    told = subprocess.run(["kcat", "-V"], text=True, capture_output=True).stdout
    own, library = re.search(r"Version (\S+) .*librdkafka (\S+)", told).groups()
    return {"version": f"{own} (librdkafka {library})"}


# --- records


def place_of(arguments):
    return ["-t", arguments["topic"], "-p", arguments["partition"]]


def produce(bootstrap, arguments):
    how = ["-z", arguments.get("compression", "none"), "-X", "linger.ms=20"]
    if arguments.get("idempotent"):
        how += ["-X", "enable.idempotence=true"]
    records = arguments["records"]
    if all(r["key"] is None and not r["headers"] for r in records):
        lines = "".join(r["value"] + "\n" for r in records)
        kcat(bootstrap, "-P", *place_of(arguments), *how, stdin=lines)
    else:
        for record in records:
            produce_one(bootstrap, arguments, how, record)
    return {"read": read_records(bootstrap, arguments, len(records))}


def produce_one(bootstrap, arguments, how, record):
    """What a whole run of kcat has the same: whether an empty value is none, and the headers."""
    for name, value in record["headers"]:
        how = how + ["-H", f"{name}={value}"]
    if record["value"] is None:
        how = how + ["-Z"]
    line = (record["value"] or "") + "\n"
    if record["key"] is not None:
        how, line = how + ["-K", "\t"], record["key"] + "\t" + line
    kcat(bootstrap, "-P", *place_of(arguments), *how, stdin=line)


def read_records(bootstrap, arguments, count):
    lines = kcat(bootstrap, "-C", *place_of(arguments), "-o", "beginning", "-c", count, "-J", "-q").splitlines()
    return [as_record(json.loads(line)) for line in lines]


def as_record(message):
    flat = message.get("headers", [])
    return {
        "key": message["key"],
        "value": message["payload"],
        "headers": [list(pair) for pair in zip(flat[::2], flat[1::2])],
        "timestamp": message["ts"] if message["tstype"] == "create" else None,
    }


def values(bootstrap, arguments, *how):
    return kcat(bootstrap, "-C", *place_of(arguments), "-q", *how).splitlines()


def assign(bootstrap, arguments):
    beginning = values(bootstrap, arguments, "-o", "beginning", "-e")
    middle = values(bootstrap, arguments, "-o", arguments["offset"], "-e")
    more = arguments["more"]
    reader = Running(bootstrap, "-C", *place_of(arguments), "-o", "end", "-c", len(more), "-u")
    until("it stands at the end", lambda: reader.told("Reached end of topic"))
    kcat(bootstrap, "-P", *place_of(arguments), stdin="\n".join(more))
    reader.end()
    return {"beginning": beginning, "offset": middle, "end": reader.values}


def seek_time(bootstrap, arguments):
    place = f"{arguments['topic']}:{arguments['partition']}:{arguments['time']}"
    told = kcat(bootstrap, "-Q", "-t", place)
    offset = int(re.search(r"offset (\d+)", told).group(1))
    found = values(bootstrap, arguments, "-o", f"s@{arguments['time']}", "-c", 1)
    return {"offset": offset, "value": found[0]}


# --- groups


class Running:
    """kcat in the background: its lines of output, and what it tells of itself."""

    def __init__(self, bootstrap, *arguments):
        self.values, self.lines = [], []
        self.process = subprocess.Popen(
            ["kcat", "-b", bootstrap, *map(str, arguments)],
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.threads = [
            threading.Thread(target=self.read, args=(self.process.stdout, self.values.append), daemon=True),
            threading.Thread(target=self.read, args=(self.process.stderr, self.tells), daemon=True),
        ]
        for thread in self.threads:
            thread.start()

    def read(self, stream, take):
        for line in stream:
            take(line.rstrip("\n"))

    def tells(self, line):
        self.lines.append(line)

    def told(self, text):
        return any(text in line for line in self.lines)

    def end(self):
        code = self.process.wait(WITHIN_S)
        for thread in self.threads:
            thread.join(WITHIN_S)
        assert code == 0, self.lines


class Member(Running):
    def __init__(self, bootstrap, arguments, *how):
        self.owned, self.kept = set(), None
        how = ["-X", "heartbeat.interval.ms=300", "-X", "session.timeout.ms=10000", *how]
        how += ["-X", "auto.offset.reset=earliest", "-X", "fetch.wait.max.ms=100", "-u"]
        super().__init__(bootstrap, *how, "-G", arguments["group"], arguments["topic"])

    def tells(self, line):
        super().tells(line)
        if "rebalanced" not in line:
            return
        partitions = {int(n) for n in re.findall(r"\[(\d+)\]", line)}
        if "revoke" in line:
            self.owned = self.owned - partitions
            self.kept = (self.kept or set()) - partitions
        elif partitions:
            self.owned = self.owned | partitions
            self.kept = self.kept if self.kept is not None else set(self.owned)

    def poll(self):
        assert self.process.poll() is None, self.lines
        time.sleep(0.005)

    def close(self):
        self.process.terminate()
        self.end()


AT_ONCE = 50


class Producing:
    """kcat reads its input in blocks, so a run of it takes what has come together; to any partition."""

    def __init__(self, bootstrap, arguments):
        self.bootstrap, self.topic, self.values = bootstrap, arguments["topic"], []

    def __call__(self, _partition, value):
        self.values.append(value)
        if len(self.values) == AT_ONCE:
            self.flush()

    def flush(self):
        lines = "".join(value + "\n" for value in self.values)
        self.values.clear()
        kcat(self.bootstrap, "-P", "-t", self.topic, "-X", "sticky.partitioning.linger.ms=0", stdin=lines)


def group(bootstrap, arguments):
    return sharing(arguments, lambda: Member(bootstrap, arguments), Producing(bootstrap, arguments))


def rebalance(bootstrap, arguments):
    return rebalancing(arguments, lambda: Member(bootstrap, arguments), Producing(bootstrap, arguments))


def cooperative(bootstrap, arguments):
    how = ["-X", "partition.assignment.strategy=cooperative-sticky"]
    return rebalancing(arguments, lambda: Member(bootstrap, arguments, *how), Producing(bootstrap, arguments))


def commit(bootstrap, arguments):
    first = Member(bootstrap, arguments, "-c", arguments["first"])
    first.end()
    second = Member(bootstrap, arguments, "-c", arguments["count"] - arguments["first"])
    second.end()
    return {"committed": len(first.values), "rest": second.values}


# --- administration


def describe_topics(bootstrap, arguments):
    listed = json.loads(kcat(bootstrap, "-L", "-J"))["topics"]
    (described,) = json.loads(kcat(bootstrap, "-L", "-J", "-t", arguments["topic"]))["topics"]
    partitions = [
        {"partition": p["partition"], "leader": p["leader"], "replicas": len(p["replicas"]), "isr": len(p["isrs"])}
        for p in described["partitions"]
    ]
    return {"listed": any(t["topic"] == arguments["topic"] for t in listed), "partitions": partitions}


NO_ADMIN = "kcat has no command for it"

main(
    {
        "version": version,
        "produce-none": produce,
        "produce-gzip": produce,
        "produce-snappy": produce,
        "produce-lz4": produce,
        "produce-zstd": produce,
        "idempotent": produce,
        "headers": produce,
        "keys": produce,
        "assign": assign,
        "seek-time": seek_time,
        "group": group,
        "rebalance": rebalance,
        "cooperative": cooperative,
        "commit": commit,
        "describe-topics": describe_topics,
    },
    {
        "timestamps": "kcat cannot be told a record's time",
        "create-topic": NO_ADMIN,
        "configs": NO_ADMIN,
        "create-partitions": NO_ADMIN,
        "delete-records": NO_ADMIN,
        "delete-topic": NO_ADMIN,
        "list-groups": NO_ADMIN,
        "describe-groups": NO_ADMIN,
        "delete-groups": NO_ADMIN,
        "list-offsets": NO_ADMIN,
        "alter-offsets": NO_ADMIN,
        "delete-offsets": NO_ADMIN,
    },
)

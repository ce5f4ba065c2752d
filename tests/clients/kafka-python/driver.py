"""kafka-python, which is written in Python from the socket up."""

import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

import kafka
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from entry import WITHIN_S, encoded, main, text, until
from members import rebalancing, sharing

POLL_MS = 50
CREATE_TIME = 0


def version(bootstrap, arguments):
    return {"version": kafka.__version__}


# --- records


def produce(bootstrap, arguments):
    compression = arguments.get("compression", "none")
    producer = KafkaProducer(
        bootstrap_servers=bootstrap.split(","),
        compression_type=None if compression == "none" else compression,
        enable_idempotence=bool(arguments.get("idempotent")),
        linger_ms=20,
    )
    sent = [
        producer.send(
            arguments["topic"],
            partition=arguments["partition"],
            key=encoded(record["key"]),
            value=encoded(record["value"]),
            headers=[(name, encoded(value)) for name, value in record["headers"]],
            timestamp_ms=record["timestamp"],
        )
        for record in arguments["records"]
    ]
    for future in sent:
        future.get(WITHIN_S)
    producer.close()
    return {"read": [as_record(m) for m in read(bootstrap, arguments, "earliest", len(sent))]}


def as_record(message):
    return {
        "key": text(message.key),
        "value": text(message.value),
        "headers": [[name, text(value)] for name, value in message.headers],
        "timestamp": message.timestamp if message.timestamp_type == CREATE_TIME else None,
    }


def consumer_of(bootstrap, **more):
    return KafkaConsumer(
        bootstrap_servers=bootstrap.split(","),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=100,
        **more,
    )


def member_of(bootstrap, arguments, **more):
    return consumer_of(
        bootstrap,
        group_id=arguments["group"],
        session_timeout_ms=10_000,
        heartbeat_interval_ms=300,
        **more,
    )


def place_of(arguments):
    return TopicPartition(arguments["topic"], arguments["partition"])


def assigned(bootstrap, arguments, offset):
    consumer = consumer_of(bootstrap)
    place = place_of(arguments)
    consumer.assign([place])
    match offset:
        case "earliest":
            consumer.seek_to_beginning(place)
        case "latest":
            consumer.seek_to_end(place)
        case offset:
            consumer.seek(place, offset)
    return consumer


def read(bootstrap, arguments, offset, count):
    consumer = assigned(bootstrap, arguments, offset)
    messages = take(consumer, count)
    consumer.close()
    return messages


def take(consumer, count):
    messages = []

    def step():
        for found in consumer.poll(POLL_MS, max_records=count - len(messages)).values():
            messages.extend(found)

    until(f"{count} records are read", lambda: len(messages) >= count, step)
    return messages


def values_of(messages):
    return [text(m.value) for m in messages]


def assign(bootstrap, arguments):
    count, offset = arguments["count"], arguments["offset"]
    beginning = values_of(read(bootstrap, arguments, "earliest", count))
    middle = values_of(read(bootstrap, arguments, offset, count - offset))
    consumer = assigned(bootstrap, arguments, "latest")
    until("it stands at the end", lambda: consumer.position(place_of(arguments)) == count)
    producer = KafkaProducer(bootstrap_servers=bootstrap.split(","))
    for value in arguments["more"]:
        producer.send(arguments["topic"], partition=arguments["partition"], value=value.encode())
    producer.close()
    end = values_of(take(consumer, len(arguments["more"])))
    consumer.close()
    return {"beginning": beginning, "offset": middle, "end": end}


def seek_time(bootstrap, arguments):
    place = place_of(arguments)
    consumer = assigned(bootstrap, arguments, "earliest")
    found = consumer.offsets_for_times({place: arguments["time"]})[place]
    consumer.seek(place, found.offset)
    value = values_of(take(consumer, 1))[0]
    consumer.close()
    return {"offset": found.offset, "value": value}


# --- groups


class Member(ConsumerRebalanceListener):
    """Polls in a thread of its own, because a poll that joins waits for the other members to do the same."""

    def __init__(self, bootstrap, arguments, **more):
        self.values, self.owned, self.kept = [], set(), None
        self.failure, self.leaves = None, threading.Event()
        self.consumer = member_of(bootstrap, arguments, **more)
        self.consumer.subscribe([arguments["topic"]], listener=self)
        self.thread = threading.Thread(target=self.live, daemon=True)
        self.thread.start()

    def on_partitions_assigned(self, assigned):
        self.owned = self.owned | {p.partition for p in assigned}
        if self.kept is None and self.owned:
            self.kept = set(self.owned)

    def on_partitions_revoked(self, revoked):
        self.on_partitions_lost(revoked)

    def on_partitions_lost(self, lost):
        self.owned = self.owned - {p.partition for p in lost}
        self.kept = (self.kept or set()) - {p.partition for p in lost}

    def live(self):
        try:
            while not self.leaves.is_set():
                polled = self.consumer.poll(POLL_MS)
                for found in polled.values():
                    self.values.extend(values_of(found))
                # Not when partitions are revoked: a listener may not wait for a commit.
                if polled:
                    self.consumer.commit()
            self.consumer.close()
        except BaseException as failure:
            self.failure = failure

    def poll(self):
        if self.failure:
            raise self.failure
        self.leaves.wait(0.005)

    def close(self):
        self.leaves.set()
        self.thread.join(WITHIN_S)
        if self.failure:
            raise self.failure
        assert not self.thread.is_alive()


class Producing:
    def __init__(self, bootstrap, arguments):
        self.topic = arguments["topic"]
        self.producer = KafkaProducer(bootstrap_servers=bootstrap.split(","))

    def __call__(self, partition, value):
        self.producer.send(self.topic, partition=partition, value=value.encode())

    def flush(self):
        self.producer.flush(WITHIN_S)


def group(bootstrap, arguments):
    return sharing(arguments, lambda: Member(bootstrap, arguments), Producing(bootstrap, arguments))


def rebalance(bootstrap, arguments):
    return rebalancing(arguments, lambda: Member(bootstrap, arguments), Producing(bootstrap, arguments))


def cooperative(bootstrap, arguments):
    more = {"partition_assignment_strategy": [CooperativeStickyAssignor]}
    return rebalancing(arguments, lambda: Member(bootstrap, arguments, **more), Producing(bootstrap, arguments))


def commit(bootstrap, arguments):
    place = TopicPartition(arguments["topic"], 0)
    first = member_of(bootstrap, arguments)
    first.subscribe([arguments["topic"]])
    take(first, arguments["first"])
    first.commit()
    committed = first.committed(place)
    first.close()
    second = member_of(bootstrap, arguments)
    second.subscribe([arguments["topic"]])
    rest = values_of(take(second, arguments["count"] - arguments["first"]))
    second.close()
    return {"committed": committed, "rest": rest}


# --- administration


def admin_of(bootstrap):
    return KafkaAdminClient(bootstrap_servers=bootstrap.split(","))


def refused(call):
    """The code of the error that it must end in."""
    try:
        call()
    except KafkaError as error:
        return error.errno
    raise AssertionError("it was not refused")


def create_topic(bootstrap, arguments):
    admin = admin_of(bootstrap)
    topic = {
        "num_partitions": arguments["partitions"],
        "replication_factor": arguments["replication"],
        "configs": arguments["configs"],
    }
    create = lambda **more: admin.create_topics({arguments["topic"]: topic}, **more)
    create(validate_only=True)
    create()
    return {"again": refused(create)}


def describe_topics(bootstrap, arguments):
    admin = admin_of(bootstrap)
    (described,) = admin.describe_topics([arguments["topic"]])
    partitions = [
        {
            "partition": p["partition_index"],
            "leader": p["leader_id"],
            "replicas": len(p["replica_nodes"]),
            "isr": len(p["isr_nodes"]),
        }
        for p in described["partitions"]
    ]
    return {"listed": arguments["topic"] in admin.list_topics(), "partitions": partitions}


def configs(bootstrap, arguments):
    admin = admin_of(bootstrap)
    topic, name = arguments["topic"], arguments["config"]
    resource = lambda configs=None: ConfigResource(ConfigResourceType.TOPIC, topic, configs)

    def value():
        return admin.describe_configs([resource()], config_filter="all")["topic"][topic][name]["value"]

    def alter(new, incremental):
        return admin.alter_configs([resource({name: (AlterConfigOp.SET, new)})], incremental=incremental)["topic"][topic]

    default = value()
    for incremental in (False, True):
        alter("1", incremental)
        alter(arguments["value"], incremental)
    altered = value()
    wrong = alter(arguments["wrong"], True)
    admin.reset_configs([resource([name])])
    # Its answer is the error's name and message.
    code = 40 if "InvalidConfig" in str(wrong) else wrong
    return {"default": str(default), "altered": str(altered), "wrong": code, "reset": str(value())}


def create_partitions(bootstrap, arguments):
    admin = admin_of(bootstrap)
    add = lambda: admin.create_partitions({arguments["topic"]: arguments["partitions"]})
    add()
    return {"again": refused(add)}


def delete_records(bootstrap, arguments):
    place = place_of(arguments)
    deleted = admin_of(bootstrap).delete_records({place: arguments["before"]})
    first = read(bootstrap, arguments, "earliest", 1)[0]
    return {"low": deleted[place]["low_watermark"], "first": first.offset}


def delete_topic(bootstrap, arguments):
    admin = admin_of(bootstrap)
    admin.delete_topics([arguments["topic"]])
    return {"again": refused(lambda: admin.delete_topics([arguments["topic"]]))}


def with_member(bootstrap, arguments, act):
    """Acts while a group has one member that has all partitions."""
    member = Member(bootstrap, arguments)
    partitions = set(range(arguments["partitions"]))
    until("it has all partitions", lambda: member.owned == partitions, member.poll)
    result = act(admin_of(bootstrap))
    member.close()
    return result


def listed_groups(admin):
    return {g["group_id"] for g in admin.list_groups()}


def list_groups(bootstrap, arguments):
    listed = lambda admin: arguments["group"] in listed_groups(admin)
    return {"listed": with_member(bootstrap, arguments, listed)}


def describe_groups(bootstrap, arguments):
    def describe(admin):
        found = admin.describe_groups([arguments["group"]])[arguments["group"]]
        assert not found["error"], found
        return {"state": found["group_state"].upper(), "members": [partitions_of(m) for m in found["members"]]}

    return with_member(bootstrap, arguments, describe)


def partitions_of(member):
    return sorted(p for topic in member["member_assignment"]["assigned_partitions"] for p in topic["partitions"])


NON_EMPTY_GROUP = 68


def delete_groups(bootstrap, arguments):
    delete = lambda admin: admin.delete_groups([arguments["group"]])[arguments["group"]]
    busy = with_member(bootstrap, arguments, delete)
    admin = admin_of(bootstrap)
    assert delete(admin) == "OK"
    # Its answer is the error's name.
    code = NON_EMPTY_GROUP if "NonEmptyGroup" in str(busy) else busy
    return {"busy": code, "listed": arguments["group"] in listed_groups(admin)}


def offsets(admin, arguments):
    listed = admin.list_group_offsets(arguments["group"])[arguments["group"]]
    return {str(place.partition): found.offset for place, found in listed.items() if found.offset >= 0}


def with_commits(bootstrap, arguments):
    """Commits for a group that has no members."""
    consumer = member_of(bootstrap, arguments)
    places = offsets_by_place(arguments, "committed")
    consumer.assign(list(places))
    consumer.commit(places)
    consumer.close()
    return admin_of(bootstrap)


def offsets_by_place(arguments, which):
    place = lambda partition: TopicPartition(arguments["topic"], int(partition))
    return {place(p): OffsetAndMetadata(o, "", -1) for p, o in arguments[which].items()}


def list_offsets(bootstrap, arguments):
    return {"offsets": offsets(with_commits(bootstrap, arguments), arguments)}


def alter_offsets(bootstrap, arguments):
    admin = with_commits(bootstrap, arguments)
    admin.alter_group_offsets(arguments["group"], offsets_by_place(arguments, "altered"))
    return {"offsets": offsets(admin, arguments)}


def delete_offsets(bootstrap, arguments):
    admin = with_commits(bootstrap, arguments)
    admin.delete_group_offsets(arguments["group"], [TopicPartition(arguments["topic"], arguments["partition"])])
    return {"offsets": offsets(admin, arguments)}


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
        "timestamps": produce,
        "assign": assign,
        "seek-time": seek_time,
        "group": group,
        "rebalance": rebalance,
        "cooperative": cooperative,
        "commit": commit,
        "create-topic": create_topic,
        "describe-topics": describe_topics,
        "configs": configs,
        "create-partitions": create_partitions,
        "delete-records": delete_records,
        "delete-topic": delete_topic,
        "list-groups": list_groups,
        "describe-groups": describe_groups,
        "delete-groups": delete_groups,
        "list-offsets": list_offsets,
        "alter-offsets": alter_offsets,
        "delete-offsets": delete_offsets,
    },
    {},
)

"""confluent-kafka (librdkafka), with the classic group protocol or KIP-848's: ARGUMENTS' `protocol` says which."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

import confluent_kafka
from confluent_kafka import (
    TIMESTAMP_CREATE_TIME,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from entry import WITHIN_S, encoded, main, text, until
from members import rebalancing, sharing

POLL_S = 0.02


def version(bootstrap, arguments):
    return {"version": f"{confluent_kafka.version()} (librdkafka {confluent_kafka.libversion()[0]})"}


# --- records


def produce(bootstrap, arguments):
    config = {"bootstrap.servers": bootstrap, "compression.type": arguments.get("compression", "none"), "linger.ms": 20}
    if arguments.get("idempotent"):
        config["enable.idempotence"] = True
    producer = Producer(config)
    failed = []
    for record in arguments["records"]:
        producer.produce(
            arguments["topic"],
            partition=arguments["partition"],
            key=encoded(record["key"]),
            value=encoded(record["value"]),
            headers=[(name, encoded(value)) for name, value in record["headers"]],
            timestamp=record["timestamp"] or 0,
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
    assert producer.flush(WITHIN_S) == 0 and not failed, failed
    messages = read(bootstrap, arguments, "earliest", len(arguments["records"]))
    return {"read": [as_record(m) for m in messages]}


def as_record(message):
    kind, timestamp = message.timestamp()
    return {
        "key": text(message.key()),
        "value": text(message.value()),
        "headers": [[name, text(value)] for name, value in message.headers() or []],
        "timestamp": timestamp if kind == TIMESTAMP_CREATE_TIME else None,
    }


OFFSETS = {"earliest": confluent_kafka.OFFSET_BEGINNING, "latest": confluent_kafka.OFFSET_END}


def consumer_of(bootstrap, arguments, **more):
    config = {
        "bootstrap.servers": bootstrap,
        "group.id": arguments["group"],
        "group.protocol": arguments["protocol"],
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 100,
    }
    if arguments["protocol"] == "classic":
        config |= {"session.timeout.ms": 10_000, "heartbeat.interval.ms": 300}
    return Consumer(config | more)


def assigned(bootstrap, arguments, offset):
    consumer = consumer_of(bootstrap, arguments)
    consumer.assign([TopicPartition(arguments["topic"], arguments["partition"], OFFSETS.get(offset, offset))])
    return consumer


def read(bootstrap, arguments, offset, count):
    consumer = assigned(bootstrap, arguments, offset)
    messages = take(consumer, count)
    consumer.close()
    return messages


def take(consumer, count):
    messages = []

    def step():
        message = consumer.poll(POLL_S)
        if message is not None:
            assert not message.error(), message.error()
            messages.append(message)

    until(f"{count} records are read", lambda: len(messages) >= count, step)
    return messages


def values_of(messages):
    return [text(m.value()) for m in messages]


def assign(bootstrap, arguments):
    count, offset = arguments["count"], arguments["offset"]
    beginning = values_of(read(bootstrap, arguments, "earliest", count))
    middle = values_of(read(bootstrap, arguments, offset, count - offset))
    consumer = assigned(bootstrap, arguments, "latest")
    place = TopicPartition(arguments["topic"], arguments["partition"])

    def at_end():
        consumer.poll(POLL_S)
        return consumer.get_watermark_offsets(place, cached=True)[1] == count

    until("it stands at the end", at_end)
    producer = Producer({"bootstrap.servers": bootstrap})
    for value in arguments["more"]:
        producer.produce(arguments["topic"], partition=arguments["partition"], value=value)
    producer.flush(WITHIN_S)
    end = values_of(take(consumer, len(arguments["more"])))
    consumer.close()
    return {"beginning": beginning, "offset": middle, "end": end}


def seek_time(bootstrap, arguments):
    consumer = assigned(bootstrap, arguments, "earliest")
    asked = TopicPartition(arguments["topic"], arguments["partition"], arguments["time"])
    found = consumer.offsets_for_times([asked], timeout=WITHIN_S)[0]
    until("it is assigned", lambda: consumer.assignment(), lambda: consumer.poll(POLL_S))
    # A position can be sought once there is one.
    take(consumer, 1)
    consumer.seek(TopicPartition(arguments["topic"], arguments["partition"], found.offset))
    value = values_of(take(consumer, 1))[0]
    consumer.close()
    return {"offset": found.offset, "value": value}


# --- groups


# There was nothing to commit; or the group has moved on to its next epoch, of which this member hears with the heartbeat that
# is under way (KIP-848), and what it has read since its last commit comes again.
UNCOMMITTED = (confluent_kafka.KafkaError._NO_OFFSET, confluent_kafka.KafkaError.STALE_MEMBER_EPOCH)


class Member:
    def __init__(self, bootstrap, arguments, **more):
        self.values, self.owned, self.kept = [], set(), None
        self.consumer = consumer_of(bootstrap, arguments, **more)
        self.consumer.subscribe(
            [arguments["topic"]], on_assign=self.assigned, on_revoke=self.revoked, on_lost=self.lost
        )

    def assigned(self, _, partitions):
        self.owned |= {p.partition for p in partitions}
        if self.kept is None and self.owned:
            self.kept = set(self.owned)

    def revoked(self, _, partitions):
        self.commit()
        self.lost(None, partitions)

    def lost(self, _, partitions):
        self.owned -= {p.partition for p in partitions}
        self.kept = (self.kept or set()) - {p.partition for p in partitions}

    def poll(self):
        message = self.consumer.poll(POLL_S)
        if message is not None:
            assert not message.error(), message.error()
            self.values.append(text(message.value()))

    def commit(self):
        try:
            self.consumer.commit(asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() not in UNCOMMITTED:
                raise

    def close(self):
        self.consumer.close()


class Producing:
    def __init__(self, bootstrap, arguments):
        self.topic = arguments["topic"]
        self.producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})

    def __call__(self, partition, value):
        self.producer.produce(self.topic, partition=partition, value=value)
        self.producer.poll(0)

    def flush(self):
        assert self.producer.flush(WITHIN_S) == 0


def group(bootstrap, arguments):
    join = lambda: Member(bootstrap, arguments)
    return sharing(arguments, join, Producing(bootstrap, arguments))


def rebalance(bootstrap, arguments):
    join = lambda: Member(bootstrap, arguments)
    return rebalancing(arguments, join, Producing(bootstrap, arguments))


def cooperative(bootstrap, arguments):
    classic = arguments["protocol"] == "classic"
    more = {"partition.assignment.strategy": "cooperative-sticky"} if classic else {}
    join = lambda: Member(bootstrap, arguments, **more)
    return rebalancing(arguments, join, Producing(bootstrap, arguments))


def commit(bootstrap, arguments):
    first = consumer_of(bootstrap, arguments)
    first.subscribe([arguments["topic"]])
    last = take(first, arguments["first"])[-1]
    first.commit(message=last, asynchronous=False)
    place = TopicPartition(arguments["topic"], last.partition())
    committed = first.committed([place], timeout=WITHIN_S)[0].offset
    first.close()
    second = consumer_of(bootstrap, arguments)
    second.subscribe([arguments["topic"]])
    rest = values_of(take(second, arguments["count"] - arguments["first"]))
    second.close()
    return {"committed": committed, "rest": rest}


# --- administration


def admin_of(bootstrap):
    return AdminClient({"bootstrap.servers": bootstrap})


def done(futures):
    """The one answer."""
    (future,) = futures.values()
    return future.result(WITHIN_S)


def refused(call):
    """The code of the error that it must end in."""
    try:
        call()
    except KafkaException as error:
        return error.args[0].code()
    raise AssertionError("it was not refused")


def create_topic(bootstrap, arguments):
    admin = admin_of(bootstrap)
    topic = NewTopic(
        arguments["topic"], arguments["partitions"], arguments["replication"], config=arguments["configs"]
    )
    done(admin.create_topics([topic], validate_only=True))
    done(admin.create_topics([topic], operation_timeout=WITHIN_S))
    return {"again": refused(lambda: done(admin.create_topics([topic])))}


def describe_topics(bootstrap, arguments):
    admin = admin_of(bootstrap)
    listed = arguments["topic"] in admin.list_topics(timeout=WITHIN_S).topics
    topics = confluent_kafka.TopicCollection([arguments["topic"]])
    described = done(admin.describe_topics(topics))
    partitions = [
        {"partition": p.id, "leader": p.leader.id, "replicas": len(p.replicas), "isr": len(p.isr)}
        for p in described.partitions
    ]
    return {"listed": listed, "partitions": partitions}


def configs(bootstrap, arguments):
    admin = admin_of(bootstrap)
    name = arguments["config"]
    value = lambda: done(admin.describe_configs([ConfigResource(ResourceType.TOPIC, arguments["topic"])]))[name].value

    def alter(operation, new):
        entry = ConfigEntry(name, new, incremental_operation=operation)
        resource = ConfigResource(ResourceType.TOPIC, arguments["topic"], incremental_configs=[entry])
        done(admin.incremental_alter_configs([resource]))

    default = value()
    alter(AlterConfigOpType.SET, arguments["value"])
    altered = value()
    wrong = refused(lambda: alter(AlterConfigOpType.SET, arguments["wrong"]))
    alter(AlterConfigOpType.DELETE, None)
    return {"default": default, "altered": altered, "wrong": wrong, "reset": value()}


def create_partitions(bootstrap, arguments):
    admin = admin_of(bootstrap)
    add = lambda: done(admin.create_partitions([NewPartitions(arguments["topic"], arguments["partitions"])]))
    add()
    return {"again": refused(add)}


def delete_records(bootstrap, arguments):
    place = TopicPartition(arguments["topic"], arguments["partition"], arguments["before"])
    admin = admin_of(bootstrap)
    low = done(admin.delete_records([place])).low_watermark
    first = read(bootstrap, arguments, "earliest", 1)[0]
    return {"low": low, "first": first.offset()}


def delete_topic(bootstrap, arguments):
    admin = admin_of(bootstrap)
    done(admin.delete_topics([arguments["topic"]], operation_timeout=WITHIN_S))
    return {"again": refused(lambda: done(admin.delete_topics([arguments["topic"]])))}


def with_member(bootstrap, arguments, act):
    """Acts while a group has one member that has all partitions."""
    member = Member(bootstrap, arguments)
    partitions = set(range(arguments["partitions"]))
    until("it has all partitions", lambda: member.owned == partitions, member.poll)
    result = act(admin_of(bootstrap))
    member.close()
    return result


def listed_groups(admin):
    return {g.group_id for g in admin.list_consumer_groups().result(WITHIN_S).valid}


def list_groups(bootstrap, arguments):
    listed = lambda admin: arguments["group"] in listed_groups(admin)
    return {"listed": with_member(bootstrap, arguments, listed)}


def describe_groups(bootstrap, arguments):
    def describe(admin):
        found = done(admin.describe_consumer_groups([arguments["group"]]))
        members = [sorted(p.partition for p in m.assignment.topic_partitions) for m in found.members]
        return {"state": found.state.name, "members": members}

    return with_member(bootstrap, arguments, describe)


def delete_groups(bootstrap, arguments):
    delete = lambda admin: done(admin.delete_consumer_groups([arguments["group"]]))
    busy = with_member(bootstrap, arguments, lambda admin: refused(lambda: delete(admin)))
    admin = admin_of(bootstrap)
    delete(admin)
    return {"busy": busy, "listed": arguments["group"] in listed_groups(admin)}


def offsets(admin, arguments):
    listed = done(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(arguments["group"])]))
    return {str(p.partition): p.offset for p in listed.topic_partitions if p.offset >= 0}


def with_commits(bootstrap, arguments):
    """Commits for a group that has no members."""
    consumer = consumer_of(bootstrap, arguments)
    places = [TopicPartition(arguments["topic"], int(p), o) for p, o in arguments["committed"].items()]
    consumer.assign(places)
    consumer.commit(offsets=places, asynchronous=False)
    consumer.close()
    return admin_of(bootstrap)


def list_offsets(bootstrap, arguments):
    return {"offsets": offsets(with_commits(bootstrap, arguments), arguments)}


def alter_offsets(bootstrap, arguments):
    admin = with_commits(bootstrap, arguments)
    places = [TopicPartition(arguments["topic"], int(p), o) for p, o in arguments["altered"].items()]
    done(admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(arguments["group"], places)]))
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
    },
    {"delete-offsets": "its admin client has no call to delete a group's offsets"},
)

use std::collections::VecDeque;

use domain::{LeaderEpoch, Offset, PartitionIndex, ProducerId};

use crate::{
    event::{ConsumeAnswer, ConsumeOutcome, Event, Message, Party, ProduceRequest, ProduceResult},
    invariants::{r4, r8, r9, r11::acks_all},
    keyed::Keyed,
    node::Call,
    random::Random,
    setup::Setup,
    world::World,
};

/// How long a client waits for an answer before it asks again, somewhere else perhaps.
pub(crate) const REQUEST_US: u64 = 80_000;
/// How often a producer with lost records behind it is refused before it begins again under a new id.
const REFUSALS_MAX: u32 = 5;

/// A producer or a consumer of all partitions.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) streams: Vec<Stream>,
    pub(crate) keyed: Vec<Keyed>,
    pub(crate) readers: Vec<Reader>,
}

/// An idempotent producer's batches for one partition, in order.
#[derive(Debug)]
pub(crate) struct Stream {
    partition: usize,
    producer: ProducerId,
    next_sequence: i32,
    next_number: usize,
    /// Something was acknowledged: until then one batch at a time, since an unknown producer may start anywhere.
    known: bool,
    pub(crate) queue: VecDeque<Pending>,
    connection: u64,
    sent: u64,
    /// When the connection is given up for a new one.
    until_us: Option<u64>,
    refusals: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    number: usize,
    sequence: i32,
    count: i32,
    value: u64,
    /// The request that carries it on the current connection.
    call: Option<u64>,
}

/// A consumer's place in one partition.
#[derive(Debug)]
pub(crate) struct Reader {
    partition: usize,
    pub(crate) position: Offset,
    shown: Offset,
    epoch: LeaderEpoch,
    asked: Option<Call>,
    /// The losses that it knows of: then what it saw may go back.
    losses: usize,
}

impl Client {
    pub(crate) fn new(number: usize, setup: &Setup, random: &mut Random) -> Self {
        let partitions = 0..setup.data_partitions();
        if number >= setup.producers {
            let readers = (0..setup.partitions.len()).map(Reader::new).collect();
            return Self { streams: Vec::new(), keyed: Vec::new(), readers };
        }
        let mut producer = |partition: usize| {
            let acks_all = random.chance(800);
            ProducerId((number * 10 + partition) as i64 * 2 + i64::from(acks_all))
        };
        let stream = |partition: usize| Stream {
            partition,
            producer: producer(partition),
            next_sequence: 0,
            next_number: 0,
            known: false,
            queue: VecDeque::new(),
            connection: 0,
            sent: 0,
            until_us: None,
            refusals: 0,
        };
        let keyed = partitions.clone().filter(|_| setup.keyed).map(Keyed::new).collect();
        Self { streams: partitions.map(stream).collect(), keyed, readers: Vec::new() }
    }
}

impl Reader {
    fn new(partition: usize) -> Self {
        Self {
            partition,
            position: Offset(0),
            shown: Offset(0),
            epoch: LeaderEpoch::UNKNOWN,
            asked: None,
            losses: 0,
        }
    }
}

impl World {
    pub(crate) fn client_tick(&mut self, client: usize) {
        let after = self.random.range(self.setup.produce_us / 2, self.setup.produce_us * 3 / 2);
        self.schedule(after, Event::ClientTick { client });
        for index in 0..self.clients[client].streams.len() {
            self.produce(client, index);
        }
        for index in 0..self.clients[client].keyed.len() {
            self.produce_keyed(client, index);
        }
        for index in 0..self.clients[client].readers.len() {
            self.consume(client, index);
        }
    }

    /// Who leads, as some node's metadata has it. That may be long ago.
    pub(crate) fn look_up(&mut self, p: usize) -> Option<(usize, LeaderEpoch)> {
        let asked = self.random.index(self.nodes.len());
        let process = self.nodes[asked].process.as_ref()?;
        let state = process.image.partition(self.topics[p].0.as_str(), PartitionIndex(0))?;
        Some((state.leader?.0 as usize, state.leader_epoch))
    }

    fn produce(&mut self, client: usize, index: usize) {
        let (now, more) = (self.now_us, self.random.chance(500) && !self.healing);
        let (count, value, connection) = (self.random.range(1, 3) as i32, self.fresh_id(), self.fresh_id());
        let in_flight = self.setup.in_flight;
        let stream = &mut self.clients[client].streams[index];
        // From the oldest one without an answer on: a leader remembers no more than five.
        let spans = stream.queue.front().map_or(0, |first| stream.next_number - first.number);
        if more && spans < in_flight {
            let (number, sequence) = (stream.next_number, stream.next_sequence);
            stream.queue.push_back(Pending { number, sequence, count, value, call: None });
            (stream.next_number, stream.next_sequence) = (number + 1, sequence + count);
        }
        if stream.until_us.is_none_or(|until| now >= until) {
            (stream.connection, stream.sent, stream.until_us) = (connection, 0, None);
            stream.queue.iter_mut().for_each(|pending| pending.call = None);
        }
        let may_send = if stream.known { stream.queue.len() } else { 1 };
        if stream.queue.iter().take(may_send).all(|pending| pending.call.is_some()) {
            return;
        }
        let p = stream.partition;
        if stream.until_us.is_none() {
            self.connect(client, index);
        }
        let Some(leader) = self.clients[client].streams[index].leader() else { return };
        for at in 0..may_send {
            let call = self.fresh_id();
            let stream = &mut self.clients[client].streams[index];
            let pending = &mut stream.queue[at];
            if pending.call.is_some() {
                continue;
            }
            pending.call = Some(call);
            let request = ProduceRequest {
                call,
                connection: stream.connection,
                nth: stream.sent,
                partition: p,
                producer: stream.producer,
                sequence: pending.sequence,
                count: pending.count,
                value: pending.value,
                acks_all: acks_all(stream.producer),
            };
            stream.sent += 1;
            self.send(Party::Client(client), Party::Node(leader), Message::Produce(Box::new(request)));
        }
    }

    /// A new connection to whoever leads. The node is part of the connection's number.
    fn connect(&mut self, client: usize, index: usize) {
        let now = self.now_us;
        let p = self.clients[client].streams[index].partition;
        let Some((leader, _)) = self.look_up(p) else { return };
        let stream = &mut self.clients[client].streams[index];
        stream.connection = stream.connection * 8 + leader as u64;
        stream.until_us = Some(now + REQUEST_US);
    }

    pub(crate) fn on_client(&mut self, client: usize, _from: Party, message: Message) {
        match message {
            Message::Produced { call, partition, epoch, result } => {
                self.on_produced(client, call, partition, epoch, result);
            }
            Message::Consumed(answer) => self.on_consumed(client, *answer),
            _ => {}
        }
    }

    fn on_produced(&mut self, client: usize, call: u64, p: usize, epoch: LeaderEpoch, result: ProduceResult) {
        if self.on_produced_keyed(client, call, p, epoch, result) {
            return;
        }
        let (now, ghost) = (self.now_us, &self.ghost.partitions[p]);
        // Or the leader began anew above its batches, which retention had removed before.
        let lost = !ghost.is_whole() || ghost.forgotten_below > Offset(0);
        let Some(stream) = self.clients[client].streams.iter_mut().find(|s| s.partition == p) else { return };
        let Some(at) = stream.queue.iter().position(|pending| pending.call == Some(call)) else { return };
        match result {
            ProduceResult::Done(base) => {
                let Some(pending) = stream.queue.remove(at) else { return };
                (stream.refusals, stream.known) = (0, true);
                if stream.queue.is_empty() {
                    stream.until_us = None;
                }
                self.counts.acknowledged += 1;
                if acks_all(stream.producer) {
                    let checked = r8::acknowledged(&self.ghost.partitions[p], epoch, base, pending.value);
                    self.check_at(p, checked);
                }
            }
            ProduceResult::Retry => stream.until_us = Some(now + 10_000),
            ProduceResult::OutOfOrder => {
                stream.until_us = Some(now + 10_000);
                stream.refusals += 1;
                if stream.refusals > REFUSALS_MAX && (lost || !acks_all(stream.producer)) {
                    self.begin_anew(client, p);
                }
            }
        }
    }

    /// Records that this producer relied on are lost, as an unclean election or acks=1 may lose them.
    fn begin_anew(&mut self, client: usize, p: usize) {
        let id = self.fresh_id() as i64 + 1_000;
        let Some(stream) = self.clients[client].streams.iter_mut().find(|s| s.partition == p) else { return };
        let producer = ProducerId(id * 2 + i64::from(acks_all(stream.producer)));
        (stream.producer, stream.next_sequence, stream.refusals) = (producer, 0, 0);
        stream.known = false;
        for pending in &mut stream.queue {
            pending.sequence = stream.next_sequence;
            stream.next_sequence += pending.count;
        }
    }

    fn consume(&mut self, client: usize, index: usize) {
        let now = self.now_us;
        let reader = &mut self.clients[client].readers[index];
        if reader.asked.is_some_and(|call| now < call.until_us) {
            return;
        }
        // The answer may still come, to a position that is no more.
        reader.asked = None;
        let p = reader.partition;
        let ghost = &self.ghost.partitions[p];
        for lost in ghost.losses.iter().skip(reader.losses) {
            reader.shown = Offset(0);
            reader.position = reader.position.min(*lost);
        }
        reader.losses = ghost.losses.len();
        let Some((leader, epoch)) = self.look_up(p) else { return };
        let call = self.fresh_id();
        let reader = &mut self.clients[client].readers[index];
        // Older metadata than it has seen is no use (KIP-320).
        if epoch < reader.epoch {
            return;
        }
        reader.epoch = epoch;
        reader.asked = Some(Call { id: call, until_us: now + REQUEST_US });
        let message = Message::Consume { call, partition: p, epoch, offset: reader.position };
        self.send(Party::Client(client), Party::Node(leader), message);
    }

    fn on_consumed(&mut self, client: usize, answer: ConsumeAnswer) {
        let ConsumeAnswer { call, partition: p, epoch, outcome } = answer;
        let ghost = &self.ghost.partitions[p];
        let Some(reader) = self.clients[client].readers.iter_mut().find(|r| r.partition == p) else { return };
        let stale = reader.asked.take_if(|asked| asked.id == call).is_none();
        if stale || !ghost.counts(epoch) || reader.losses != ghost.losses.len() {
            return;
        }
        match outcome {
            ConsumeOutcome::Records { batches, high_watermark } => {
                let shown = std::mem::replace(&mut reader.shown, high_watermark);
                let checked = r4::shown(shown, high_watermark)
                    .and_then(|()| r9::consumed(ghost, epoch, reader.position, &batches));
                self.counts.consumed += batches.len() as u64;
                reader.position = batches.last().map_or(reader.position, crate::disk::Batch::end);
                self.check_at(p, checked);
            }
            ConsumeOutcome::OutOfRange { start } => reader.position = reader.position.max(start),
            ConsumeOutcome::NotLeader | ConsumeOutcome::NotAvailable => {}
        }
    }
}

impl Stream {
    fn leader(&self) -> Option<usize> {
        self.until_us.is_some().then_some((self.connection % 8) as usize)
    }
}

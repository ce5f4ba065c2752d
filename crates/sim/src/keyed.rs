//! Clients that write under an idempotency key: each request is repeated under its key until it is answered, and now and
//! then beyond that, as by one who never got the answer. Whoever leads by then, every answer names the same offset.

use domain::{Offset, ProducerId};

use crate::{
    client::REQUEST_US,
    event::{Message, Party, ProduceRequest, ProduceResult},
    invariants::{r8, r11},
    node::Call,
    random::Random,
    world::World,
};

/// A client's requests for one partition, one at a time.
#[derive(Debug)]
pub(crate) struct Keyed {
    partition: usize,
    pub(crate) request: Option<Request>,
}

/// The records of one key, on their way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    key: ProducerId,
    sequence: i32,
    count: i32,
    value: u64,
    asked: Option<Call>,
    /// What the first answer named.
    answered: Option<Offset>,
    /// How often it is sent again though it was answered.
    repeats: u64,
    /// Now it is not: somebody sends something else under its key.
    impostor: bool,
}

impl Request {
    fn draw(id: u64, random: &mut Random) -> Self {
        Self {
            // Odd: it waits for all replicas (see `r11::acks_all`).
            key: ProducerId::of_key((id * 2 + 1) << 2),
            sequence: random.range(0, i32::MAX as u64 - 8) as i32,
            count: random.range(1, 3) as i32,
            value: id,
            asked: None,
            answered: None,
            repeats: random.range(0, 3),
            impostor: false,
        }
    }
}

impl Keyed {
    pub(crate) fn new(partition: usize) -> Self {
        Self { partition, request: None }
    }
}

impl World {
    /// Asks whoever is thought to lead, if nothing is under way.
    pub(crate) fn produce_keyed(&mut self, client: usize, index: usize) {
        let (now, begins) = (self.now_us, self.random.chance(300) && !self.healing);
        let (call, connection, id) = (self.fresh_id(), self.fresh_id(), self.fresh_id());
        let keyed = &mut self.clients[client].keyed[index];
        if keyed.request.is_none() && begins {
            keyed.request = Some(Request::draw(id, &mut self.random));
        }
        let partition = keyed.partition;
        let Some(request) = keyed.request.filter(|r| r.asked.is_none_or(|asked| now >= asked.until_us))
        else {
            return;
        };
        let Some((leader, _)) = self.look_up(partition) else { return };
        let impostor = request.answered.is_some() && self.random.chance(300);
        let asked = Some(Call { id: call, until_us: now + REQUEST_US });
        let request = Request { asked, impostor, ..request };
        self.clients[client].keyed[index].request = Some(request);
        let Request { key: producer, sequence, count, value, .. } = request;
        // What would come next of a producer, or the same with a record more, or something else altogether.
        let (sequence, count, value) = match (impostor, self.random.index(3)) {
            (false, _) => (sequence, count, value),
            (true, 0) => (sequence + count, 1, id),
            (true, 1) => (sequence, count + 1, id),
            (true, _) => (sequence ^ 1, count, id),
        };
        let sent = ProduceRequest {
            call,
            connection,
            nth: 0,
            partition,
            producer,
            sequence,
            count,
            value,
            acks_all: r11::acks_all(producer),
        };
        self.send(Party::Client(client), Party::Node(leader), Message::Produce(Box::new(sent)));
    }

    /// The answer to a keyed request; false if it is none.
    pub(crate) fn on_produced_keyed(
        &mut self,
        client: usize,
        call: u64,
        p: usize,
        epoch: domain::LeaderEpoch,
        result: ProduceResult,
    ) -> bool {
        let now = self.now_us;
        let is_asked = |request: &Request| request.asked.is_some_and(|asked| asked.id == call);
        let Some(keyed) = self.clients[client].keyed.iter_mut().find(|k| k.partition == p) else {
            return false;
        };
        let Some(request) = keyed.request.filter(is_asked) else { return false };
        let Request { value, answered, .. } = request;
        let ghost = &self.ghost.partitions[p];
        let checked = match result {
            ProduceResult::Done(offset) if request.impostor => r11::refused(ghost, epoch, value, offset),
            ProduceResult::OutOfOrder if request.impostor => Ok(()),
            ProduceResult::Done(offset) => r8::acknowledged(ghost, epoch, offset, value)
                .and_then(|()| r11::answered_again(ghost, epoch, value, answered, offset)),
            ProduceResult::Retry => Ok(()),
            ProduceResult::OutOfOrder => r11::not_reused(ghost, epoch, value),
        };
        self.counts.keyed_refused += u64::from(request.impostor && result == ProduceResult::OutOfOrder);
        keyed.request = match result {
            _ if request.impostor => Some(Request { asked: None, impostor: false, ..request }),
            ProduceResult::Done(offset) => {
                self.counts.keyed += u64::from(answered.is_none());
                self.counts.keyed_again += u64::from(answered.is_some());
                let repeats = request.repeats.checked_sub(1).filter(|_| !self.healing);
                repeats.map(|repeats| Request { asked: None, answered: Some(offset), repeats, ..request })
            }
            ProduceResult::Retry => {
                Some(Request { asked: Some(Call { id: call, until_us: now + 10_000 }), ..request })
            }
            // Excused, as just checked: where records were lost another may have taken the key.
            ProduceResult::OutOfOrder => None,
        };
        self.check_at(p, checked);
        true
    }
}

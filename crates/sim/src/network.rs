use crate::{
    event::{Event, Message, Party},
    world::World,
};

/// Who cannot reach whom. A link counts the faults that block it.
#[derive(Debug)]
pub(crate) struct Network {
    blocked: [[u8; Party::MAX]; Party::MAX],
    pub(crate) healed: bool,
}

/// What becomes of a message.
pub(crate) enum Fate {
    Arrives { after_us: u64 },
    Lost,
}

impl Network {
    pub(crate) fn new() -> Self {
        Self { blocked: [[0; Party::MAX]; Party::MAX], healed: false }
    }

    pub(crate) fn block(&mut self, from: Party, to: Party) {
        let link = &mut self.blocked[from.index()][to.index()];
        *link = link.saturating_add(1);
    }

    pub(crate) fn heal(&mut self, from: Party, to: Party) {
        let link = &mut self.blocked[from.index()][to.index()];
        *link = link.saturating_sub(1);
    }

    pub(crate) fn heal_all(&mut self) {
        *self = Self { healed: true, ..Self::new() };
    }

    pub(crate) fn reaches(&self, from: Party, to: Party) -> bool {
        self.blocked[from.index()][to.index()] == 0
    }
}

impl World {
    /// Every message is delayed, lost or held up by itself: an answer is as uncertain as its request.
    pub(crate) fn fate(&mut self, from: Party, to: Party) -> Fate {
        let (low, high) = self.setup.delay_us;
        let usual = self.random.range(low, high);
        if self.network.healed {
            return Fate::Arrives { after_us: usual };
        }
        let faults = &self.setup.faults;
        if !self.network.reaches(from, to) {
            // Retransmitted until the link is back, or given up.
            return match self.random.chance(600) {
                true => Fate::Lost,
                false => Fate::Arrives { after_us: self.random.range(20_000, 600_000) },
            };
        }
        let chance = self.random.below(1_000);
        if chance < faults.loss {
            return Fate::Lost;
        }
        match chance < faults.loss + faults.slow {
            true => Fate::Arrives { after_us: self.random.range(high, 300_000) },
            false => Fate::Arrives { after_us: usual },
        }
    }

    pub(crate) fn send(&mut self, from: Party, to: Party, message: Message) {
        match self.fate(from, to) {
            Fate::Lost => self.counts.lost += 1,
            Fate::Arrives { after_us } => self.deliver_after(after_us, from, to, message),
        }
    }

    pub(crate) fn deliver_after(&mut self, after_us: u64, from: Party, to: Party, message: Message) {
        let life = self.life(to);
        self.schedule(after_us, Event::Deliver { from, to, life, message });
    }

    fn life(&self, party: Party) -> u64 {
        match party {
            Party::Node(n) => self.nodes[n].life,
            _ => 0,
        }
    }
}

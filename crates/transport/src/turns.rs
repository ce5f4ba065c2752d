use std::collections::BTreeMap;

/// When a frame came to the room: who came first goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// Who may take bytes of a room that all connections share, decided without sockets or clocks.
///
/// Frames are let in piece by piece, so that what counts is about what came and not what was claimed. Then frames that came in
/// part could fill the room and each wait for the others. So when nothing but parts is in it, the first that waits gets
/// all of its rest, past the bound if need be; nobody else gets anything until that frame was answered or its connection ended.
/// The room is overdrawn by one frame at most, and somebody can always finish.
#[derive(Debug)]
pub(crate) struct Turns<W> {
    bytes_max: usize,
    /// What was granted to frames that are not whole yet.
    partial_bytes: usize,
    next: u64,
    waiting: BTreeMap<Ticket, Wish<W>>,
}

/// What a frame waits for.
#[derive(Debug)]
struct Wish<W> {
    more: usize,
    /// All that it lacks.
    rest: usize,
    wake: W,
}

/// So many bytes more for a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grant<W> {
    pub(crate) wake: W,
    pub(crate) bytes: usize,
}

impl<W> Turns<W> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, partial_bytes: 0, next: 0, waiting: BTreeMap::new() }
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }

    /// The frame waits for `more` bytes of the `rest` that it lacks.
    pub(crate) fn ask(&mut self, ticket: Ticket, more: usize, rest: usize, wake: W) {
        self.waiting.insert(ticket, Wish { more, rest, wake });
    }

    /// The frame is whole, or its connection has ended: what it had is not that of a part any more.
    pub(crate) fn leave(&mut self, ticket: Ticket, granted: usize) {
        self.waiting.remove(&ticket);
        self.partial_bytes -= granted;
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whose turn it is when so many bytes are used. First come, first served: what does not fit keeps back those behind it.
    pub(crate) fn grant(&mut self, mut used: usize) -> Vec<Grant<W>> {
        let mut grants = Vec::new();
        while let Some(first) = self.waiting.first_entry() {
            let wish = first.get();
            let only_parts = used == self.partial_bytes && used <= self.bytes_max;
            let bytes = match used.saturating_add(wish.more) <= self.bytes_max {
                true => wish.more,
                false if only_parts => wish.rest,
                false => break,
            };
            used = used.saturating_add(bytes);
            self.partial_bytes = self.partial_bytes.saturating_add(bytes);
            grants.push(Grant { wake: first.remove().wake, bytes });
        }
        grants
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A room of 100 bytes with frames by name, and what they have.
    struct Fixture {
        turns: Turns<char>,
        frames: BTreeMap<char, Frame>,
        used: usize,
    }

    struct Frame {
        ticket: Ticket,
        length: usize,
        granted: usize,
    }

    impl Fixture {
        fn new() -> Self {
            Self { turns: Turns::new(100), frames: BTreeMap::new(), used: 0 }
        }

        /// A frame of that length comes, and asks for its first bytes.
        fn comes(&mut self, name: char, length: usize, more: usize) -> String {
            let ticket = self.turns.ticket();
            self.frames.insert(name, Frame { ticket, length, granted: 0 });
            self.asks(name, more)
        }

        fn asks(&mut self, name: char, more: usize) -> String {
            let frame = &self.frames[&name];
            self.turns.ask(frame.ticket, more, frame.length - frame.granted, name);
            self.settle()
        }

        /// Who got what now, in order.
        fn settle(&mut self) -> String {
            let grants = self.turns.grant(self.used);
            for grant in &grants {
                self.used += grant.bytes;
                self.frames.get_mut(&grant.wake).unwrap().granted += grant.bytes;
            }
            grants.iter().map(|g| format!("{}{} ", g.wake, g.bytes)).collect::<String>().trim_end().to_owned()
        }

        /// The frame is whole, and under way from now on.
        fn is_whole(&mut self, name: char) {
            let frame = &self.frames[&name];
            assert_eq!(frame.granted, frame.length);
            self.turns.leave(frame.ticket, frame.granted);
        }

        fn is_answered(&mut self, name: char) -> String {
            self.used -= self.frames.remove(&name).unwrap().granted;
            self.settle()
        }

        fn is_cut_off(&mut self, name: char) -> String {
            let frame = &self.frames[&name];
            self.turns.leave(frame.ticket, frame.granted);
            self.is_answered(name)
        }
    }

    #[test]
    fn frames_get_what_they_ask_for_until_the_room_is_full() {
        let mut room = Fixture::new();
        assert_eq!(room.comes('a', 60, 60), "a60");
        room.is_whole('a');
        assert_eq!(room.comes('b', 40, 40), "b40");
        room.is_whole('b');
        assert_eq!(room.comes('c', 1, 1), "", "not one byte past the bound while others are under way");
        assert_eq!(room.is_answered('a'), "c1");
    }

    #[test]
    fn who_came_first_goes_first_though_a_smaller_frame_would_fit() {
        let mut room = Fixture::new();
        room.comes('a', 50, 50);
        room.is_whole('a');
        assert_eq!(room.comes('b', 80, 80), "");
        assert_eq!(room.comes('c', 10, 10), "", "or the larger one would wait for ever");
        assert_eq!(room.is_answered('a'), "b80 c10");
    }

    #[test]
    fn a_frame_larger_than_the_room_has_its_turn_when_nothing_else_is_in_it() {
        let mut room = Fixture::new();
        room.comes('a', 10, 10);
        room.is_whole('a');
        assert_eq!(room.comes('b', 500, 500), "");
        assert_eq!(room.is_answered('a'), "b500");
        assert_eq!(room.comes('c', 5, 5), "");
        room.is_whole('b');
        assert_eq!(room.is_answered('b'), "c5");
    }

    #[test]
    fn parts_that_fill_the_room_do_not_wait_for_each_other_for_ever() {
        let mut room = Fixture::new();
        for name in ['a', 'b', 'c', 'd'] {
            assert_eq!(room.comes(name, 70, 25), format!("{name}25"));
        }
        assert_eq!(room.asks('b', 25), "b45", "the first that asks gets all of its rest");
        assert_eq!(room.asks('a', 25), "", "and nobody else anything meanwhile");
        room.is_whole('b');
        assert_eq!(room.asks('c', 25), "");
        assert_eq!(room.is_answered('b'), "a25 c45", "now the next that does not fit");
        assert_eq!(room.asks('a', 20), "");
        room.is_whole('c');
        assert_eq!(room.is_answered('c'), "a20");
        room.is_whole('a');
        assert_eq!(
            room.asks('d', 45),
            "",
            "a whole one will be answered, so nobody has to go past the bound"
        );
        assert_eq!(room.is_answered('a'), "d45");
    }

    #[test]
    fn a_connection_that_ends_gives_back_what_it_had_and_its_turn() {
        let mut room = Fixture::new();
        room.comes('a', 90, 90);
        room.is_whole('a');
        assert_eq!(room.comes('b', 80, 20), "");
        assert_eq!(room.comes('c', 20, 10), "");
        assert_eq!(room.is_cut_off('b'), "c10", "who stands behind does not wait for one that is gone");
        assert_eq!(room.is_cut_off('c'), "");
        assert_eq!(room.is_answered('a'), "");
        assert_eq!((room.used, room.turns.partial_bytes, room.turns.waiting()), (0, 0, 0));
    }

    /// Whatever the order of events: never more than a frame past the bound, and all end up answered.
    #[test]
    fn every_frame_is_answered_in_the_end_and_the_bound_is_passed_by_one_frame_at_most() {
        for seed in 1..200u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut random = |below: usize| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as usize % below
            };
            let mut room = Fixture::new();
            let lengths: Vec<usize> = (0..26).map(|_| 1 + random(150)).collect();
            for (name, length) in ('a'..).zip(&lengths) {
                room.comes(name, *length, 1 + random(*length));
            }
            let (mut whole, mut steps) = (Vec::new(), 0);
            while !room.frames.is_empty() {
                steps += 1;
                assert!(steps < 10_000, "seed {seed}: somebody waits for ever");
                assert!(room.used <= 100 + 150, "seed {seed}: {} bytes", room.used);
                let names: Vec<char> = room.frames.keys().copied().collect();
                let name = names[random(names.len())];
                let frame = &room.frames[&name];
                let waits = room.turns.waiting.contains_key(&frame.ticket);
                let rest = frame.length - frame.granted;
                if whole.contains(&name) {
                    whole.retain(|n| *n != name);
                    room.is_answered(name);
                } else if rest == 0 {
                    room.is_whole(name);
                    whole.push(name);
                } else if !waits {
                    room.asks(name, 1 + random(rest));
                }
            }
            assert_eq!((room.used, room.turns.partial_bytes), (0, 0), "seed {seed}");
        }
    }
}

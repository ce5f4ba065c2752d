/// How a leader is asked: what may bring much does not wait, and what waits brings little.
///
/// A fetch that waits may do so for minutes, and thousands of idle consumers have one each. If it held a share of the budget
/// meanwhile, they would leave nothing to those that read. So it holds nothing and asks for no more than a batch or so, which
/// is what a connection may take beside the budget; what it brings is let go and asked for once more if there is no room. A
/// look holds a share, but not for long: the leader answers at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pace {
    /// At once, for a share of the budget: there may be much.
    #[default]
    Look,
    /// When there is news: all that was there has been read.
    Wait,
}

/// What a waiting fetch asks for.
const WAITING_BYTES: i32 = 64 << 10;
/// A client that would rather wait for more than this is answered when there is this much.
const MIN_BYTES_MAX: i32 = 1 << 20;
/// Who has sent this much may have more.
const MUCH: usize = WAITING_BYTES as usize / 2;

impl Pace {
    /// How to go on after an answer with so many bytes of records.
    pub(super) fn after(bytes: usize) -> Self {
        if bytes >= MUCH { Self::Look } else { Self::Wait }
    }
}

/// How many bytes are waited for, of those that a client would wait for.
pub(super) fn enough(min_bytes: i32) -> i32 {
    min_bytes.clamp(1, MIN_BYTES_MAX)
}

/// What a fetch asks for that waits for so many bytes.
pub(super) fn waiting_bytes(enough: i32) -> i32 {
    enough.max(WAITING_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_at_the_end_waits_and_who_is_behind_does_not() {
        assert_eq!(Pace::default(), Pace::Look, "nothing is known");
        assert_eq!(Pace::after(0), Pace::Wait);
        assert_eq!(Pace::after(300), Pace::Wait, "a slow trickle needs no look in between");
        // A waiting fetch that came back full.
        assert_eq!(Pace::after(waiting_bytes(1) as usize - 1_000), Pace::Look);
        assert_eq!(Pace::after(8 << 20), Pace::Look);
    }

    #[test]
    fn a_fetch_that_waits_asks_for_what_it_waits_for_and_never_for_much() {
        for min_bytes in [i32::MIN, 0, 1, 100_000, 50 << 20, i32::MAX] {
            let enough = enough(min_bytes);
            assert!((1..=1 << 20).contains(&enough), "{min_bytes}");
            assert!((enough..=1 << 20).contains(&waiting_bytes(enough)), "{min_bytes}");
        }
    }
}

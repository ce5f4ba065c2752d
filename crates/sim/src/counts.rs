use std::{fmt, ops::AddAssign};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// What happened, so that one sees that things happen.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl AddAssign<&Counts> for Counts {
            fn add_assign(&mut self, other: &Counts) {
                $(self.$name += other.$name;)+
            }
        }

        impl fmt::Display for Counts {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let all = [$((stringify!($name), self.$name)),+];
                for (index, (name, count)) in all.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{} {count}", name.replace('_', " "))?;
                }
                Ok(())
            }
        }
    };
}

counts! {
    seeds,
    steps,
    /// Of simulated time.
    simulated_ms,
    /// Batches.
    committed,
    acknowledged,
    consumed,
    duplicates,
    /// Requests under an idempotency key that were answered, and how often they were again.
    keyed,
    keyed_again,
    /// Other requests under a key that was used.
    keyed_refused,
    elections,
    recovering,
    unclean,
    /// Batches that a RECOVERING or unclean election lost, as it may.
    lost_batches,
    truncations,
    truncated_batches,
    isr_changes,
    isr_refusals,
    entries,
    failovers,
    fences,
    kills,
    power_cuts,
    power_cuts_of_all,
    cut_batches,
    wiped,
    old_copies,
    pauses,
    partitions,
    clock_jumps,
    clean_stops,
    reassignments,
    retentions,
    lost,
    /// Coordinators that read their log.
    loads,
    /// Steps of coordinators that wrote something.
    group_batches,
    /// Marks for answers that no heartbeat made sure of.
    marks,
    group_answers,
    joins,
    commits,
    refused_commits,
    positions,
    /// Partitions that a member got.
    assigned,
    expired,
    /// Seeds that were healed in the end and became whole.
    healed,
}

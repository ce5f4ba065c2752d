//! Once everything is healed, each partition gets a leader again without an operator, and everybody into its ISR; what
//! was pending is acknowledged and read.

use domain::NodeId;

use super::{Checked, hold};

/// After a power cut of everything nobody leads while another is there with all its log and more: what one of the disks
/// kept is not lost.
pub(crate) fn longest(leader: NodeId, longer: Option<NodeId>) -> Checked {
    hold("R13", longer.is_none(), || format!("node {leader} leads, but {longer:?} has all its log and more"))
}

/// What is still missing when the time for it is over; empty when nothing is.
pub(crate) fn settled(missing: &[String]) -> Checked {
    hold("R13", missing.is_empty(), || format!("after healing: {}", missing.join("; ")))
}

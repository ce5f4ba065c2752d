//! A node's image is a prefix of the committed log; snapshot + tail ≡ full replay.

use metadata::{Command, Image};

use super::{Checked, hold};

/// A node's image, made of a snapshot and deltas, against the controllers' of the same version.
pub(crate) fn prefix(theirs: &Image, committed: &Image) -> Checked {
    let same = theirs.cluster_id == committed.cluster_id
        && theirs.nodes == committed.nodes
        && theirs.topics == committed.topics
        && theirs.topic_names == committed.topic_names
        && theirs.cluster_configs == committed.cluster_configs;
    hold("C2", same, || format!("a node's image {theirs:?} is not the committed one, {committed:?}"))
}

/// Everything again from the first command.
pub(crate) fn replayed<'a>(commands: impl Iterator<Item = (u64, &'a Command)>, image: &Image) -> Checked {
    let mut again = Image::default();
    for (version, command) in commands {
        again.version = version;
        again.apply(command);
    }
    hold("C2", again == *image, || format!("a replay gives {again:?} instead of {image:?}"))
}

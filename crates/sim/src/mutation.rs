use std::fmt;

/// A mistake that is made on purpose, so that the checkers prove that they would see it. The pure crates stay as they are:
/// what goes into them or comes out of them is bent so that one of their checks has nothing to bite on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Requests and answers of other leader epochs are taken for current ones.
    NoEpochFencing,
    /// A new leader counts what followers fetched under earlier leaders.
    NoFetchInEpochCheck,
    /// Fenced nodes are taken into the ISR.
    NoKip841,
    /// An earlier incarnation's fetch brings a node into the ISR.
    NoKip903,
    /// The high watermark waits for the adopted ISR only, not for proposed members.
    NoMaximalIsr,
    /// A refused proposal is taken for settled, though an earlier copy of it may still arrive.
    RefusedRevertedAtOnce,
    /// A follower cuts its log at its own high watermark when the leader changes.
    TruncateToHighWatermark,
    /// A member of the ELR keeps its place though its disk lost something.
    UncleanElrMember,
    /// Proposals are taken whatever state they were based on.
    NoPartitionEpochCheck,
    /// A leader takes its minimum from the configs, not from the state that it came with.
    MinIsrApart,
    /// The same boot id is proof enough, whatever incarnation the folder remembers.
    BootIdWithoutNodeEpoch,
    /// A diverging follower takes the leader's high watermark before it truncates.
    HighWatermarkBeforeTruncation,
    /// A follower joins the ISR before it has reached the start of the leader's epoch.
    JoinWithoutEpochStart,
    /// A follower's log end counts before it is flushed.
    AckBeforeFlush,
    /// A new leader shows its high watermark before it has passed the epoch's start.
    StaleHighWatermarkShown,
    /// The epoch cache is not trimmed when a truncation cuts no record (KAFKA-10706).
    EpochCacheNotTrimmed,
    /// A registration does not end the leaderships of the incarnation before.
    RegistrationKeepsLeadership,
    /// A restarted leader does not tell duplicates.
    ProducersForgotten,
    /// After a power cut of everything only those are asked who were fenced last.
    OnlyTheLastAsked,
    /// A coordinator answers before its records are committed.
    AnswerBeforeCommit,
    /// Positions are told by who took itself for the leader.
    NoReadIndex,
    /// A new coordinator reads its log up to the high watermark only.
    LoadToHighWatermark,
    /// Commits are taken under any epoch.
    NoCommitFencing,
    /// Positions of groups with members expire.
    ExpireWhileAlive,
    /// A partition counts as given up before its owner has said so.
    RevokedUnheard,
}

impl Mutation {
    pub const ALL: [Mutation; 19] = [
        Self::NoEpochFencing,
        Self::NoFetchInEpochCheck,
        Self::NoKip841,
        Self::NoKip903,
        Self::NoMaximalIsr,
        Self::RefusedRevertedAtOnce,
        Self::TruncateToHighWatermark,
        Self::UncleanElrMember,
        Self::NoPartitionEpochCheck,
        Self::MinIsrApart,
        Self::BootIdWithoutNodeEpoch,
        Self::HighWatermarkBeforeTruncation,
        Self::JoinWithoutEpochStart,
        Self::AckBeforeFlush,
        Self::StaleHighWatermarkShown,
        Self::EpochCacheNotTrimmed,
        Self::RegistrationKeepsLeadership,
        Self::ProducersForgotten,
        Self::OnlyTheLastAsked,
    ];

    /// Those that a coordinator of groups makes.
    pub const OF_GROUPS: [Mutation; 6] = [
        Self::AnswerBeforeCommit,
        Self::NoReadIndex,
        Self::LoadToHighWatermark,
        Self::NoCommitFencing,
        Self::ExpireWhileAlive,
        Self::RevokedUnheard,
    ];

    /// The mutation of that name, as [`fmt::Display`] writes it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().chain(Self::OF_GROUPS).find(|m| m.to_string() == name)
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

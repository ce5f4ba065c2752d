use std::collections::BTreeMap;

/// What a coordinator holds; for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Groups of the classic protocol, by state.
    pub classic: BTreeMap<&'static str, usize>,
    /// Groups of the consumer protocol, by state.
    pub consumer: BTreeMap<&'static str, usize>,
    pub members: usize,
    pub offsets: usize,
}

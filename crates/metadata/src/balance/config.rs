/// How uneven disks may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalanceConfig {
    /// Replicas are moved for the sake of disks only between nodes whose used bytes differ by more than this part of
    /// the mean, and then until they differ by half of that: so sizes that change a little move nothing.
    pub disk_tolerance_percent: u64,
    /// The same in bytes; the greater of the two counts.
    pub disk_tolerance_bytes: u64,
}

impl Default for BalanceConfig {
    fn default() -> Self {
        Self { disk_tolerance_percent: 10, disk_tolerance_bytes: 1 << 30 }
    }
}

impl BalanceConfig {
    /// By how many bytes two nodes may differ when nodes use so many on average.
    pub(super) fn tolerance_bytes(&self, mean_bytes: u64) -> u64 {
        let part = (mean_bytes / 100).saturating_mul(self.disk_tolerance_percent);
        part.max(self.disk_tolerance_bytes)
    }
}

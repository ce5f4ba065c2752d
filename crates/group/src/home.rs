/// The partition of [`OFFSETS_TOPIC`] whose leader coordinates a group: Java's `String.hashCode` without its sign bit,
/// modulo, as Kafka's `GroupCoordinator.partitionFor`.
pub fn partition_of(group: &str, partitions: i32) -> i32 {
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    (hash & i32::MAX) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partition_is_kafkas() {
        // "foo".hashCode() = 101574, "console-consumer-12345".hashCode() is negative.
        assert_eq!(partition_of("foo", 50), 101_574 % 50);
        assert_eq!(partition_of("", 50), 0);
        assert!((0..50).contains(&partition_of("console-consumer-12345", 50)));
        // U+1F600 is two units in Java: 31 * 0xD83D + 0xDE00.
        assert_eq!(partition_of("\u{1F600}", 50), (31 * 0xD83D + 0xDE00) % 50);
    }
}

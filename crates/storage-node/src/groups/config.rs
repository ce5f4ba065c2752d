use group::GroupConfig;
use settings::GroupSettings;

/// The settings of groups, as far as they are this node's. What it says is what holds: bounds are for what groups may have
/// instead.
pub(crate) fn group_config(settings: &GroupSettings) -> GroupConfig {
    let ms = |ms: u64| i32::try_from(ms).unwrap_or(i32::MAX);
    let default = GroupConfig::default();
    let consumer_session_timeout_ms = ms(settings.consumer_session_timeout_ms);
    GroupConfig {
        initial_rebalance_delay_ms: settings.initial_rebalance_delay_ms,
        session_timeout_ms_min: ms(settings.session_timeout_ms_min),
        session_timeout_ms_max: ms(settings.session_timeout_ms_max),
        consumer_session_timeout_ms,
        consumer_session_timeout_ms_min: default
            .consumer_session_timeout_ms_min
            .min(consumer_session_timeout_ms),
        consumer_session_timeout_ms_max: default
            .consumer_session_timeout_ms_max
            .max(consumer_session_timeout_ms),
        consumer_heartbeat_interval_ms: ms(settings.consumer_heartbeat_interval_ms),
        rest_session_ms: ms(settings.rest_session_timeout_ms),
        rest_rebalance_ms: ms(settings.rest_rebalance_timeout_ms),
        offsets_retention_ms: settings.offsets_retention_ms,
        ..default
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_as_long_as_the_setting_says() {
        for ms in [6_000, 45_000, 300_000] {
            let settings = GroupSettings { consumer_session_timeout_ms: ms, ..GroupSettings::default() };
            let config = group_config(&settings);
            let bounds = config.consumer_session_timeout_ms_min..=config.consumer_session_timeout_ms_max;
            assert!(bounds.contains(&(ms as i32)), "{ms}: {bounds:?}");
        }
    }
}

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::ServerConfig;

/// Raises the limit on open files as far as this process may, and makes `config` fit below it beside `other_files`. A login
/// shell's soft limit is often 1,024; the hard one is what this process may really have. Connections that took the last
/// descriptor would have whoever opens a file fail.
pub fn fit_open_files(config: &mut ServerConfig, other_files: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, limit = ?limit.current, "the limit on open files was not raised");
    }
    // None: there is no limit.
    let Some(limit) = getrlimit(Resource::Nofile).current else { return };
    let wanted = config.connections_max;
    if fit(config, usize::try_from(limit).unwrap_or(usize::MAX), other_files) {
        // Nothing is wrong yet, and the standard settings want more than many machines allow. Whoever is refused is told of.
        tracing::info!(
            limit,
            wanted,
            other_files,
            connections_max = config.connections_max,
            "the limit on open files (ulimit -Hn) is smaller than all connections and files, taking fewer connections"
        );
    }
}

/// Whether fewer connections had to do. They have half of what there is in any case: files can be opened one after another.
fn fit(config: &mut ServerConfig, limit: usize, other_files: usize) -> bool {
    let wanted = config.connections_max.saturating_add(config.reserved.map_or(0, |r| r.places));
    let places = limit.saturating_sub(other_files).max(limit / 2);
    if wanted <= places {
        return false;
    }
    // The cluster's own nodes keep what is set aside for them, as far as there is anything.
    let reserved = config.reserved.as_mut().map_or(0, |reserved| {
        reserved.places = reserved.places.min(places / 4);
        reserved.places
    });
    config.connections_max = places - reserved;
    true
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Reserved;

    /// What is left of 10,000 connections and 625 places set aside, beside 2,000 files.
    fn fitted(limit: usize) -> (bool, usize, usize) {
        let mut config = ServerConfig {
            request_bytes_max: 1,
            idle_max: Duration::ZERO,
            connections_max: 10_000,
            reserved: Some(Reserved { places: 625, client_id: "node" }),
            in_flight_max: 1,
            in_flight_bytes_max: 1,
            requests_bytes_max: 1,
            trickle_max: Duration::ZERO,
            answer_bytes_max: 1,
            stall_max: Duration::ZERO,
        };
        let fewer = fit(&mut config, limit, 2_000);
        (fewer, config.connections_max, config.reserved.unwrap().places)
    }

    #[test]
    fn connections_leave_the_open_files_their_descriptors() {
        assert_eq!(fitted(12_625), (false, 10_000, 625));
        assert_eq!(fitted(12_000), (true, 9_375, 625));
        assert_eq!(fitted(2_100), (true, 788, 262), "half of what there is, a quarter of it set aside");
    }
}

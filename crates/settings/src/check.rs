use std::net::{Ipv4Addr, SocketAddr};

use crate::{
    ControllerSettings, GatewaySettings, PublicListenSettings, SettingsError, StorageSettings, advertised,
};

fn invalid(reason: impl ToString) -> SettingsError {
    SettingsError::Invalid(reason.to_string())
}

/// `host:port` with a port that is a number; whether the host exists is for whoever connects to find out.
fn host_and_port(key: &str, value: &str) -> Result<u16, SettingsError> {
    let (host, port) = value
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .ok_or_else(|| invalid(format!("{key} '{value}' is not host:port")))?;
    if host.contains(['/', ' ']) {
        return Err(invalid(format!("{key} '{value}' is not host:port")));
    }
    port.parse().map_err(|_| invalid(format!("{key} '{value}' has no port from 0 to 65535")))
}

fn public(key: &str, settings: &PublicListenSettings) -> Result<(), SettingsError> {
    let port = host_and_port(&format!("{key}.listen"), &settings.listen)?;
    // A name stands for one host; only an address can be a wildcard.
    let bound = settings.listen.parse().unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    advertised(key, settings.advertised.as_deref(), bound).map(drop).map_err(invalid)
}

fn seeds(seeds: &[String]) -> Result<(), SettingsError> {
    if seeds.is_empty() {
        return Err(invalid("controller.seeds is empty: it names host:port of every controller"));
    }
    seeds.iter().try_for_each(|seed| host_and_port("controller.seeds", seed).map(drop))
}

impl ControllerSettings {
    /// What a controller could not start with.
    pub fn check(&self) -> Result<(), SettingsError> {
        seeds(&self.seeds)?;
        if self.ordinal as usize >= self.seeds.len() {
            let (ordinal, count) = (self.ordinal, self.seeds.len());
            return Err(invalid(format!(
                "controller.seeds names {count}, so there is no controller.ordinal {ordinal}"
            )));
        }
        host_and_port("controller.rpc.listen", &self.rpc.listen)?;
        host_and_port("controller.http.listen", &self.http.listen)?;
        let (min, max) = (self.raft_election_timeout_ms_min, self.raft_election_timeout_ms_max);
        if self.raft_heartbeat_interval_ms == 0 || self.raft_heartbeat_interval_ms >= min || min >= max {
            return Err(invalid(format!(
                "controller.raft_heartbeat_interval_ms {} < raft_election_timeout_ms_min {min} < raft_election_timeout_ms_max {max} does not hold",
                self.raft_heartbeat_interval_ms
            )));
        }
        if self.raft_snapshot_entries == 0 {
            return Err(invalid("controller.raft_snapshot_entries is 0"));
        }
        Ok(())
    }
}

impl StorageSettings {
    /// What a storage node could not start with. `controllers` is `controller.seeds`.
    pub fn check(&self, controllers: &[String]) -> Result<(), SettingsError> {
        seeds(controllers)?;
        if self.node_id < 0 {
            return Err(invalid(format!("storage.node_id {} is negative", self.node_id)));
        }
        public("storage.kafka", &self.kafka)?;
        public("storage.http", &self.http)?;
        for (key, value) in [
            ("storage.request_bytes_max", self.request_bytes_max as usize),
            ("storage.requests_bytes_max", self.requests_bytes_max),
            ("storage.open_files_max", self.open_files_max),
            ("storage.connections_max", self.connections_max),
        ] {
            if value == 0 {
                return Err(invalid(format!("{key} is 0")));
            }
        }
        Ok(())
    }
}

impl GatewaySettings {
    /// What a gateway could not start with. `controllers` is `controller.seeds`.
    pub fn check(&self, controllers: &[String]) -> Result<(), SettingsError> {
        seeds(controllers)?;
        public("gateway.rest", &self.rest)?;
        let kafka = &self.kafka;
        let listen =
            PublicListenSettings { listen: kafka.listen.clone(), advertised: kafka.advertised.clone() };
        public("gateway.kafka", &listen)?;
        for (key, value) in [
            ("gateway.kafka.request_bytes_max", kafka.request_bytes_max),
            ("gateway.kafka.in_flight_bytes_max", kafka.in_flight_bytes_max),
            ("gateway.kafka.requests_bytes_max", kafka.requests_bytes_max),
            ("gateway.kafka.answer_bytes_max", kafka.answer_bytes_max),
            ("gateway.kafka.connections_max", kafka.connections_max),
            ("gateway.limits.batch_entries_max", self.limits.batch_entries_max),
        ] {
            if value == 0 {
                return Err(invalid(format!("{key} is 0")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::Settings;

    fn told(change: impl FnOnce(&mut Settings)) -> [Option<String>; 3] {
        let mut settings = Settings::standard();
        change(&mut settings);
        let seeds = &settings.controller.seeds;
        [settings.controller.check(), settings.storage.check(seeds), settings.gateway.check(seeds)]
            .map(|checked| checked.err().map(|e| e.to_string()))
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(told(|_| ()), [None, None, None]);
    }

    #[test]
    fn what_could_not_start_is_refused_by_name() {
        let names = |told: [Option<String>; 3], service: usize, name: &str| {
            assert!(told[service].as_ref().is_some_and(|t| t.contains(name)), "{told:?}");
        };
        names(told(|s| s.storage.node_id = -3), 1, "storage.node_id -3");
        names(told(|s| s.storage.kafka.listen = "nonsense".into()), 1, "storage.kafka.listen 'nonsense'");
        names(told(|s| s.gateway.rest.listen = "0.0.0.0:1".into()), 2, "gateway.rest.advertised");
        names(told(|s| s.gateway.kafka.listen = "0.0.0.0:1".into()), 2, "gateway.kafka.advertised");
        names(told(|s| s.gateway.kafka.connections_max = 0), 2, "gateway.kafka.connections_max is 0");
        names(told(|s| s.gateway.limits.batch_entries_max = 0), 2, "gateway.limits.batch_entries_max is 0");
        names(told(|s| s.controller.ordinal = 7), 0, "controller.ordinal 7");
        names(
            told(|s| s.controller.raft_election_timeout_ms_min = 5_000),
            0,
            "raft_election_timeout_ms_min 5000",
        );
        names(told(|s| s.controller.seeds = vec!["x".into()]), 1, "controller.seeds 'x'");
        names(told(|s| s.controller.seeds.clear()), 2, "controller.seeds is empty");
    }
}

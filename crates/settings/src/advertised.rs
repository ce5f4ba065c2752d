use std::net::{IpAddr, SocketAddr};

/// Nobody could connect to what this process would tell them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdvertisedError {
    #[error("{key}.listen is the wildcard {bound}, so {key}.advertised must say what clients connect to")]
    Wildcard { key: String, bound: SocketAddr },
    #[error("{key}.advertised '{value}' is not host or host:port")]
    Malformed { key: String, value: String },
}

/// The host and port that others are told to connect to: what is advertised, else what is bound.
///
/// # Errors
/// A wildcard is bound and nothing is advertised, or what is advertised is malformed. `key` names the setting.
pub fn advertised(
    key: &str,
    advertised: Option<&str>,
    bound: SocketAddr,
) -> Result<(String, u16), AdvertisedError> {
    let Some(value) = advertised.filter(|v| !v.is_empty()) else {
        if bound.ip().is_unspecified() {
            return Err(AdvertisedError::Wildcard { key: key.to_owned(), bound });
        }
        return Ok((bound.ip().to_string(), bound.port()));
    };
    let malformed = || AdvertisedError::Malformed { key: key.to_owned(), value: value.to_owned() };
    if let Ok(address) = value.parse::<SocketAddr>() {
        return Ok((address.ip().to_string(), address.port()));
    }
    if let Ok(ip) = value.parse::<IpAddr>() {
        return Ok((ip.to_string(), bound.port()));
    }
    let (host, port) = match value.split_once(':') {
        None => (value, bound.port()),
        Some((host, port)) => (host, port.parse().map_err(|_| malformed())?),
    };
    match host.is_empty() || host.contains(['/', ' ', ':']) {
        true => Err(malformed()),
        false => Ok((host.to_owned(), port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(value: Option<&str>, bound: &str) -> Result<(String, u16), AdvertisedError> {
        advertised("storage.kafka", value, bound.parse().unwrap())
    }

    #[test]
    fn the_bound_host_is_advertised_unless_it_is_a_wildcard() {
        assert_eq!(told(None, "127.0.0.1:9092"), Ok(("127.0.0.1".into(), 9092)));
        assert_eq!(told(Some("node-0.storage"), "0.0.0.0:9092"), Ok(("node-0.storage".into(), 9092)));
        assert_eq!(told(Some("[::1]:5"), "0.0.0.0:9092"), Ok(("::1".into(), 5)));
        assert_eq!(
            told(None, "0.0.0.0:9092").unwrap_err().to_string(),
            "storage.kafka.listen is the wildcard 0.0.0.0:9092, so storage.kafka.advertised must say what clients connect to"
        );
        assert!(told(Some("http://x"), "0.0.0.0:1").is_err());
        assert!(told(Some("h:port"), "0.0.0.0:1").is_err());
    }
}

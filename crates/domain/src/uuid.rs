use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not an id in Kafka's form: 16 bytes in URL-safe base64 without padding, 22 characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a 22-character base64 id")]
pub struct IdParseError(pub String);

macro_rules! kafka_uuid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&URL_SAFE_NO_PAD.encode(self.0.as_bytes()))
            }
        }

        impl FromStr for $name {
            type Err = IdParseError;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                let bytes = URL_SAFE_NO_PAD.decode(s).map_err(|_| IdParseError(s.to_owned()))?;
                Uuid::from_slice(&bytes).map(Self).map_err(|_| IdParseError(s.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdParseError;
            fn try_from(s: String) -> Result<Self, Self::Error> {
                s.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

kafka_uuid! {
    /// A topic's identity; a topic deleted and made again under the same name is another topic (KIP-516).
    TopicId
}
kafka_uuid! {
    /// A data folder's identity, written when the folder is formatted (KIP-858).
    DirectoryId
}
kafka_uuid! {
    /// The cluster's identity, decided once by the controller.
    ClusterId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_kafkas() {
        let id = TopicId(Uuid::from_u128(1));
        assert_eq!(id.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ".parse(), Ok(id));
        assert_eq!("short".parse::<TopicId>(), Err(IdParseError("short".into())));
    }
}

#![doc = include_str!("../README.md")]

mod advertised;
mod check;
mod load;
mod tree;

pub use advertised::{AdvertisedError, advertised};
pub use load::{SettingsError, Sources, flags, load};
pub use tree::{
    ControllerSettings, GatewayKafkaSettings, GatewaySettings, GroupSettings, LimitSettings, ListenSettings,
    LogFormat, LogSettings, PublicListenSettings, Settings, StorageSettings,
};

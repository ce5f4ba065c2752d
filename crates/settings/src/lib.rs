#![doc = include_str!("../README.md")]

mod advertised;
mod check;
mod load;
mod tree;

pub use advertised::{AdvertisedError, advertised};
pub use load::{SettingsError, Sources, flags, load};
pub use tree::{
    ControllerSettings, GatewayKafkaSettings, GatewaySettings, GroupSettings, KubernetesSettings,
    LimitSettings, ListenSettings, LogFormat, LogSettings, PublicListenSettings, RebalanceSettings, Settings,
    StorageSettings,
};

use axum::http::StatusCode;
use domain::TopicName;
use metadata::{ConfigChange, ConfigOperation};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{ApiError, app::CONTROLLER_MAX, json_object::JsonObject, place::At};

#[derive(Deserialize, ToSchema)]
#[schema(as = UpdateConfig)]
#[serde(deny_unknown_fields)]
pub(crate) struct Put {
    pub(super) value: String,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = AlterConfigs)]
#[serde(deny_unknown_fields)]
pub(crate) struct Alter {
    #[schema(value_type = Vec<Change>)]
    data: Vec<JsonObject<Change>>,
    #[serde(default)]
    pub(super) validate_only: bool,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = AlterConfig)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    name: String,
    value: Option<String>,
    operation: Option<String>,
}

impl Alter {
    pub(super) fn changes(self) -> Result<Vec<ConfigChange>, ApiError> {
        changes(self.data)
    }
}

pub(super) fn changes(data: Vec<JsonObject<Change>>) -> Result<Vec<ConfigChange>, ApiError> {
    data.into_iter().map(|JsonObject(change)| change.parsed()).collect()
}

impl Change {
    fn parsed(self) -> Result<ConfigChange, ApiError> {
        let name = self.name;
        let value = || {
            let message = format!("config {name} has no value to set");
            self.value.clone().ok_or_else(|| ApiError::bad_request(message))
        };
        let operation = match self.operation.as_deref() {
            None | Some("SET") => ConfigOperation::Set(value()?),
            Some("DELETE") => ConfigOperation::Delete,
            Some("APPEND") => ConfigOperation::Append(value()?),
            Some("SUBTRACT") => ConfigOperation::Subtract(value()?),
            Some(other) => {
                let message =
                    format!("config {name}: operation '{other}' is not one of SET, DELETE, APPEND, SUBTRACT");
                return Err(ApiError::bad_request(message));
            }
        };
        Ok(ConfigChange { name, operation })
    }
}

/// All of the changes or none. No topic: what holds for all of them.
pub(super) async fn apply(
    at: &At,
    topic: Option<&TopicName>,
    changes: &[ConfigChange],
    validate_only: bool,
) -> Result<StatusCode, ApiError> {
    let version = at.app.controller.alter_configs(topic, changes, validate_only, CONTROLLER_MAX).await?;
    if !validate_only {
        at.app.settled(version).await;
    }
    Ok(StatusCode::NO_CONTENT)
}

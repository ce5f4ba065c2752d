use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use config::Config;

use crate::Settings;

/// Why the configuration was not taken. Each names the key and where it stands.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read configuration file {path}: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    #[error("configuration file {path} is not TOML: {reason}")]
    NotToml { path: PathBuf, reason: String },
    #[error("unknown configuration key '{key}' in {place}{}", hint(.nearest))]
    UnknownKey { key: String, place: String, nearest: Option<String> },
    #[error("configuration: {0}")]
    Invalid(String),
}

/// Where settings come from, as `main` collected it.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    /// The process's environment; what does not begin with `ANABRANCH_` is passed over.
    pub environment: Vec<(String, String)>,
    /// Keys with their values, from the command line.
    pub flags: Vec<(String, String)>,
}

const PREFIX: &str = "ANABRANCH_";
/// Variables of the command line and of the scripts, not of a service.
const NOT_KEYS: [&str; 3] = ["ANABRANCH_CONFIG", "ANABRANCH_URL", "ANABRANCH_BIN_DIR"];

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|n| format!(" (did you mean '{n}'?)")).unwrap_or_default()
}

/// Adds `--config`, `--check-config` and one flag for every key under the given prefixes.
pub fn flags(command: Command, prefixes: &[&str]) -> Command {
    let keys = keys().into_iter().filter(|(k, _)| prefixes.iter().any(|p| k.starts_with(p)));
    let config =
        Arg::new("config").long("config").env("ANABRANCH_CONFIG").value_name("FILE").help("A TOML file");
    let check = Arg::new("check-config")
        .long("check-config")
        .action(ArgAction::SetTrue)
        .help("Read the configuration, say whether it is valid, and end");
    keys.fold(command.arg(config).arg(check), |command, (key, default)| {
        let help = match default {
            serde_json::Value::Null => "none by default".to_owned(),
            default => format!("default: {default}"),
        };
        command.arg(Arg::new(key.clone()).long(key).value_name("VALUE").help(help))
    })
}

impl Sources {
    /// What a command line made by [`flags`] says, with the environment.
    pub fn new(matches: &ArgMatches, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let flag = |(key, _): (String, serde_json::Value)| {
            let value = matches.try_get_one::<String>(&key).ok().flatten()?.clone();
            Some((key, value))
        };
        Self {
            file: matches.try_get_one::<String>("config").ok().flatten().map(PathBuf::from),
            environment: environment.into_iter().collect(),
            flags: keys().into_iter().filter_map(flag).collect(),
        }
    }
}

/// Puts the sources over the defaults.
///
/// # Errors
/// An unreadable file, a key that does not exist, or a value of the wrong type; each by name.
pub fn load(sources: &Sources) -> Result<Settings, SettingsError> {
    let keys = keys();
    let invalid = |e: config::ConfigError| SettingsError::Invalid(e.to_string());
    let mut builder = Config::builder().add_source(Config::try_from(&Settings::standard()).map_err(invalid)?);
    let mut values: Vec<(String, config::Value)> = Vec::new();
    if let Some(path) = &sources.file {
        for (key, value) in file_values(path)? {
            known(&keys, &key, || path.display().to_string())?;
            values.push((key, value));
        }
    }
    for (variable, value) in &sources.environment {
        if !variable.starts_with(PREFIX) || NOT_KEYS.contains(&variable.as_str()) {
            continue;
        }
        let Some((key, default)) = keys.iter().find(|(k, _)| variable_of(k) == *variable) else {
            let nearest = nearest(keys.iter().map(|(k, _)| variable_of(k)), variable);
            return Err(SettingsError::UnknownKey {
                key: variable.clone(),
                place: "the environment".to_owned(),
                nearest,
            });
        };
        values.push((key.clone(), from_text(default, value)));
    }
    for (key, value) in &sources.flags {
        let default = known(&keys, key, || "the flags".to_owned())?;
        values.push((key.clone(), from_text(default, value)));
    }
    for (key, value) in values {
        builder = builder.set_override(&key, value).map_err(invalid)?;
    }
    builder.build().and_then(Config::try_deserialize).map_err(invalid)
}

fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "_"))
}

fn from_text(default: &serde_json::Value, text: &str) -> config::Value {
    match default {
        serde_json::Value::Array(_) => {
            let parts: Vec<String> =
                text.split(',').map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect();
            parts.into()
        }
        _ => text.to_owned().into(),
    }
}

/// Every key with its default.
fn keys() -> Vec<(String, serde_json::Value)> {
    fn walk(prefix: &str, value: serde_json::Value, keys: &mut Vec<(String, serde_json::Value)>) {
        match value {
            serde_json::Value::Object(map) => {
                for (name, value) in map {
                    let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
                    walk(&key, value, keys);
                }
            }
            leaf => keys.push((prefix.to_owned(), leaf)),
        }
    }
    let mut keys = Vec::new();
    walk("", serde_json::to_value(Settings::standard()).unwrap_or_default(), &mut keys);
    keys
}

fn known<'a>(
    keys: &'a [(String, serde_json::Value)],
    key: &str,
    place: impl Fn() -> String,
) -> Result<&'a serde_json::Value, SettingsError> {
    keys.iter().find(|(k, _)| k == key).map(|(_, default)| default).ok_or_else(|| SettingsError::UnknownKey {
        key: key.to_owned(),
        place: place(),
        nearest: nearest(keys.iter().map(|(k, _)| k.clone()), key),
    })
}

fn nearest(keys: impl Iterator<Item = String>, key: &str) -> Option<String> {
    keys.map(|k| (distance(&k, key), k)).min().filter(|(d, k)| *d <= k.len() / 3).map(|(_, k)| k)
}

/// The edit distance (Levenshtein 1966).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn file_values(path: &Path) -> Result<Vec<(String, config::Value)>, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| SettingsError::Unreadable { path: path.to_owned(), reason: e.to_string() })?;
    let not_toml = |reason: String| SettingsError::NotToml { path: path.to_owned(), reason };
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| not_toml(e.to_string()))?;
    let mut values = Vec::new();
    flatten("", toml::Value::Table(table), &mut values);
    Ok(values)
}

fn flatten(prefix: &str, value: toml::Value, values: &mut Vec<(String, config::Value)>) {
    let value: config::Value = match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
                flatten(&key, value, values);
            }
            return;
        }
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(yes) => yes.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => {
            let texts = items.into_iter().map(|v| match v {
                toml::Value::String(text) => text,
                other => other.to_string(),
            });
            texts.collect::<Vec<String>>().into()
        }
    };
    values.push((prefix.to_owned(), value));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str) -> Result<Settings, SettingsError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        load(&Sources { file: Some(file.path().to_owned()), ..Sources::default() })
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_defaults_load() {
        let settings = load(&Sources::default()).unwrap();
        assert_eq!(settings.storage.kafka.listen, "127.0.0.1:9092");
        assert_eq!(settings.gateway.rest.listen, "127.0.0.1:8082");
        assert_eq!(settings.storage.rack, None);
    }

    #[test]
    fn flags_win_over_the_environment_which_wins_over_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "[storage]\nnode_id = 1\nrack = 'a'\n[storage.kafka]\nlisten = 'f:1'\n[controller]\nseeds = ['x:1', 'y:2']",
        )
        .unwrap();
        let settings = load(&Sources {
            file: Some(file.path().to_owned()),
            environment: pairs(&[
                ("ANABRANCH_STORAGE_NODE_ID", "2"),
                ("ANABRANCH_STORAGE_RACK", "b"),
                ("HOME", "/"),
            ]),
            flags: pairs(&[("storage.node_id", "3")]),
        })
        .unwrap();
        assert_eq!(settings.storage.node_id, 3);
        assert_eq!(settings.storage.rack.as_deref(), Some("b"));
        assert_eq!(settings.storage.kafka.listen, "f:1");
        assert_eq!(settings.controller.seeds, ["x:1", "y:2"]);
    }

    #[test]
    fn a_list_is_split_at_commas() {
        let environment = pairs(&[("ANABRANCH_CONTROLLER_SEEDS", "a:1, b:2")]);
        let settings = load(&Sources { environment, ..Sources::default() }).unwrap();
        assert_eq!(settings.controller.seeds, ["a:1", "b:2"]);
    }

    #[test]
    fn an_unknown_key_is_named_wherever_it_stands() {
        let error = with_file("[storage]\nnod_id = 1").unwrap_err().to_string();
        assert!(error.starts_with("unknown configuration key 'storage.nod_id' in /"), "{error}");
        assert!(error.ends_with("(did you mean 'storage.node_id'?)"), "{error}");
        let environment = pairs(&[("ANABRANCH_STORAGE_NODEID", "1")]);
        let error = load(&Sources { environment, ..Sources::default() }).unwrap_err().to_string();
        assert_eq!(
            error,
            "unknown configuration key 'ANABRANCH_STORAGE_NODEID' in the environment (did you mean 'ANABRANCH_STORAGE_NODE_ID'?)"
        );
    }

    #[test]
    fn a_wrong_type_is_named() {
        let error = with_file("[storage]\nnode_id = 'seven'").unwrap_err().to_string();
        assert!(error.contains("storage.node_id"), "{error}");
        assert!(matches!(with_file("[storage"), Err(SettingsError::NotToml { .. })));
    }
}

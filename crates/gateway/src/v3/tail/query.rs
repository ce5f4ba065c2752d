use std::collections::BTreeSet;

use axum::{extract::Query, http::Uri};
use domain::{Offset, PartitionIndex};
use utoipa::ToSchema;

use crate::ApiError;

/// What a reader asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// `None`: all partitions.
    pub(super) partitions: Option<BTreeSet<PartitionIndex>>,
    pub(super) from: From,
    pub(super) format: Format,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Latest,
    Earliest,
    Offset(Offset),
}

/// How keys and values are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(as = TailFormat, rename_all = "lowercase")]
pub(super) enum Format {
    /// As JSON themselves; what is not JSON as base64, and named.
    Json,
    Binary,
    /// As well as it can be.
    Text,
}

impl Wanted {
    pub(super) fn parse(query: &str) -> Result<Self, ApiError> {
        let mut wanted = Self { partitions: None, from: From::Latest, format: Format::Json };
        for (name, value) in pairs(query)? {
            match name.as_str() {
                "partition" => {
                    let partition = number(&name, &value)?;
                    wanted.partitions.get_or_insert_default().insert(PartitionIndex(partition));
                }
                "from" => {
                    wanted.from = match value.as_str() {
                        "latest" => From::Latest,
                        "earliest" => From::Earliest,
                        offset => From::Offset(Offset(number(&name, offset)?)),
                    }
                }
                "format" => {
                    wanted.format = match value.as_str() {
                        "json" => Format::Json,
                        "binary" => Format::Binary,
                        "text" => Format::Text,
                        other => {
                            let message = format!("query: format '{other}' is not one of json, binary, text");
                            return Err(ApiError::bad_request(message));
                        }
                    }
                }
                _ => {}
            }
        }
        if matches!(wanted.from, From::Offset(_)) && wanted.partitions.as_ref().map(BTreeSet::len) != Some(1)
        {
            let message = "query: from can be an offset only where one partition is named";
            return Err(ApiError::bad_request(message));
        }
        Ok(wanted)
    }
}

fn pairs(query: &str) -> Result<Vec<(String, String)>, ApiError> {
    let uri = Uri::builder().path_and_query(format!("/?{query}")).build();
    let uri = uri.map_err(|e| ApiError::bad_request(format!("query: {e}")))?;
    Ok(Query::try_from_uri(&uri)?.0)
}

/// One that is not negative.
fn number<T: std::str::FromStr + PartialOrd + Default>(name: &str, value: &str) -> Result<T, ApiError> {
    let number = value.parse().ok().filter(|number| *number >= T::default());
    number.ok_or_else(|| ApiError::bad_request(format!("query: {name} '{value}' is not a number from 0 on")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_may_be_left_out_and_partitions_repeated() {
        let wanted = Wanted::parse("").unwrap();
        assert_eq!(wanted, Wanted { partitions: None, from: From::Latest, format: Format::Json });
        let wanted = Wanted::parse("partition=2&from=earliest&partition=0&format=text&other=x").unwrap();
        let partitions = Some(BTreeSet::from([PartitionIndex(0), PartitionIndex(2)]));
        assert_eq!(wanted, Wanted { partitions, from: From::Earliest, format: Format::Text });
        assert_eq!(Wanted::parse("from=5&partition=1").unwrap().from, From::Offset(Offset(5)));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (query, named) in [
            ("partition=x", "partition 'x'"),
            ("partition=-1", "partition '-1'"),
            ("partition=4294967296", "partition"),
            ("from=yesterday", "from 'yesterday'"),
            ("from=-1&partition=0", "from '-1'"),
            ("from=5", "one partition"),
            ("from=5&partition=0&partition=1", "one partition"),
            ("format=avro", "format 'avro'"),
        ] {
            let error = Wanted::parse(query).unwrap_err();
            assert_eq!(error.code, 400);
            assert!(error.message.contains(named), "{query}: {}", error.message);
        }
    }
}

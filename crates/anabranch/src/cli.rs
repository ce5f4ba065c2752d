use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Anabranch: a Kafka-compatible partitioned log.
#[derive(Debug, Parser)]
#[command(name = "anabranch", version, propagate_version = true)]
pub(crate) struct Cli {
    /// The gateway's REST address
    #[arg(long, global = true, env = "ANABRANCH_URL", default_value = "http://127.0.0.1:8082")]
    pub(crate) url: String,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a controller, storage nodes and a gateway in one process, on one folder
    Dev(DevArgs),
    /// Create, look at and delete topics
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Look at the storage nodes, and have them give their replicas away
    #[command(subcommand)]
    Node(NodeCommand),
    /// See and steer how replicas move to where there is room for them
    #[command(subcommand)]
    Rebalance(RebalanceCommand),
    /// Ask a service whether it is well: GET URL, such as http://127.0.0.1:9600/readyz, and exit 0 if the answer is 200
    Health { url: String },
    /// Write lines as records
    Produce(ProduceArgs),
    /// Read records
    Consume(ConsumeArgs),
}

/// As many storage nodes as their ports leave room for: node 100 would take the gateway's Kafka port.
pub(crate) const NODES_MAX: i64 = 100;

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// The folder for everything; a second run goes on where the first ended
    #[arg(long, value_name = "DIR", default_value = "anabranch-data")]
    pub(crate) data_dir: PathBuf,
    /// How many storage nodes [default: as many as the folder has, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=NODES_MAX))]
    pub(crate) nodes: Option<u16>,
    /// Added to every port
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub(crate) port_offset: u16,
    /// What is logged to stderr, such as info or storage_node=debug,info [default: warn]
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Create a topic
    Create {
        #[arg(value_parser = topic_name)]
        name: String,
        /// [default: the cluster's]
        #[arg(long, value_name = "N")]
        partitions: Option<u32>,
        /// [default: the cluster's]
        #[arg(long, value_name = "R")]
        replication_factor: Option<u16>,
        /// A setting under Kafka's name, such as retention.ms=60000; may be repeated
        #[arg(long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
        configs: Vec<(String, String)>,
    },
    /// List the topics
    List,
    /// Show a topic's partitions and settings
    Describe {
        #[arg(value_parser = topic_name)]
        name: String,
    },
    /// Elect leaders: the preferred ones, or any replica that is there for a partition that nobody leads
    Elect {
        #[arg(value_parser = topic_name)]
        name: String,
        /// Only this one; may be repeated [default: all of the topic's]
        #[arg(long = "partition", value_name = "P")]
        partitions: Vec<i32>,
        /// Where nobody leads, take whatever replica is there: records may be lost
        #[arg(long)]
        unclean: bool,
    },
    /// Delete a topic with all its records
    Delete {
        #[arg(value_parser = topic_name)]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the storage nodes
    List,
    /// Have a node give its replicas to others, while it serves what it still has
    Drain {
        #[arg(value_parser = clap::value_parser!(i32).range(0..))]
        node: i32,
        /// Show the progress until it has nothing any more
        #[arg(long)]
        wait: bool,
        /// Though partitions would be in fewer racks
        #[arg(long)]
        ignore_racks: bool,
        /// Only say what it would come to
        #[arg(long)]
        dry_run: bool,
    },
    /// Have a node keep what it has, and take part again
    Undrain {
        #[arg(value_parser = clap::value_parser!(i32).range(0..))]
        node: i32,
    },
    /// Forget a node that was drained and stopped; its data folder never comes back as it is
    Remove {
        #[arg(value_parser = clap::value_parser!(i32).range(0..))]
        node: i32,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RebalanceCommand {
    /// What moves now, how much is left and how long that takes
    Status,
    /// Each move that is still to come (a dry run: nothing is begun by it)
    Plan,
    /// Begin nothing new
    Pause,
    /// Go on
    Resume,
    /// Take back every move that is under way, and pause
    Cancel,
    /// The most bytes a second that a node takes in of what moves to it; 0: as configured
    Limit { bytes_per_second: u64 },
}

#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    #[arg(value_parser = topic_name)]
    pub(crate) topic: String,
    /// Each line becomes a record, byte for byte, without its newline; - is stdin
    #[arg(value_name = "FILE", default_value = "-")]
    pub(crate) file: PathBuf,
    /// What stands before the first SEP in a line is the record's key; \t is a tab
    #[arg(long, value_name = "SEP", value_parser = separator)]
    pub(crate) key_separator: Option<String>,
    /// All records go to this partition [default: by key, else evenly]
    #[arg(long, value_name = "P")]
    pub(crate) partition: Option<u32>,
    /// The most records in one request
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
}

#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    #[arg(value_parser = topic_name)]
    pub(crate) topic: String,
    /// Only this partition; may be repeated [default: all]
    #[arg(long = "partition", value_name = "P")]
    pub(crate) partitions: Vec<u32>,
    /// Where to begin in each partition
    #[arg(long, value_enum, default_value_t = From::Beginning)]
    pub(crate) from: From,
    /// The offset to begin at in each partition
    #[arg(long, value_name = "N", conflicts_with = "from")]
    pub(crate) offset: Option<u64>,
    /// Wait for more at the end [default: stop at the end as it was at the start]
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Stop after so many records
    #[arg(long, value_name = "N")]
    pub(crate) max: Option<u64>,
    #[arg(long, value_enum, default_value_t = Format::Value)]
    pub(crate) format: Format,
    /// Between key and value, for key-value; \t is a tab
    #[arg(long, value_name = "SEP", default_value = "\\t", value_parser = separator)]
    pub(crate) key_separator: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum From {
    Beginning,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The value's bytes and a newline
    Value,
    /// Key, separator, value
    KeyValue,
    /// One JSON object a record, with offset, timestamp and headers; bytes that are no UTF-8 stand as {"base64": "…"}
    Json,
    /// Partition, offset, key and value, the last two in hexadecimal (- for null)
    Hex,
}

/// A name that can stand in a URL's path. Whether it is a valid name is the server's to say.
fn topic_name(text: &str) -> Result<String, String> {
    match text {
        "" | "." | ".." => Err("not a topic name".to_owned()),
        name => Ok(name.to_owned()),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("not KEY=VALUE".to_owned()),
    }
}

fn separator(text: &str) -> Result<String, String> {
    match text.replace("\\t", "\t") {
        empty if empty.is_empty() => Err("a separator has at least one character".to_owned()),
        text => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_url_may_stand_anywhere() {
        for line in ["anabranch --url http://h:1 topic list", "anabranch topic list --url http://h:1"] {
            assert_eq!(Cli::parse_from(line.split(' ')).url, "http://h:1", "{line}");
        }
    }

    #[test]
    fn settings_of_a_topic_are_pairs() {
        assert_eq!(key_value("retention.ms=1=2"), Ok(("retention.ms".into(), "1=2".into())));
        assert!(key_value("retention.ms").is_err());
        assert!(key_value("=1").is_err());
    }

    #[test]
    fn a_separator_may_be_written_as_an_escaped_tab() {
        assert_eq!(separator("\\t"), Ok("\t".to_owned()));
        assert_eq!(separator("::"), Ok("::".to_owned()));
        assert!(separator("").is_err());
        let Command::Consume(args) = Cli::parse_from(["anabranch", "consume", "t"]).command else {
            panic!("not consume");
        };
        assert_eq!(args.key_separator, "\t");
    }
}

use std::{fmt::Write, net::SocketAddr, path::Path, time::Duration};

use super::ports::Ports;

const DEFAULT_REST: &str = "127.0.0.1:8082";

/// What is printed once everything can be used: where it is, and what to try.
pub(super) fn banner(program: &str, ports: &Ports, dir: &Path, cluster: &str, elapsed: Duration) -> String {
    let mut text = String::new();
    let nodes = match ports.nodes.len() {
        1 => "1 storage node".to_owned(),
        n => format!("{n} storage nodes"),
    };
    let rest = ports.rest;
    let _ = write!(
        text,
        "anabranch is ready after {:.2} s: 1 controller, {nodes}, 1 gateway, data in {}\n\n\
         \x20 REST    http://{rest}\n\
         \x20 Kafka   {}\n\
         \x20 nodes   {}\n\
         \x20 health  {}\n\n",
        elapsed.as_secs_f64(),
        dir.display(),
        ports.kafka,
        nodes_of(ports),
        health(ports),
    );
    let command = match rest.to_string() == DEFAULT_REST {
        true => program.to_owned(),
        false => format!("{program} --url http://{rest}"),
    };
    let _ = write!(
        text,
        "Try, in another terminal:\n\
         \x20 {command} topic create hello --partitions 4\n\
         \x20 echo 'hello, world' | {command} produce hello\n\
         \x20 {command} consume hello\n\n\
         The same with curl:\n\
         \x20 curl http://{rest}/v3/clusters/{cluster}/topics -H 'Content-Type: application/json' -d '{{\"topic_name\":\"hello\",\"partitions_count\":4}}'\n\
         \x20 curl http://{rest}/topics/hello -H 'Content-Type: application/vnd.kafka.json.v2+json' -d '{{\"records\":[{{\"value\":\"hello, world\",\"partition\":0}}]}}'\n\
         \x20 curl 'http://{rest}/topics/hello/partitions/0/records?offset=0' -H 'Accept: application/vnd.kafka.binary.v2+json'\n\n\
         Ctrl-C ends it; the data stays.\n",
    );
    text
}

/// The storage nodes, each of which speaks Kafka's protocol, too.
fn nodes_of(ports: &Ports) -> String {
    let addresses: Vec<String> = ports.nodes.iter().map(|(kafka, _)| kafka.to_string()).collect();
    addresses.join(",")
}

fn health(ports: &Ports) -> String {
    let of_nodes = ports.nodes.iter().map(|(_, http)| http);
    let all: Vec<String> = [&ports.rest, &ports.controller_http]
        .into_iter()
        .chain(of_nodes)
        .map(|address: &SocketAddr| format!("http://{address}/readyz"))
        .collect();
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(offset: u16) -> String {
        let ports = Ports::plan(2, offset).unwrap();
        banner("ab", &ports, Path::new("data"), "Xyz", Duration::from_millis(412))
    }

    #[test]
    fn the_first_line_says_ready() {
        let text = printed(0);
        assert_eq!(
            text.lines().next().unwrap(),
            "anabranch is ready after 0.41 s: 1 controller, 2 storage nodes, 1 gateway, data in data"
        );
        assert!(text.contains("  Kafka   127.0.0.1:9192\n"), "{text}");
        assert!(text.contains("  nodes   127.0.0.1:9092,127.0.0.1:9093\n"), "{text}");
        assert!(text.contains("  ab topic create hello --partitions 4\n"), "{text}");
        assert!(text.contains("/v3/clusters/Xyz/topics"), "{text}");
    }

    #[test]
    fn what_to_try_follows_the_port_offset() {
        let text = printed(100);
        assert!(text.contains("| ab --url http://127.0.0.1:8182 produce hello\n"), "{text}");
        assert!(!text.contains("8082"), "{text}");
    }
}

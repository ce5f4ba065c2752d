//! What a person gets who starts a service in the wrong way: one clear line, and exit code 1.

use std::{net::TcpListener, path::Path, process::Command, time::Duration};

use tests::{Cluster, ClusterSpec, Process, binary, free_port};

const NODE: ClusterSpec = ClusterSpec { controllers: 1, storage_nodes: 1, gateways: 0 };

/// Runs a binary that must fail; its standard error.
fn failure(program: &str, args: &[&str]) -> String {
    let output = Command::new(binary(program)).args(args).env_clear().output().unwrap();
    assert!(!output.status.success(), "{program} {args:?} succeeded");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The log of a service that must fail to start.
fn failed_start(name: &str, program: &str, args: &[String], folder: &Path) -> String {
    let mut process = Process::start(name, program, args, folder);
    assert!(!process.wait(Duration::from_secs(20)), "{name} ended well");
    process.log()
}

fn replaced(mut args: Vec<String>, key: &str, value: &str) -> Vec<String> {
    let at = args.iter().position(|a| a == key).unwrap();
    args[at + 1] = value.to_owned();
    args
}

#[test]
fn a_wrong_configuration_key_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("anabranch.toml");
    std::fs::write(&file, "[storage]\ndata_dri = 'x'\n").unwrap();
    for program in ["controller", "storage-node", "gateway"] {
        let told = failure(program, &["--config", file.to_str().unwrap()]);
        assert!(told.contains("unknown configuration key 'storage.data_dri'"), "{told}");
        assert!(told.contains("did you mean 'storage.data_dir'?"), "{told}");
    }
    let flag = failure("storage-node", &["--storage.data_dri", "x"]);
    assert!(flag.contains("--storage.data_dri"), "{flag}");
    let output = Command::new(binary("gateway")).env("ANABRANCH_GATEWAY_NOPE", "1").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("ANABRANCH_GATEWAY_NOPE"));
}

#[test]
fn a_port_in_use_names_the_flag_that_moves_it() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let cases = [
        ("controller", "--controller.rpc.listen"),
        ("storage-node", "--storage.kafka.listen"),
        ("gateway", "--gateway.rest.listen"),
    ];
    for (program, flag) in cases {
        let told = failure(program, &[flag, &address]);
        assert!(told.contains(&format!("port in use: {address} ({flag} moves it)")), "{told}");
    }
}

#[test]
fn a_wildcard_without_an_advertised_address_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let told = failure(
        "storage-node",
        &[
            "--storage.data_dir",
            data.to_str().unwrap(),
            "--storage.kafka.listen",
            "0.0.0.0:0",
            "--storage.http.listen",
            "127.0.0.1:0",
        ],
    );
    assert!(told.contains("storage.kafka.advertised"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_folder_is_refused() {
    let cluster = Cluster::start(NODE).await;
    let node = replaced(cluster.arguments("storage-node-0"), "--storage.kafka.listen", "127.0.0.1:0");
    let node = replaced(node, "--storage.http.listen", "127.0.0.1:0");
    let told = failed_start("second-node", "storage-node", &node, cluster.folder());
    assert!(told.contains("is in use by another process"), "{told}");
    let listen = format!("127.0.0.1:{}", free_port());
    let controller = replaced(cluster.arguments("controller-0"), "--controller.rpc.listen", &listen);
    let told = failed_start("second-controller", "controller", &controller, cluster.folder());
    assert!(told.contains("is in use by another process"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_of_another_cluster_is_refused_and_left_alone() {
    let mut first = Cluster::start(NODE).await;
    let second = Cluster::start(NODE).await;
    first.terminate_all();
    let folder = first.folder().join("storage-node-0");
    let before = std::fs::read_to_string(folder.join("meta.properties")).unwrap();
    let foreign =
        replaced(first.arguments("storage-node-0"), "--controller.seeds", &second.seeds().join(","));
    let told = failed_start("foreign", "storage-node", &foreign, first.folder());
    assert!(told.contains("belongs to cluster"), "{told}");
    assert_eq!(std::fs::read_to_string(folder.join("meta.properties")).unwrap(), before);
    // And its own cluster still takes it.
    first.start_all();
    first.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_another_node_is_refused() {
    let mut cluster = Cluster::start(NODE).await;
    let other = replaced(cluster.arguments("storage-node-0"), "--storage.node_id", "5");
    cluster.process("storage-node-0").terminate(Duration::from_secs(20));
    let told = failed_start("other", "storage-node", &other, cluster.folder());
    assert!(told.contains("belongs to node 0, not 5"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_ends_on_sigterm() {
    let mut cluster = Cluster::start(ClusterSpec { controllers: 3, storage_nodes: 2, gateways: 1 }).await;
    cluster.terminate_all();
}

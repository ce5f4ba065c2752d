//! The service as a process would run it, with no controller to be found.

use std::time::Duration;

use gateway::{GatewayConfig, GatewayError, GatewayHandle, start};
use settings::{LimitSettings, Settings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

fn config() -> GatewayConfig {
    GatewayConfig {
        // Nobody listens there.
        controllers: vec!["127.0.0.1:1".to_owned()],
        limits: LimitSettings { header_ms_max: 300, ..LimitSettings::default() },
        drain_ms_max: 1_000,
        ..GatewayConfig::from(&Settings::standard())
    }
}

async fn listener(address: &str) -> TcpListener {
    TcpListener::bind(address).await.expect("a free port")
}

async fn gateway() -> GatewayHandle {
    start(config(), listener("127.0.0.1:0").await, listener("127.0.0.1:0").await).await.expect("a gateway")
}

async fn connect(gateway: &GatewayHandle) -> TcpStream {
    TcpStream::connect(gateway.rest_address()).await.expect("a connection")
}

async fn read_until(stream: &mut TcpStream, what: &str) -> String {
    let mut text = String::new();
    let mut chunk = [0; 4096];
    let reading = async {
        while !text.contains(what) {
            let read = stream.read(&mut chunk).await.expect("bytes");
            assert!(read > 0, "the connection ended after: {text}");
            text.push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
    };
    timeout(Duration::from_secs(10), reading).await.expect(what);
    text
}

async fn ends(stream: &mut TcpStream) -> Duration {
    let start = Instant::now();
    let mut rest = Vec::new();
    // A reset is an end, too.
    let _ =
        timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.expect("the connection ends");
    start.elapsed()
}

#[tokio::test]
async fn a_wildcard_needs_something_to_advertise() {
    let (any, local) = ("0.0.0.0:0", "127.0.0.1:0");
    for (rest, kafka, key) in
        [(any, local, "gateway.rest.advertised"), (local, any, "gateway.kafka.advertised")]
    {
        let started = start(config(), listener(rest).await, listener(kafka).await).await;
        let error = started.err().unwrap().to_string();
        assert!(error.contains(key), "{error}");
    }
    let nobody = GatewayConfig { controllers: Vec::new(), ..config() };
    let started = start(nobody, listener(local).await, listener(local).await).await;
    assert!(matches!(started.err(), Some(GatewayError::NoControllers)));
}

#[tokio::test]
async fn without_a_controller_it_lives_but_is_not_ready() {
    let gateway = gateway().await;
    let mut client = connect(&gateway).await;
    for (path, status) in [("/livez", "200"), ("/startupz", "200"), ("/readyz", "503"), ("/topics", "503")] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = read_until(&mut client, "\r\n\r\n").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    assert!(gateway.health().check().is_err());
    gateway.shutdown().await;
}

#[tokio::test]
async fn a_client_that_dawdles_over_its_header_is_let_go() {
    let gateway = gateway().await;
    for beginning in ["", "P", "GET / HTTP/1.1\r\nho"] {
        let mut client = connect(&gateway).await;
        client.write_all(beginning.as_bytes()).await.unwrap();
        let waited = ends(&mut client).await;
        assert!(waited > Duration::from_millis(200), "{beginning:?}: {waited:?}");
    }
    gateway.shutdown().await;
}

#[tokio::test]
async fn http2_is_spoken_to_whoever_begins_with_it() {
    let gateway = gateway().await;
    let mut client = connect(&gateway).await;
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    timeout(Duration::from_secs(5), client.read_exact(&mut frame)).await.expect("an answer").unwrap();
    assert_eq!(frame[3], 4, "a SETTINGS frame");
    gateway.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_ends_idle_connections_at_once() {
    let gateway = gateway().await;
    let mut client = connect(&gateway).await;
    client.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    read_until(&mut client, "ok").await;
    let start = Instant::now();
    gateway.shutdown().await;
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    ends(&mut client).await;
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_the_rest_of_a_header() {
    let gateway = gateway().await;
    let mut client = connect(&gateway).await;
    client.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\nGET /livez HTTP/1.1\r\nho").await.unwrap();
    read_until(&mut client, "ok").await;
    let start = Instant::now();
    gateway.shutdown().await;
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

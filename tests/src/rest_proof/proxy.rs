use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// One address for several: each connection goes to the next of them that accepts one, as a load balancer has it that looks at
/// nothing but connections.
pub(super) struct Proxy {
    pub(super) address: String,
    /// How many connections each has got.
    pub(super) given: Arc<Vec<AtomicU64>>,
    accepting: JoinHandle<()>,
}

/// A client whose connection nobody takes for so long is sent away.
const NOBODY_MAX: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

impl Proxy {
    /// Takes an address now; the targets may not be there yet.
    pub(super) async fn listen() -> anyhow::Result<(TcpListener, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        Ok((listener, address))
    }

    pub(super) fn start(listener: TcpListener, address: String, targets: Vec<String>) -> Self {
        let given: Arc<Vec<AtomicU64>> = Arc::new(targets.iter().map(|_| AtomicU64::new(0)).collect());
        let accepting = tokio::spawn(accept(listener, targets.into(), given.clone()));
        Self { address, given, accepting }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, targets: Arc<[String]>, given: Arc<Vec<AtomicU64>>) {
    let next = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (targets, next, given) = (targets.clone(), next.clone(), given.clone());
        tokio::spawn(async move {
            if let Some((chosen, target)) = connect(&targets, &next).await {
                given[chosen].fetch_add(1, Ordering::Relaxed);
                carry(client, target).await;
            }
        });
    }
}

async fn connect(targets: &[String], next: &AtomicUsize) -> Option<(usize, TcpStream)> {
    let search = async {
        loop {
            for _ in targets {
                let chosen = next.fetch_add(1, Ordering::Relaxed) % targets.len();
                if let Ok(stream) = TcpStream::connect(&targets[chosen]).await {
                    return (chosen, stream);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(NOBODY_MAX, search).await.ok()
}

/// Until one of them ends it: then it has ended for the other one, too.
async fn carry(mut client: TcpStream, mut target: TcpStream) {
    let _ = (client.set_nodelay(true), target.set_nodelay(true));
    let (mut from_client, mut to_client) = client.split();
    let (mut from_target, mut to_target) = target.split();
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_target) => {}
        _ = tokio::io::copy(&mut from_target, &mut to_client) => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn connections_go_to_each_in_turn_and_past_who_is_not_there() {
        let (one, one_at) = Proxy::listen().await.unwrap();
        let (gone, gone_at) = Proxy::listen().await.unwrap();
        drop(gone);
        let (two, two_at) = Proxy::listen().await.unwrap();
        let (listener, address) = Proxy::listen().await.unwrap();
        let proxy = Proxy::start(listener, address, vec![one_at, gone_at, two_at]);
        let mut clients = Vec::new();
        for _ in 0..4 {
            let mut client = TcpStream::connect(&proxy.address).await.unwrap();
            client.write_all(b"?").await.unwrap();
            clients.push(client);
        }
        for listener in [&one, &two, &one, &two] {
            let (mut server, _) = listener.accept().await.unwrap();
            assert_eq!(server.read_u8().await.unwrap(), b'?');
            server.write_all(b"!").await.unwrap();
        }
        for mut client in clients {
            assert_eq!(client.read_u8().await.unwrap(), b'!');
            assert!(client.read_u8().await.is_err(), "its server is gone");
        }
    }
}

use kubernetes::{ApiError, Client, Kubernetes, KubernetesError};
use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::fixture::config;

#[tokio::test]
async fn outside_of_a_pod_there_is_no_access() {
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        return;
    }
    let refused = Kubernetes::in_cluster(config()).err();
    assert!(matches!(refused, Some(KubernetesError::NotInCluster(_))), "{refused:?}");
}

#[tokio::test]
async fn tls_needs_no_provider_to_be_installed_before() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    let mut access = kube::Config::new(address);
    access.accept_invalid_certs = true;
    let kubernetes = Kubernetes::start(config(), Client::try_from(access).unwrap());
    let hello = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap()
    });
    let asked = tokio::spawn(async move { kubernetes.zone_of("machine-7").await });
    assert_eq!(hello.await.unwrap(), 0x16, "the first byte of a TLS handshake");
    assert!(matches!(asked.await.unwrap(), Err(ApiError::Unreachable(_) | ApiError::Silent(_))));
}

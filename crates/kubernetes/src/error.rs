use std::time::Duration;

/// Why there is no access to the API server.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    #[error("this process does not run in a pod with a service account's token: {0}")]
    NotInCluster(#[from] kube::config::InClusterError),
    #[error("the client of the API server cannot be built: {0}")]
    Client(#[source] kube::Error),
}

/// What came of a question to the API server. Asking again may do, except after [`ApiError::BadName`].
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("the API server answered {code}: {message}")]
    Refused { code: u16, message: String },
    #[error("the API server cannot be reached: {0}")]
    Unreachable(#[source] kube::Error),
    #[error("the API server was silent for {0:?}")]
    Silent(Duration),
    #[error("{0:?} is not a name of a Kubernetes object")]
    BadName(String),
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => (*status).into(),
            other => Self::Unreachable(other),
        }
    }
}

impl From<kube::core::Status> for ApiError {
    fn from(status: kube::core::Status) -> Self {
        Self::Refused { code: status.code, message: status.message }
    }
}

/// Asks, and does not wait longer than this. The client's own retries of a busy server are within it.
pub(crate) async fn within<T>(
    limit: Duration,
    question: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(limit, question).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ApiError::Silent(limit)),
    }
}

//! Answers over HTTP/2, of which the client takes what it has asked for, or loses the answer.
//!
//! In HTTP/2 a client grants each answer a window (RFC 9113, §5.2). One that grants nothing and goes on answering pings looks alive,
//! while its answers take memory that others could have. [`Taken`](crate::taken::Taken) hears nothing of it: nothing is written that
//! could wait.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use hyper::{
    body::{Body as _, Frame, SizeHint},
    rt::Executor,
};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

tokio::task_local! {
    /// The answer of the stream that this task serves.
    static ANSWER: Arc<Answer>;
}

/// Runs the streams of a connection, and ends those whose clients take nothing for too long.
#[derive(Clone)]
pub(crate) struct Streams {
    within: Duration,
    cut: CancellationToken,
}

/// How far the client is with an answer.
#[derive(Default)]
struct Answer {
    progress: Mutex<Progress>,
    changed: Notify,
}

#[derive(Default)]
struct Progress {
    /// When the client last took something, while there is something for it.
    waits_since: Option<Instant>,
    /// Pieces that were handed to the connection and not sent yet.
    unsent: usize,
    /// There is more, as far as is known: the body waits for nothing but the client.
    more: bool,
}

impl Streams {
    /// Cancels `cut` where only the end of the connection is left: of an answer that was handed over whole.
    pub(crate) fn new(within: Duration, cut: CancellationToken) -> Self {
        Self { within, cut }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let Self { within, cut } = self.clone();
        let answer = Arc::new(Answer::default());
        tokio::spawn(async move {
            tokio::select! {
                _ = ANSWER.scope(answer.clone(), stream) => {}
                () = answer.waits(within) => {
                    tracing::debug!("a client took nothing of an answer for {} s, it is reset", within.as_secs());
                }
            }
            tokio::select! {
                () = answer.is_sent() => {}
                () = answer.waits(within) => cut.cancel(),
            }
        });
    }
}

impl Answer {
    /// The client took something, or was given something that it can take.
    fn progressed(&self, change: impl FnOnce(&mut Progress)) {
        let mut progress = self.progress.lock();
        change(&mut progress);
        progress.waits_since = (progress.unsent > 0 || progress.more).then(Instant::now);
        self.changed.notify_one();
    }

    /// The body has nothing now. For what it gave before, the client has the time that it had.
    fn has_no_more(&self) {
        let mut progress = self.progress.lock();
        progress.more = false;
        if progress.unsent == 0 {
            progress.waits_since = None;
        }
    }

    fn waits_since(&self) -> Option<Instant> {
        self.progress.lock().waits_since
    }

    /// Ends when the client took nothing for so long although there was something.
    async fn waits(&self, within: Duration) {
        loop {
            let Some(since) = self.waits_since() else {
                self.changed.notified().await;
                continue;
            };
            tokio::time::sleep_until(since + within).await;
            if self.waits_since() == Some(since) {
                return;
            }
        }
    }

    async fn is_sent(&self) {
        while self.progress.lock().unsent > 0 {
            self.changed.notified().await;
        }
    }
}

/// The body of the answer that this task is about to send.
pub(crate) fn watched(body: Body) -> Body {
    match ANSWER.try_with(Arc::clone) {
        Ok(answer) if !body.is_end_stream() => {
            answer.progressed(|progress| progress.more = true);
            Body::new(Watched { body, answer })
        }
        _ => body,
    }
}

struct Watched {
    body: Body,
    answer: Arc<Answer>,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    /// Is asked only when the client has granted something.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let (answer, more) = (&self.answer, !self.body.is_end_stream());
        let Poll::Ready(Some(Ok(frame))) = polled else {
            answer.has_no_more();
            return polled;
        };
        let frame = frame.map_data(|bytes| Bytes::from_owner(Unsent::new(bytes, answer)));
        answer.progressed(|progress| progress.more = more);
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A piece until it is sent.
struct Unsent {
    bytes: Bytes,
    answer: Arc<Answer>,
}

impl Unsent {
    fn new(bytes: Bytes, answer: &Arc<Answer>) -> Self {
        answer.progress.lock().unsent += 1;
        Self { bytes, answer: answer.clone() }
    }
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.answer.progressed(|progress| progress.unsent -= 1);
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use axum::{Router, routing::get};
    use h2::client::{self, SendRequest};
    use tokio::{
        net::{TcpListener, TcpStream},
        task::JoinHandle,
    };

    use super::*;
    use crate::{
        connection::serve_http2,
        memory::{Memory, kept},
        page::pieces,
    };

    const WITHIN: Duration = Duration::from_millis(400);
    const PATIENCE: Duration = Duration::from_secs(20);
    const LARGE: usize = 1 << 20;
    const SMALL: usize = 10 << 10;

    struct Connected {
        client: SendRequest<Bytes>,
        memory: Memory,
        served: JoinHandle<hyper::Result<()>>,
    }

    /// A client that grants each answer so much, and all together plenty.
    async fn connected(window: u32) -> Connected {
        let memory = Memory::new(16 << 20);
        let of = |bytes: usize| {
            let memory = memory.clone();
            get(async move || pieces(kept(vec![7; bytes], memory.try_take(bytes).unwrap())))
        };
        let router = Router::new().route("/large", of(LARGE)).route("/small", of(SMALL));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let served = tokio::spawn(async move {
            let stop = CancellationToken::new();
            serve_http2(accepted, router, Duration::from_secs(30), WITHIN, stop).await
        });
        let mut builder = client::Builder::new();
        builder.initial_window_size(window).initial_connection_window_size(8 << 20);
        let (client, connection) = builder.handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Connected { client, memory, served }
    }

    async fn ask(client: &SendRequest<Bytes>, path: &str) -> h2::RecvStream {
        let mut client = client.clone().ready().await.unwrap();
        let request = Request::get(format!("http://gateway{path}")).body(()).unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        answer.await.unwrap().into_body()
    }

    async fn read(body: &mut h2::RecvStream) -> Result<usize, h2::Error> {
        let mut read = 0;
        while let Some(bytes) = body.data().await {
            let length = bytes?.len();
            read += length;
            let _ = body.flow_control().release_capacity(length);
        }
        Ok(read)
    }

    async fn all_is_given_back(memory: &Memory) {
        let given_back = async {
            while memory.try_take(16 << 20).is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, given_back).await.expect("the memory is given back");
    }

    #[tokio::test]
    async fn an_answer_that_is_granted_nothing_is_reset_and_others_on_the_connection_are_served() {
        let Connected { client, memory, served } = connected(32 << 10).await;
        let mut idle = ask(&client, "/large").await;
        let begun = Instant::now();
        while begun.elapsed() < WITHIN / 2 {
            assert_eq!(read(&mut ask(&client, "/large").await).await.unwrap(), LARGE);
        }
        assert!(memory.try_take(16 << 20).is_err(), "the idle one's is held");
        all_is_given_back(&memory).await;
        assert!(begun.elapsed() >= WITHIN);
        let error = tokio::time::timeout(PATIENCE, read(&mut idle)).await.expect("it is told").unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
        assert_eq!(read(&mut ask(&client, "/small").await).await.unwrap(), SMALL);
        assert!(!served.is_finished());
    }

    /// It was handed over whole with the first byte that was granted, so nobody can reset it any more.
    #[tokio::test]
    async fn a_connection_that_does_not_take_the_rest_of_a_small_answer_is_cut_off() {
        let Connected { client, memory, served } = connected(1).await;
        let mut idle = ask(&client, "/small").await;
        tokio::time::timeout(PATIENCE, served).await.expect("it is cut off").unwrap().unwrap();
        all_is_given_back(&memory).await;
        assert_eq!(idle.data().await.unwrap().unwrap().len(), 1);
        assert!(idle.data().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn an_answer_that_was_never_granted_anything_is_reset() {
        let Connected { client, memory, served } = connected(0).await;
        let mut idle = ask(&client, "/small").await;
        all_is_given_back(&memory).await;
        let error = tokio::time::timeout(PATIENCE, read(&mut idle)).await.expect("it is told").unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
        assert!(!served.is_finished());
    }

    #[tokio::test]
    async fn a_client_that_takes_a_little_now_and_then_gets_all() {
        let Connected { client, served, .. } = connected(64 << 10).await;
        let mut body = ask(&client, "/large").await;
        let (begun, mut taken) = (Instant::now(), 0);
        while let Some(bytes) = body.data().await {
            taken += bytes.as_ref().unwrap().len();
            tokio::time::sleep(WITHIN / 16).await;
            body.flow_control().release_capacity(bytes.unwrap().len()).unwrap();
        }
        assert_eq!(taken, LARGE);
        assert!(begun.elapsed() > WITHIN * 2 && !served.is_finished());
    }

    #[tokio::test]
    async fn an_answer_that_has_nothing_for_its_client_yet_is_left_alone() {
        let Connected { client, served, .. } = connected(64 << 10).await;
        assert_eq!(read(&mut ask(&client, "/small").await).await.unwrap(), SMALL);
        // Its answer is sent; the connection is idle for longer than one that is behind would be borne.
        tokio::time::sleep(WITHIN * 2).await;
        assert!(!served.is_finished());
        assert_eq!(read(&mut ask(&client, "/small").await).await.unwrap(), SMALL);
    }
}

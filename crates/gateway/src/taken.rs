//! A connection whose client takes what it asked for, or is cut off.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// A client that takes nothing for so long, while there is something for it, is gone or wants to be a burden: what waits for it
/// takes memory that others could have. Since the system tells of room only once some tens of kilobytes were taken, this is also the
/// end of clients that take less than about a thousand bytes a second.
pub(crate) const TAKES_NOTHING_MAX: Duration = Duration::from_secs(60);

/// Fails when nothing of what is written was taken for too long.
pub(crate) struct Taken {
    stream: TcpStream,
    within: Duration,
    /// While a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Taken {
    pub(crate) fn new(stream: TcpStream, within: Duration) -> Self {
        Self { stream, within, waiting: None }
    }

    fn written(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let within = self.within;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(within)));
        ready!(waiting.as_mut().poll(cx));
        // Otherwise the system would hold for minutes what it has of it already.
        let _ = self.stream.set_zero_linger();
        let message = format!("the client took nothing for {} s", within.as_secs());
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
    }
}

impl AsyncRead for Taken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl AsyncWrite for Taken {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::Instant,
    };

    use super::*;

    const WITHIN: Duration = Duration::from_millis(300);

    async fn connected() -> (Taken, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        (Taken::new(stream, WITHIN), client)
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_cut_off() {
        let (mut stream, mut client) = connected().await;
        let begun = Instant::now();
        let error = stream.write_all(&vec![0; 64 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= WITHIN);
        drop(stream);
        let error = client.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "it is told");
    }

    #[tokio::test]
    async fn a_client_that_takes_a_little_now_and_then_is_served() {
        let (mut stream, mut client) = connected().await;
        let taking = tokio::spawn(async move {
            let (mut some, mut taken) = (vec![0; 4 << 20], 0);
            while let Ok(read @ 1..) = client.read(&mut some).await {
                taken += read;
                tokio::time::sleep(WITHIN / 4).await;
            }
            taken
        });
        let begun = Instant::now();
        stream.write_all(&vec![0; 48 << 20]).await.unwrap();
        drop(stream);
        assert_eq!(taking.await.unwrap(), 48 << 20);
        assert!(begun.elapsed() > WITHIN * 2, "it took longer than one that takes nothing has");
    }
}

//! Connections and their limits, and the way out: on a signal nothing more is taken, the run under way
//! stops after the current block, and all is over in less than ten seconds.

use super::auth::{self, Token};
use super::queue::{Queue, QueueOptions};
use super::routes::{self, Worker};
use super::wire::GpuAnswer;
use super::{EngineFactory, RemoteError};
use crate::model::run::Environment;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A request's line and headers together have at most so many bytes.
const HEAD_BYTES: usize = 32 << 10;
/// A pause after the system gave no connection, as when it has no more files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a client may take of a worker. The defaults are for the program; tests give shorter ones.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For a request's line and headers, and for the next request on an open connection. Default 10 s.
    pub head: Duration,
    /// For a request's body. Default 10 s.
    pub body: Duration,
    /// The longest body, in bytes. Default 64 KiB.
    pub body_bytes: usize,
    /// For an answer to begin. Default 30 s.
    pub answer: Duration,
    /// For a client to take anything of what is sent to it. Default 30 s.
    pub stall: Duration,
    /// Connections at a time; others wait to be accepted. Default 512.
    pub connections: usize,
    /// Readers of events at a time. Default 64.
    pub readers: usize,
    /// For the run under way to stop, on the way out. Default 8 s.
    pub drain: Duration,
    /// For connections to end after that. Default 1 s.
    pub goodbye: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            body_bytes: 64 << 10,
            answer: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            connections: 512,
            readers: 64,
            drain: Duration::from_secs(8),
            goodbye: Duration::from_secs(1),
        }
    }
}

/// How a worker is set up.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Where to listen; port 0 for any that is free.
    pub listen: SocketAddr,
    /// What a request must carry; without one only this machine is served.
    pub token: Option<Token>,
    /// The runs.
    pub queue: QueueOptions,
    /// What the device says of itself.
    pub environment: Environment,
    /// What a client may take.
    pub limits: Limits,
}

/// A worker that listens.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    worker: Arc<Worker>,
}

impl Server {
    /// Listens, then opens the folder of runs and goes on with what was interrupted.
    ///
    /// # Errors
    /// [`RemoteError`] if others could reach it without a token, the address is taken, or the folder of
    /// runs cannot be used.
    pub async fn bind(
        options: ServeOptions,
        engines: Arc<EngineFactory>,
    ) -> Result<Self, RemoteError> {
        let ServeOptions {
            listen,
            token,
            queue,
            environment,
            limits,
        } = options;
        auth::check_listen(listen, token.as_ref())?;
        let failed = |source| RemoteError::Listen {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let gpu = GpuAnswer::of(&queue.places.device, &environment);
        // It reads the disk, and asks the bucket where there is one.
        let opened = tokio::task::spawn_blocking(move || Queue::open(queue, engines)).await;
        let worker = Worker {
            queue: opened.map_err(|error| RemoteError::Thread(std::io::Error::other(error)))??,
            token,
            gpu,
            readers: Arc::new(Semaphore::new(limits.readers)),
            limits,
            stop: CancellationToken::new(),
        };
        Ok(Self {
            listener,
            address,
            worker: Arc::new(worker),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown`, then lets the run under way stop and the connections end. `false` if
    /// the run did not stop in time; its finished cells are safe all the same.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> bool {
        let Self {
            listener, worker, ..
        } = self;
        let connections = TaskTracker::new();
        tokio::select! {
            () = accept(&listener, &worker, &connections) => {}
            () = shutdown => {}
        }
        drop(listener);
        worker.queue.drain();
        let stopped = tokio::time::timeout(worker.limits.drain, worker.queue.ended()).await;
        worker.stop.cancel();
        connections.close();
        let ended = tokio::time::timeout(worker.limits.goodbye, connections.wait()).await;
        if ended.is_err() {
            tracing::info!("{} connections are cut", connections.len());
        }
        stopped.is_ok()
    }
}

/// Accepts connections for ever, as many at a time as may be.
async fn accept(listener: &TcpListener, worker: &Arc<Worker>, connections: &TaskTracker) {
    let router = routes::router(Arc::clone(worker));
    let places = Arc::new(Semaphore::new(worker.limits.connections));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (router, worker) = (router.clone(), Arc::clone(worker));
                connections.spawn(async move {
                    connection(stream, router, &worker).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection to its end.
async fn connection(stream: TcpStream, router: Router, worker: &Worker) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("events may arrive late: {error}");
    }
    let io = TokioIo::new(Stalling::new(stream, worker.limits.stall));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(worker.limits.head)
        .max_buf_size(HEAD_BYTES);
    let connection = builder.serve_connection(io, TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = worker.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    if let Err(error) = result {
        tracing::debug!("a connection ended early: {error}");
    }
}

/// A stream that fails when the other side takes nothing of what is written for too long.
struct Stalling<S> {
    inner: S,
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Stalling<S> {
    fn new(inner: S, limit: Duration) -> Self {
        Self {
            inner,
            limit,
            waiting: None,
        }
    }

    /// Counts the time for as long as nothing moves.
    fn judge<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.waiting = None;
            return result;
        }
        let limit = self.limit;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        waiting
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.judge(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.judge(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(context);
        self.judge(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_shutdown(context);
        self.judge(context, result)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_side_that_takes_nothing_is_given_up() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let mut ours = Stalling::new(ours, Duration::from_millis(50));
        ours.write_all(b"12345678").await.unwrap();
        let error = ours.write_all(b"9").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let mut taken = [0; 8];
        theirs.read_exact(&mut taken).await.unwrap();
        ours.write_all(b"9").await.unwrap();
    }
}

//! A proxy that does to connections what networks do: cuts them in the middle of an answer, cuts answers into
//! pieces, delays them, so that what one connection carries overtakes what another does.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What is done to connections.
#[derive(Debug, Clone, Copy)]
pub struct Harm {
    /// An answer is cut after at most so many bytes; 0 for never.
    pub cut_after: usize,
    /// So many connections at a time are left whole before one is cut again.
    pub whole_between: u64,
    /// Pieces have at most so many bytes.
    pub piece: usize,
    /// A piece is delayed by up to so long, each its own time.
    pub delay: Duration,
}

/// Nothing is done.
pub const HARMLESS: Harm = Harm {
    cut_after: 0,
    whole_between: 0,
    piece: 64 << 10,
    delay: Duration::ZERO,
};

#[derive(Debug)]
struct Shared {
    target: Mutex<SocketAddr>,
    harm: Mutex<Harm>,
    random: AtomicU64,
    connections: AtomicU64,
    cuts: AtomicUsize,
    is_down: AtomicBool,
    /// Ends all connections that are open.
    cut_all: Mutex<CancellationToken>,
}

/// A proxy before a worker.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.cut_all.lock().unwrap().cancel();
    }
}

impl Proxy {
    pub async fn start(target: SocketAddr, harm: Harm) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            harm: Mutex::new(harm),
            random: AtomicU64::new(0x9E37_79B9_7F4A_7C15),
            connections: AtomicU64::new(0),
            cuts: AtomicUsize::new(0),
            is_down: AtomicBool::new(false),
            cut_all: Mutex::new(CancellationToken::new()),
        });
        let accepting = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&accepting);
                tokio::spawn(async move { shared.connection(stream).await });
            }
        });
        Self {
            address,
            shared,
            task,
        }
    }

    /// From now on everything goes to another worker.
    pub fn aim(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap() = target;
    }

    pub fn harm(&self, harm: Harm) {
        *self.shared.harm.lock().unwrap() = harm;
    }

    /// Cuts every connection and refuses new ones, or lets them through again.
    pub fn pull_plug(&self, is_down: bool) {
        self.shared.is_down.store(is_down, Ordering::Relaxed);
        let mut cut_all = self.shared.cut_all.lock().unwrap();
        cut_all.cancel();
        *cut_all = CancellationToken::new();
    }

    /// How many connections were cut in the middle of an answer.
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Below `limit`.
    fn random(&self, limit: u64) -> u64 {
        let step = |seed: u64| seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let update = |seed| Some(step(seed));
        let order = Ordering::Relaxed;
        let seed = self.random.fetch_update(order, order, update).unwrap();
        (step(seed) >> 33) % limit.max(1)
    }

    async fn connection(&self, client: TcpStream) {
        let cut_all = self.cut_all.lock().unwrap().clone();
        if self.is_down.load(Ordering::Relaxed) {
            return;
        }
        let target = *self.target.lock().unwrap();
        let harm = *self.harm.lock().unwrap();
        let Ok(worker) = TcpStream::connect(target).await else {
            return;
        };
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let is_cut = harm.cut_after > 0 && number.is_multiple_of(harm.whole_between + 1);
        let limit = is_cut.then(|| 1 + self.random(harm.cut_after as u64) as usize);
        let (from_client, to_client) = client.into_split();
        let (from_worker, to_worker) = worker.into_split();
        tokio::select! {
            () = self.carry(from_client, to_worker, harm, None) => {}
            () = self.carry(from_worker, to_client, harm, limit) => {}
            () = cut_all.cancelled() => {}
        }
    }

    async fn carry(
        &self,
        mut from: tokio::net::tcp::OwnedReadHalf,
        mut to: tokio::net::tcp::OwnedWriteHalf,
        harm: Harm,
        mut limit: Option<usize>,
    ) {
        let mut piece = vec![0; harm.piece];
        while let Ok(length) = from.read(&mut piece).await {
            let passed = limit.map_or(length, |limit| limit.min(length));
            if !harm.delay.is_zero() {
                let micros = self.random(harm.delay.as_micros() as u64);
                tokio::time::sleep(Duration::from_micros(micros)).await;
            }
            if length == 0 || to.write_all(&piece[..passed]).await.is_err() {
                return;
            }
            if let Some(limit) = &mut limit {
                *limit -= passed;
                if *limit == 0 {
                    self.cuts.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        }
    }
}

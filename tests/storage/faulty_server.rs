//! An HTTP proxy in front of the emulator that does to answers what networks and servers do.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What is done to an answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Another status, with these further header lines and this body.
    Status(u16, &'static str, &'static str),
    /// Each connection is reset after so many bytes of body.
    ResetAfter(usize),
    /// Nothing more after so many bytes of body.
    StallAfter(usize),
    /// Closed in good order after so many bytes of body.
    TruncateAfter(usize),
    /// The body's middle bit is another.
    FlipBit,
    /// The checksum's header speaks of other bytes.
    WrongHashHeader,
    /// The checksum comes as two headers, as Google sends it; a bit is flipped too, if so.
    TwoHashHeaders { flip_bit: bool },
    /// So many bytes every 20 ms.
    Drip(usize),
    /// The connection is closed without an answer.
    NoAnswer,
    /// The request reaches the server, and its answer is lost.
    LoseAnswer,
}

/// Which requests are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An object's bytes.
    Media,
    /// Lists and metadata.
    Json,
    /// Uploads.
    Upload,
}

/// A running proxy.
#[derive(Debug, Clone)]
pub struct FaultyServer {
    /// Its address.
    pub address: String,
    /// Requests of the concerned kind so far.
    pub concerned: Arc<AtomicUsize>,
    /// The first line of every request.
    pub requests: Arc<Mutex<Vec<String>>>,
}

/// Starts a proxy that does `fault` to the first `times` answers of `kind` and passes everything else on.
pub async fn start(upstream: &str, kind: Kind, fault: Fault, times: usize) -> Result<FaultyServer> {
    let upstream = upstream.trim_start_matches("http://").to_owned();
    let upstream = if upstream.contains(':') {
        upstream
    } else {
        format!("{upstream}:80")
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let concerned = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&concerned);
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (upstream, fault, counter) =
                (upstream.clone(), fault.clone(), Arc::clone(&counter));
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                // A client that has gone away is none of the server's business.
                let _ = serve(client, &upstream, kind, &fault, times, (&counter, &log)).await;
            });
        }
    });
    Ok(FaultyServer {
        address,
        concerned,
        requests,
    })
}

async fn serve(
    mut client: TcpStream,
    upstream: &str,
    kind: Kind,
    fault: &Fault,
    times: usize,
    (counter, log): (&AtomicUsize, &Mutex<Vec<String>>),
) -> Result<()> {
    let (head, body) = read_request(&mut client).await?;
    let line = head.lines().next().unwrap_or_default();
    if let Ok(mut log) = log.lock() {
        log.push(line.to_owned());
    }
    let is_media = line.contains("alt=media");
    let is_upload = line.contains("/upload/");
    let is_kind = match kind {
        Kind::Media => is_media,
        Kind::Upload => is_upload,
        Kind::Json => !is_media && !is_upload,
    };
    let faulty = is_kind && counter.fetch_add(1, Ordering::SeqCst) < times;
    if faulty {
        match fault {
            Fault::Status(code, headers, text) => {
                let len = text.len();
                let answer = format!(
                    "HTTP/1.1 {code} Faulty\r\nconnection: close\r\ncontent-length: {len}\r\n{headers}\r\n{text}"
                );
                client.write_all(answer.as_bytes()).await?;
                return Ok(());
            }
            Fault::NoAnswer => return Ok(()),
            _ => {}
        }
    }
    let (answer_head, mut answer_body) = ask(upstream, &head, &body).await?;
    let mut answer_head = answer_head;
    let mut at_most = usize::MAX;
    if faulty {
        match fault {
            Fault::FlipBit => flip(&mut answer_body),
            Fault::WrongHashHeader => set_hash(&mut answer_head, &["crc32c=AAAAAA==".to_owned()]),
            Fault::TwoHashHeaders { flip_bit } => {
                let crc = base64::prelude::BASE64_STANDARD
                    .encode(crc32c::crc32c(&answer_body).to_be_bytes());
                set_hash(
                    &mut answer_head,
                    &[
                        "md5=AAAAAAAAAAAAAAAAAAAAAA==".to_owned(),
                        format!("crc32c={crc}"),
                    ],
                );
                if *flip_bit {
                    flip(&mut answer_body);
                }
            }
            Fault::ResetAfter(n) | Fault::StallAfter(n) | Fault::TruncateAfter(n) => at_most = *n,
            Fault::LoseAnswer => return Ok(()),
            _ => {}
        }
    }
    client.write_all(answer_head.as_bytes()).await?;
    if faulty && let Fault::Drip(piece) = fault {
        for piece in answer_body.chunks(*piece) {
            client.write_all(piece).await?;
            client.flush().await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        return Ok(());
    }
    let sent = answer_body
        .get(..at_most.min(answer_body.len()))
        .unwrap_or_default();
    client.write_all(sent).await?;
    client.flush().await?;
    if faulty && sent.len() < answer_body.len() {
        match fault {
            Fault::ResetAfter(_) => {
                tokio::time::sleep(Duration::from_millis(20)).await; // let the client read it first
                client.set_zero_linger()?; // closing then sends a reset
                drop(client);
                return Ok(());
            }
            Fault::StallAfter(_) => tokio::time::sleep(Duration::from_secs(30)).await,
            _ => {}
        }
    }
    client.shutdown().await?;
    Ok(())
}

async fn read_request(client: &mut TcpStream) -> Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0u8; 64 * 1024];
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        let read = client.read(&mut buffer).await?;
        anyhow::ensure!(read > 0, "the client has gone");
        bytes.extend_from_slice(&buffer[..read]);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut body = bytes.split_off(end);
    if header(&head, "transfer-encoding").is_some_and(|v| v.contains("chunked")) {
        while !body.ends_with(b"0\r\n\r\n") {
            let read = client.read(&mut buffer).await?;
            anyhow::ensure!(read > 0, "the client has gone");
            body.extend_from_slice(&buffer[..read]);
        }
    } else {
        let len: usize = header(&head, "content-length")
            .unwrap_or_default()
            .parse()
            .unwrap_or(0);
        while body.len() < len {
            let read = client.read(&mut buffer).await?;
            anyhow::ensure!(read > 0, "the client has gone");
            body.extend_from_slice(&buffer[..read]);
        }
    }
    Ok((head, body))
}

/// Sends the request on, and returns the answer's head (ending in an empty line) and body.
async fn ask(upstream: &str, head: &str, body: &[u8]) -> Result<(String, Vec<u8>)> {
    let mut server = TcpStream::connect(upstream).await?;
    let host = upstream.trim_end_matches(":80");
    let mut request = String::new();
    for (number, line) in head.trim_end().lines().enumerate() {
        let lower = line.to_ascii_lowercase();
        if number == 0 || !(lower.starts_with("host:") || lower.starts_with("connection:")) {
            request.push_str(line);
            request.push_str("\r\n");
        }
    }
    write!(request, "host: {host}\r\nconnection: close\r\n\r\n")?;
    server.write_all(request.as_bytes()).await?;
    server.write_all(body).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    let end = answer
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .context("the emulator's answer has no head")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut body = answer.split_off(end + 4);
    if header(&head, "transfer-encoding").is_some_and(|v| v.contains("chunked")) {
        body = unchunk(&body)?;
    }
    let mut kept = String::new();
    for line in head.lines() {
        let lower = line.to_ascii_lowercase();
        let ours = ["connection:", "transfer-encoding:", "content-length:"];
        if !ours.iter().any(|name| lower.starts_with(name)) {
            kept.push_str(line);
            kept.push_str("\r\n");
        }
    }
    write!(
        kept,
        "content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )?;
    Ok((kept, body))
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let at = rest
            .windows(2)
            .position(|w| w == b"\r\n")
            .context("a chunk has no length")?;
        let len = usize::from_str_radix(std::str::from_utf8(&rest[..at])?.trim(), 16)?;
        if len == 0 {
            return Ok(body);
        }
        body.extend_from_slice(rest.get(at + 2..at + 2 + len).context("a chunk is cut")?);
        rest = rest.get(at + 4 + len..).context("a chunk is cut")?;
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn set_hash(head: &mut String, values: &[String]) {
    let mut lines: Vec<String> = head
        .trim_end()
        .lines()
        .filter(|l| !l.to_ascii_lowercase().starts_with("x-goog-hash:"))
        .map(str::to_owned)
        .collect();
    lines.extend(values.iter().map(|v| format!("x-goog-hash: {v}")));
    *head = lines.join("\r\n") + "\r\n\r\n";
}

fn flip(body: &mut [u8]) {
    let middle = body.len() / 2;
    if let Some(byte) = body.get_mut(middle) {
        *byte ^= 1;
    }
}

//! The part of the Hugging Face hub that fetching needs, on loopback: a repository's description with
//! sizes, hashes and licence, and its files with ranges. Large files are redirected as the hub does it.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Files from this size on are "large": known by SHA-256 and redirected.
const LARGE_BYTES: usize = 10_000;
pub const BASE: &str = "black-forest-labs/FLUX.1-Fill-dev";
pub const QUANTS: &str = "YarvixPA/FLUX.1-Fill-dev-GGUF";
const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the hub does wrong.
#[derive(Default)]
pub struct Mood {
    /// Files whose connection is cut in the middle so many times.
    pub cuts: BTreeMap<String, usize>,
    /// A file of which one byte is another one.
    pub damaged: Option<String>,
    /// Only this token may fetch files; an unknown one is 401, this one without access 403.
    pub token: Option<String>,
    pub has_no_access: bool,
}

/// A request for a file's bytes: its name and where it begins.
pub type Asked = (String, u64);

pub struct FakeHub {
    pub address: String,
    pub mood: Arc<Mutex<Mood>>,
    pub asked: Arc<Mutex<Vec<Asked>>>,
}

type Repositories = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// Every file below a folder, by its path in it.
fn files_below(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(root, &path, found);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            found.insert(name.to_owned(), std::fs::read(&path).unwrap());
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// What a small file's blob is called: any name of 40 digits does.
fn blob_id(bytes: &[u8]) -> String {
    sha256(bytes)[..40].to_owned()
}

impl FakeHub {
    /// A hub that has the embedded model in two repositories, as the real one is split.
    pub fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/tiny-fill");
        let mut base = BTreeMap::new();
        files_below(&root, &root, &mut base);
        let mut quants = BTreeMap::new();
        base.retain(|name, bytes| {
            let is_quant = Path::new(name).extension().is_some_and(|e| e == "gguf");
            if is_quant {
                quants.insert(name.clone(), bytes.clone());
            }
            !is_quant
        });
        let repositories = BTreeMap::from([(BASE.to_owned(), base), (QUANTS.to_owned(), quants)]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let hub = Self {
            address: address.clone(),
            mood: Arc::default(),
            asked: Arc::default(),
        };
        let (mood, asked) = (Arc::clone(&hub.mood), Arc::clone(&hub.asked));
        let repositories = Arc::new(repositories);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = Server {
                    repositories: Arc::clone(&repositories),
                    address: address.clone(),
                    mood: Arc::clone(&mood),
                    asked: Arc::clone(&asked),
                };
                std::thread::spawn(move || server.serve(stream));
            }
        });
        hub
    }

    /// Where the requests for a file began, in their order; those for a first byte alone left out.
    pub fn starts_of(&self, name: &str) -> Vec<u64> {
        let asked = self.asked.lock().unwrap();
        let of_file = asked.iter().filter(|(asked, _)| asked == name);
        of_file.map(|(_, start)| *start).collect()
    }
}

struct Server {
    repositories: Arc<Repositories>,
    address: String,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

struct Request {
    path: String,
    token: Option<String>,
    /// First and, if it is said, last byte.
    range: Option<(usize, Option<usize>)>,
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut request = Request {
        path: first.split(' ').nth(1)?.to_owned(),
        token: None,
        range: None,
    };
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => {
                request.token = value.trim().strip_prefix("Bearer ").map(str::to_owned);
            }
            "range" => {
                let (from, to) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
                request.range = Some((from.parse().ok()?, to.parse().ok()));
            }
            _ => {}
        }
    }
    Some(request)
}

fn answer(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8], sent: usize) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&body[..sent]);
}

impl Server {
    fn serve(&self, mut stream: TcpStream) {
        let Some(request) = read_request(&stream) else {
            return;
        };
        let path = request.path.split('?').next().unwrap().to_owned();
        if let Some(rest) = path.strip_prefix("/api/models/") {
            let repository = rest.strip_suffix("/revision/main").unwrap_or_default();
            match self.repositories.get(repository) {
                Some(files) => {
                    let body = describe(repository, files).to_string();
                    let json = "Content-Type: application/json\r\n";
                    answer(&mut stream, "200 OK", json, body.as_bytes(), body.len());
                }
                None => answer(&mut stream, "404 Not Found", "", b"", 0),
            }
            return;
        }
        if let Some(file) = path.strip_prefix("/store/") {
            let (repository, name) = file.split_once(':').unwrap();
            let bytes = &self.repositories[&repository.replace("--", "/")][name];
            self.send(&mut stream, &request, name, bytes, "");
            return;
        }
        self.resolve(&mut stream, &request, &path);
    }

    fn resolve(&self, stream: &mut TcpStream, request: &Request, path: &str) {
        let found = path.trim_start_matches('/').split_once("/resolve/main/");
        let bytes = found.and_then(|(repository, name)| {
            let bytes = self.repositories.get(repository)?.get(name)?;
            Some((repository, name, bytes))
        });
        let Some((repository, name, bytes)) = bytes else {
            answer(stream, "404 Not Found", "", b"", 0);
            return;
        };
        let wanted = self.mood.lock().unwrap().token.clone();
        if wanted.is_some() && wanted != request.token {
            answer(
                stream,
                "401 Unauthorized",
                "X-Error-Code: GatedRepo\r\n",
                b"",
                0,
            );
            return;
        }
        if self.mood.lock().unwrap().has_no_access {
            answer(
                stream,
                "403 Forbidden",
                "X-Error-Code: GatedRepo\r\n",
                b"",
                0,
            );
            return;
        }
        let commit = format!("X-Repo-Commit: {REVISION}\r\n");
        if bytes.len() < LARGE_BYTES {
            let headers = format!("{commit}ETag: \"{}\"\r\n", blob_id(bytes));
            self.send(stream, request, name, bytes, &headers);
        } else {
            let headers = format!(
                "{commit}X-Linked-Etag: \"{}\"\r\nX-Linked-Size: {}\r\nLocation: {}/store/{}:{name}\r\n",
                sha256(bytes),
                bytes.len(),
                self.address,
                repository.replace('/', "--"),
            );
            answer(stream, "302 Found", &headers, b"", 0);
        }
    }

    fn send(
        &self,
        stream: &mut TcpStream,
        request: &Request,
        name: &str,
        bytes: &[u8],
        headers: &str,
    ) {
        let mut bytes = bytes.to_vec();
        let mut mood = self.mood.lock().unwrap();
        if mood.damaged.as_deref() == Some(name) {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        let (from, to) = request.range.unwrap_or((0, None));
        if from >= bytes.len() {
            answer(stream, "416 Range Not Satisfiable", headers, b"", 0);
            return;
        }
        let last = to.unwrap_or(bytes.len() - 1).min(bytes.len() - 1);
        let body = &bytes[from..=last];
        let mut sent = body.len();
        // The client asks for one byte to learn the size.
        if to.is_none() {
            self.asked
                .lock()
                .unwrap()
                .push((name.to_owned(), from as u64));
            if let Some(left) = mood.cuts.get_mut(name).filter(|left| **left > 0) {
                *left -= 1;
                sent /= 2;
            }
        }
        drop(mood);
        let headers = format!(
            "{headers}Content-Range: bytes {from}-{last}/{}\r\n",
            bytes.len()
        );
        answer(stream, "206 Partial Content", &headers, body, sent);
    }
}

fn describe(repository: &str, files: &BTreeMap<String, Vec<u8>>) -> serde_json::Value {
    let siblings: Vec<serde_json::Value> = files
        .iter()
        .map(|(name, bytes)| {
            let mut sibling = json!({
                "rfilename": name, "size": bytes.len(), "blobId": blob_id(bytes),
            });
            if bytes.len() >= LARGE_BYTES {
                sibling["lfs"] = json!({
                    "sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134,
                });
            }
            sibling
        })
        .collect();
    let is_base = repository == BASE;
    json!({
        "id": repository,
        "sha": REVISION,
        "gated": if is_base { json!("auto") } else { json!(false) },
        "cardData": if is_base {
            json!({
                "license": "other",
                "license_name": "flux-1-dev-non-commercial-license",
                "license_link": "LICENSE.md",
            })
        } else {
            json!({})
        },
        "siblings": siblings,
    })
}

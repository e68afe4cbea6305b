//! Files that appear whole or not at all, their checksums, and the lock on a run's folder.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::{Result, StorageError};

/// Start of the names of files that are being written. They are hidden, never listed and never believed.
pub const TEMP_PREFIX: &str = ".fill-audit-tmp-";
const LOCK_NAME: &str = ".fill-audit.lock";

/// Length and CRC32C of a file, read in pieces.
///
/// # Errors
/// [`StorageError::Io`].
pub fn checksum(path: &Path) -> Result<(u64, u32)> {
    let mut file = File::open(path).map_err(StorageError::io("opening", path))?;
    let mut buffer = vec![0u8; 256 * 1024];
    let (mut size_bytes, mut crc) = (0u64, 0u32);
    loop {
        let read = file
            .read(&mut buffer)
            .map_err(StorageError::io("reading", path))?;
        if read == 0 {
            return Ok((size_bytes, crc));
        }
        size_bytes += read as u64;
        crc = crc32c::crc32c_append(crc, buffer.get(..read).unwrap_or_default());
    }
}

/// Writes `content` beside `path` and renames it into place.
///
/// # Errors
/// [`StorageError::Io`]; what was at `path` is then still there.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<()> {
    let mut temp = temp_beside(path)?;
    temp.write_all(content)
        .map_err(StorageError::io("writing", path))?;
    temp.as_file()
        .sync_data()
        .map_err(StorageError::io("writing", path))?;
    persist(temp, path)
}

/// Puts the verified file `from` at `to`, by a hard link where that works (`share`) and else by a copy.
/// Share only what is never written in place.
///
/// # Errors
/// [`StorageError::Io`]; what was at `to` is then still there.
pub fn place_copy(from: &Path, to: &Path, share: bool) -> Result<()> {
    // Nothing is there in most cases, and a link appears whole by itself.
    if share && fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let temp = temp_beside(to)?;
    if share {
        let linked = temp.path().with_extension("link");
        if fs::hard_link(from, &linked).is_ok() {
            return fs::rename(&linked, to).map_err(StorageError::io("writing", to));
        }
    }
    fs::copy(from, temp.path()).map_err(StorageError::io("copying", from))?;
    persist(temp, to)
}

/// Appends whole lines to a journal that another window may be writing too: one write, on a new line.
///
/// # Errors
/// [`StorageError::Io`].
pub fn append_lines(path: &Path, lines: &[&str]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let old = fs::read(path).map_err(StorageError::io("reading", path))?;
    let mut text = String::new();
    if old.last().is_some_and(|&b| b != b'\n') {
        text.push('\n');
    }
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(path)
        .map_err(StorageError::io("opening", path))?;
    file.write_all(text.as_bytes())
        .map_err(StorageError::io("appending to", path))
}

/// Makes a folder and its parents.
///
/// # Errors
/// [`StorageError::Io`].
pub fn make_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(StorageError::io("making the folder", dir))
}

/// All visible files below `dir` with their names (`/`-separated), sorted; hidden ones are left out.
///
/// # Errors
/// [`StorageError::Io`]; a folder that does not exist has no files.
pub fn visible_files(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    walk(dir, "", 0, &mut found)?;
    found.sort();
    Ok(found)
}

fn walk(dir: &Path, prefix: &str, depth: u32, found: &mut Vec<(String, PathBuf)>) -> Result<()> {
    const DEEPEST: u32 = 16; // a link that leads back up must end somewhere
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(StorageError::io("listing", dir))?,
    };
    for entry in entries {
        let entry = entry.map_err(StorageError::io("listing", dir))?;
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            tracing::warn!(path = %path.display(), "a file name is not UTF-8 and is left out");
            continue;
        };
        let Ok(kind) = fs::metadata(&path) else {
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        if kind.is_dir() && depth < DEEPEST {
            walk(&path, &format!("{prefix}{name}/"), depth + 1, found)?;
        } else if kind.is_file() {
            found.push((format!("{prefix}{name}"), path));
        }
    }
    Ok(())
}

/// Holds a run's folder against other processes that pull into it or push from it.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Locks `dir` (made if missing) and removes what an interrupted pull left there.
    ///
    /// # Errors
    /// [`StorageError::Config`] if another process holds it; [`StorageError::Io`].
    pub fn acquire(dir: &Path) -> Result<Self> {
        make_dir(dir)?;
        let path = dir.join(LOCK_NAME);
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(StorageError::io("opening", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(StorageError::Config {
                    problem: "another pull or push is at work in this folder".into(),
                    place: dir.display().to_string(),
                    remedy: "wait for it to end, or stop it".into(),
                });
            }
            Err(fs::TryLockError::Error(source)) => {
                return Err(StorageError::io("locking", &path)(source));
            }
        }
        remove_leftovers(dir, 0);
        Ok(Self { _file: file })
    }
}

/// Waits for the lock that serialises the writes into a folder that serves as a store.
///
/// # Errors
/// [`StorageError::Io`].
pub fn store_lock(dir: &Path) -> Result<File> {
    make_dir(dir)?;
    let path = dir.join(".fill-audit-store.lock");
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StorageError::io("opening", &path))?;
    file.lock().map_err(StorageError::io("locking", &path))?;
    Ok(file)
}

fn remove_leftovers(dir: &Path, depth: u32) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() && depth < 16 {
            remove_leftovers(&entry.path(), depth + 1);
        } else if name.to_string_lossy().starts_with(TEMP_PREFIX)
            && let Err(error) = fs::remove_file(entry.path())
        {
            tracing::warn!(%error, path = %entry.path().display(), "a leftover cannot be removed");
        }
    }
}

fn temp_beside(path: &Path) -> Result<tempfile::NamedTempFile> {
    let dir = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    make_dir(dir)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMP_PREFIX);
    // What lands here is a document for people, so the usual permissions apply (tempfile's are 0600).
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
        .tempfile_in(dir)
        .map_err(StorageError::io("making a temporary file in", dir))
}

fn persist(temp: tempfile::NamedTempFile, path: &Path) -> Result<()> {
    temp.persist(path)
        .map_err(|e| StorageError::io("writing", path)(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_leftovers_go() {
        let dir = tempfile::tempdir().unwrap();
        let leftover = dir.path().join(format!("{TEMP_PREFIX}x"));
        fs::write(&leftover, b"half").unwrap();
        let lock = RunLock::acquire(dir.path()).unwrap();
        assert!(!leftover.exists());
        assert!(RunLock::acquire(dir.path()).is_err());
        drop(lock);
        assert!(RunLock::acquire(dir.path()).is_ok());
    }

    #[test]
    fn an_append_starts_on_a_new_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("review-a.ron");
        fs::write(&path, "(torn").unwrap();
        append_lines(&path, &["(id: \"1\")"]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "(torn\n(id: \"1\")\n");
    }

    #[test]
    fn hidden_files_are_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        write_atomic(&dir.path().join("sub/b.png"), b"b").unwrap();
        write_atomic(&dir.path().join("a.png"), b"a").unwrap();
        fs::write(dir.path().join(".sync.ron"), b"x").unwrap();
        let names: Vec<String> = visible_files(dir.path())
            .unwrap()
            .into_iter()
            .map(|(n, _)| n)
            .collect();
        assert_eq!(names, ["a.png", "sub/b.png"]);
        assert_eq!(
            checksum(&dir.path().join("a.png")).unwrap(),
            (1, crc32c::crc32c(b"a"))
        );
    }
}

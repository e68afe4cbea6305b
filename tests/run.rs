//! `fill-audit run` as a person uses it: the real binary with a tiny model, killed, stopped, gone on with,
//! extended, shown.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#[path = "run_cli/commands.rs"]
mod commands;
#[path = "run_cli/gates.rs"]
mod gates;
#[path = "run_cli/kills.rs"]
mod kills;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A place to run in, with a cache of its own.
struct Place {
    dir: tempfile::TempDir,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The tiny models that the pipeline is held against.
fn models() -> PathBuf {
    let bundle = Path::new("tiny-fill").join("bundle");
    match std::env::var_os("FILL_AUDIT_FIXTURES") {
        Some(other) => Path::new(&other).join(bundle),
        None => root().join("tests/fixtures").join(bundle),
    }
}

impl Place {
    /// An empty one.
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Something in it.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program in this place, without a display.
    fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fill-audit"));
        command
            .current_dir(self.dir.path())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("HOME", self.dir.path())
            .env("FILL_AUDIT_MODELS", models())
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .env_remove("WAYLAND_SOCKET")
            .env_remove("HF_HOME")
            .env_remove("HF_HUB_CACHE");
        command
    }

    /// Calls the program to its end.
    fn call(&self, args: &[&str]) -> Output {
        self.program().args(args).output().unwrap()
    }

    /// Calls the program, which must end well, and returns what it printed.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.call(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Calls the program, which must end with this code, and returns its errors.
    fn fails(&self, args: &[&str], code: i32) -> String {
        let output = self.call(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        error
    }
}

/// Options of a run that takes seconds: two quants, three guidances, two steps, 64 pixels.
fn quick(run_id: &str) -> Vec<String> {
    let session = root().join("tests/fixtures/service-run");
    let mut args: Vec<String> = "run --quant Q4_0,Q8_0 --guidance 2,10,30 --steps 2 --size 64 \
         --despeck 2 --open 0 --dilate 2 --feather 1"
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    args.extend(["--session".to_owned(), session.display().to_string()]);
    args.extend(["--run-id".to_owned(), run_id.to_owned()]);
    args
}

/// Arguments as they are passed on.
fn words(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// The bytes of the files of a folder that end so.
fn files(folder: &Path, ending: &str) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return BTreeMap::new();
    };
    entries
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .filter(|(name, _)| name.ends_with(ending) && !name.starts_with('.'))
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect()
}

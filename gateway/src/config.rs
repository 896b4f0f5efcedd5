//! Text to model, all errors at once; changes are noticed and read again.

mod compile;

mod diagnostic;

mod file;

mod reload;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use diagnostic::{Diagnostic, Diagnostics};
pub use reload::watch;

use crate::model::{Generation, Model};

/// Where the configuration is, if not said otherwise.
pub const DEFAULT_PATH: &str = "/etc/egret/egret.yaml";
/// Where the daemon listens, if not said otherwise.
pub const DEFAULT_SOCKET: &str = "/run/egret/admin.sock";
/// Where the hooks are pinned, if not said otherwise.
pub const DEFAULT_PINS: &str = "/sys/fs/bpf/egret";

/// A configuration, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// What a change replaces while the gateway runs.
    pub model: Model,
    /// What holds from the start of the process on.
    pub settings: Settings,
}

/// What holds from the start of the process on; a change needs a restart (or a take-over).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The cgroup to capture; the root of the hierarchy if absent.
    pub cgroup: Option<PathBuf>,
    /// Directory of the pins.
    pub pins: PathBuf,
    /// The admin socket.
    pub admin_socket: PathBuf,
    /// DNS servers instead of the system's.
    pub resolvers: Vec<SocketAddr>,
    /// How long an address is captured after DNS has dropped it.
    pub keep: Duration,
    /// Where `/metrics`, `/healthz` and `/readyz` are.
    pub telemetry: Option<SocketAddr>,
    /// Where flow records go.
    pub access_log: AccessLog,
}

/// Where flow records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// A file, appended to.
    File(PathBuf),
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
}

/// Reads and compiles a file.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load(path: &Path, generation: Generation) -> Result<Compiled, Diagnostics> {
    let unreadable = |error: std::io::Error| {
        Diagnostics::of_file(path, &format!("cannot be read: {error}"), "name a configuration: `--config PATH`")
    };
    if path.is_dir() {
        return Err(Diagnostics::of_file(path, "is a directory", "name one YAML file"));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    parse(path, &text, generation)
}

/// Compiles a text; the path is for messages.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn parse(path: &Path, text: &str, generation: Generation) -> Result<Compiled, Diagnostics> {
    let file: file::File =
        serde_saphyr::from_str(text).map_err(|error| Diagnostics::of_syntax(path, &error.to_string()))?;
    let mut problems = Vec::new();
    let compiled = compile::compile(&file, generation, &mut problems);
    match compiled {
        Some(compiled) if problems.is_empty() => Ok(compiled),
        _ => Err(Diagnostics::new(path, text, problems)),
    }
}

/// The JSON Schema of the configuration.
pub fn schema() -> String {
    let schema = schemars::schema_for!(file::File);
    serde_json::to_string_pretty(&schema).map_or_else(|error| error.to_string(), |text| text + "\n")
}

/// Every key with its meaning, in Markdown, from the schema.
pub fn reference() -> String {
    diagnostic::reference(schemars::schema_for!(file::File).as_value())
}

#[cfg(test)]
mod tests;

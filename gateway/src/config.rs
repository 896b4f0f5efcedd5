//! Text to model, all errors at once; changes are noticed and read again.

mod compile;

mod diagnostic;

mod diff;

mod document;

pub mod environment;

mod file;

mod key;
mod locations;
mod places;

mod reference;

mod reload;

mod source;

mod unknown_key;

mod written;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use diagnostic::{Diagnostic, Diagnostics};
pub use diff::{Change, ChangeKind, diff};
pub use locations::{Locations, is_written, locations};
pub use places::Places;
pub use reload::watch;

use serde_json::Value;
use serde_saphyr::Spanned;

use crate::model::{Generation, Model, with_stack};
use compile::Outside;
use diagnostic::Problem;
use document::Node;
use file::File;
use source::Source;
use written::WrittenPolicies;

/// Deepest nesting of a file: some twenty policies in one another.
const DEEPEST: usize = 100;

/// Where the configuration is, if not said otherwise.
pub const DEFAULT_PATH: &str = "/etc/egret/egret.yaml";
/// Where the daemon listens, if not said otherwise.
pub const DEFAULT_SOCKET: &str = "/run/egret/admin.sock";
/// Where the hooks are pinned, if not said otherwise.
pub const DEFAULT_PINS: &str = "/sys/fs/bpf/egret";

/// Where what outlives the process is kept, if not said otherwise.
pub const DEFAULT_STATE: &str = "/var/lib/egret";

/// Where the kubelet keeps pods, if not said otherwise.
pub const DEFAULT_KUBELET_PODS: &str = "/var/lib/kubelet/pods";
/// Where it keeps their logs, if not said otherwise.
pub const DEFAULT_KUBELET_LOGS: &str = "/var/log/pods";

/// Where the CA's certificate is, if not said otherwise.
pub const DEFAULT_CA: &str = "/var/lib/egret/ca.pem";
/// Where its key is, if not said otherwise.
pub const DEFAULT_CA_KEY: &str = "/var/lib/egret/ca-key.pem";

/// A configuration, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// What a change replaces while the gateway runs.
    pub model: Model,
    /// What holds from the start of the process on.
    pub settings: Settings,
    /// Where its keys are written.
    pub places: Places,
    /// What the environment gives.
    pub variables: Vec<Variable>,
}

/// A variable of the environment that gives a key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name of the variable.
    pub name: String,
    /// The key, such as `egress.addresses`.
    pub key: String,
    /// Whether no file has the key.
    pub is_used: bool,
}

/// What holds from the start of the process on; a change needs a restart (or a take-over).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The cgroup to capture; the root of the hierarchy if absent.
    pub cgroup: Option<PathBuf>,
    /// Directory of the pins.
    pub pins: PathBuf,
    /// Directory of what outlives the process.
    pub state: PathBuf,
    /// The admin socket.
    pub admin_socket: PathBuf,
    /// DNS servers instead of the system's.
    pub resolvers: Vec<SocketAddr>,
    /// Further DNS servers whose responses to callers Egret believes.
    pub trusted_resolvers: Vec<SocketAddr>,
    /// Most names that Egret learns from DNS responses to callers.
    pub max_names: usize,
    /// Whether DNS queries of callers go through Egret.
    pub forward_dns: bool,
    /// How long an address is captured after DNS has dropped it.
    pub keep: Duration,
    /// Most addresses of a name that are captured.
    pub max_addresses: usize,
    /// The kubelet's directories.
    pub kubelet: Kubelet,
    /// The Kubernetes API server, where Egret asks it.
    pub kubernetes: Option<Kubernetes>,
    /// The CA of intercepted APIs.
    pub ca: Ca,
    /// Where `/metrics`, `/healthz` and `/readyz` are.
    pub telemetry: Option<SocketAddr>,
    /// Where flow records go.
    pub access_log: AccessLog,
    /// Whether each request has a record there, too.
    pub log_requests: bool,
}

/// The kubelet's directories on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubelet {
    /// A directory for each pod, with its volumes.
    pub pods: PathBuf,
    /// A directory for each pod, with its logs.
    pub logs: PathBuf,
    /// The cgroup below which the kubelet makes `kubepods`, as a path below the root of the hierarchy; the root if absent.
    pub cgroup: Option<String>,
}

/// How Egret finds the Kubernetes API server, and its own node there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    /// The name of the node, if it is configured.
    pub node: Option<String>,
    /// The kubeconfig file; without one, the pod's service account is used.
    pub kubeconfig: Option<PathBuf>,
    /// Whether Egret reports this node to the others.
    pub fleet: bool,
}

/// The files of the CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ca {
    /// The file of the certificate.
    pub certificate: PathBuf,
    /// The file of the private key.
    pub key: PathBuf,
}

/// Where flow records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// A file, appended to.
    File(PathBuf),
    /// The log is not written.
    Off,
    /// The log goes to standard output.
    Stdout,
}

/// Reads and compiles a file, or the YAML files of a directory, with what the environment says ([`environment`]).
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load(path: &Path, generation: Generation) -> Result<Compiled, Diagnostics> {
    load_with(path, generation, Secrets::Read)
}

/// Loads a configuration to check it where its secrets are not. What it gives must not serve: its secrets are empty.
///
/// # Errors
/// Everything that is wrong with it, apart from its secrets, at once.
pub fn load_without_secrets(path: &Path) -> Result<Compiled, Diagnostics> {
    load_with(path, Generation::default(), Secrets::Assumed)
}

/// What is done about named values that are not written in the configuration, and about client certificates with their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Secrets {
    Read,
    /// They are taken as present and right.
    Assumed,
}

fn load_with(path: &Path, generation: Generation, secrets: Secrets) -> Result<Compiled, Diagnostics> {
    let given = environment::given(&|name| std::env::var(name).ok());
    parse(path, &source::read(path, given)?, generation, secrets)
}

fn parse(path: &Path, sources: &[Source], generation: Generation, secrets: Secrets) -> Result<Compiled, Diagnostics> {
    let mut problems = Vec::new();
    let schema = schemars::schema_for!(File);
    let documents: Vec<_> =
        sources.iter().filter_map(|source| document(source, schema.as_value(), &mut problems)).collect();
    if documents.len() == sources.len() {
        let (documents, variables) = without_replaced(documents);
        only_once(&documents, &mut problems);
        let (files, nodes): (Vec<_>, Vec<_>) =
            documents.into_iter().map(|document| (document.file, document.node)).unzip();
        let file = files.into_iter().reduce(File::and).unwrap_or_default();
        let written = WrittenPolicies::new(nodes.iter());
        let places = Places::of(sources, nodes.iter());
        let base = base(path);
        let read = |path: &Path| std::fs::read(path);
        let environment = |name: &str| std::env::var(name).ok();
        let outside = Outside { base, read: &read, environment: &environment, secrets };
        let mut compiled = compile::compile(&file, &written, generation, &outside, &mut problems);
        problems = diagnostic::only_causes(problems);
        if !problems.iter().any(Problem::is_error) {
            let warnings = diagnostic::diagnostics(sources, problems);
            compiled.model.warnings = warnings.iter().map(ToString::to_string).collect();
            compiled.places = places;
            compiled.variables = variables;
            return Ok(compiled);
        }
    }
    Err(Diagnostics::new(path, sources, problems))
}

/// Where what a configuration names is found from.
fn base(path: &Path) -> &Path {
    if path.is_dir() { Some(path) } else { path.parent() }.unwrap_or(Path::new(""))
}

/// A file, if it has the right form; an unknown key is a problem, but does not hinder that.
fn document(source: &Source, schema: &Value, problems: &mut Vec<Problem>) -> Option<Document> {
    let text = source.numbered();
    let syntax = |error: &serde_saphyr::Error| Problem::in_syntax(source, error);
    let node = read(&text).map_err(|error| problems.push(syntax(&error))).ok()?;
    if let Some(version) = other_version(&node) {
        problems.push(Problem::at(version, "this version of the format is not known", "write `version: 1`"));
        return None;
    }
    let before = problems.len();
    document::check(schema, &node, problems);
    match read(&text) {
        Ok(file) => Some(Document { file, node, variable: source.variable.clone() }),
        Err(error) => {
            // What serde stumbles over has been told, as a rule, and better.
            if problems.len() == before {
                problems.push(syntax(&error));
            }
            None
        }
    }
}

/// Reads a text whose values nest at most [`DEEPEST`] levels, on a stack that has room for them: the reader calls itself for each.
fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    let options = serde_saphyr::options! { budget: serde_saphyr::budget! { max_depth: DEEPEST } };
    with_stack(|| serde_saphyr::from_str_with_options(text, options))
}

/// A version that is a number, but not ours: nothing else of the file can be judged.
fn other_version(document: &Spanned<Node>) -> Option<&Spanned<Node>> {
    let (_, version) = document.value.entries().iter().find(|(key, _)| key.value == "version")?;
    matches!(version.value, Node::Integer(number) if number != 1).then_some(version)
}

/// A document that a source is read as.
struct Document {
    file: File,
    node: Spanned<Node>,
    /// The variable that gives it: the keys of files go before it.
    variable: Option<String>,
}

impl Document {
    /// Returns the sections that only one file may have.
    fn sections(&self) -> impl Iterator<Item = &(Spanned<String>, Spanned<Node>)> {
        self.node.value.entries().iter().filter(|(key, _)| !matches!(key.value.as_str(), "apis" | "version"))
    }

    /// Returns the path of its first key.
    fn first_key(&self) -> String {
        let Some((section, value)) = self.sections().next() else { return "apis".to_owned() };
        let key = value.value.entries().first();
        key.map_or_else(|| section.value.clone(), |(key, _)| format!("{}.{}", section.value, key.value))
    }

    /// Returns whether this one has a key of the other's sections.
    fn has_key_of(&self, other: &Self) -> bool {
        let keys = |document: &Self| -> HashSet<(String, String)> {
            let inner = document.sections().flat_map(|(section, value)| {
                let keys = value.value.entries().iter();
                keys.map(|(key, _)| (section.value.clone(), key.value.clone()))
            });
            inner.collect()
        };
        !keys(self).is_disjoint(&keys(other))
    }
}

/// Returns the documents without those of the environment whose key a file has, and what became of each variable.
fn without_replaced(documents: Vec<Document>) -> (Vec<Document>, Vec<Variable>) {
    let (given, mut documents): (Vec<_>, Vec<_>) =
        documents.into_iter().partition(|document| document.variable.is_some());
    let mut variables = Vec::new();
    for document in given {
        let is_used = !documents.iter().any(|file| file.has_key_of(&document));
        let name = document.variable.clone().unwrap_or_default();
        variables.push(Variable { name, key: document.first_key(), is_used });
        documents.extend(is_used.then_some(document));
    }
    (documents, variables)
}

/// The files of a directory share the list of APIs; anything else is said by one of them.
fn only_once(documents: &[Document], problems: &mut Vec<Problem>) {
    let mut said = HashMap::new();
    let files = documents.iter().filter(|document| document.variable.is_none());
    for (key, _) in files.flat_map(Document::sections) {
        if let Some(other) = said.insert(key.value.as_str(), key) {
            let problem = Problem::at(
                key,
                "another file has this key too",
                "keep it in one of the files: only `apis` may be in several",
            );
            problems.push(problem.with(other));
        }
    }
}

/// The JSON Schema of the configuration.
pub fn schema() -> String {
    let schema = schemars::schema_for!(File);
    serde_json::to_string_pretty(&schema).map_or_else(|error| error.to_string(), |text| text + "\n")
}

/// Every key with its meaning, in Markdown, from the schema.
pub fn reference() -> String {
    reference::reference(schemars::schema_for!(File).as_value())
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests;

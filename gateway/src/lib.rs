//! Egret, an eBPF-assisted transparent egress gateway. This list of rooms follows the life of a connection.
//!
//! A program connects to a listed third party; the kernel half (`gateway-ebpf`) redirects the
//! connection to a listener here; [`connection`] says in one sentence what follows.

/// 1. The kernel hooks: attaches and pins them, publishes rules, reads origins.
pub mod capture;

/// 2. Accepts captured connections and hands the listening sockets over to the next process.
pub mod listener;

/// 3. Finds out who connected, and to where: an accepted socket becomes a flow.
pub mod flow;

/// 4. Detects the protocol from the first bytes: TLS, HTTP/1, HTTP/2 or opaque.
pub mod detect;

/// 5. Chooses the API and mode by flow and name, or the reason for a refusal.
pub mod route;

/// Carries one connection from accept to end: steps 3, 4 and 5, then bytes or requests.
pub mod connection;

/// TLS with callers: Egret's CA and the leaves that it issues.
pub mod tls;

/// 6. Says who may use an API, and is the only source of a permit to dial.
pub mod permit;

/// Runs the policies of a request, between 6 and 7.
pub mod policy;

/// 7. Connects to the third party, always from the egress address.
pub mod upstream;

/// 8. Writes one record per flow; metrics and the access log.
pub mod telemetry;

// -- beside the path --

/// Resolves host names, keeps their addresses fresh, and derives the kernel's table from them.
pub mod names;

/// Follows the pods of this node at the Kubernetes API server.
pub mod kubernetes;

/// The types that rooms share. They do no IO, and none but those of workloads know serde.
pub mod model;

/// Written texts with their places, and what kinds of policies compile themselves with.
pub mod syntax;

/// Compiles text to a model and reports all errors at once; reloads live.
pub mod config;

/// The unix socket to which the command line and the next process connect.
pub mod admin;

/// Explains what would happen to a request, or what happened.
pub mod explain;

/// The composition root: builds the rooms, connects them, and owns the order of shutdown.
pub mod gateway;

/// The command line, with one command per file.
pub mod cli;

#[cfg(test)]
mod fuzz;

//! Egret: an eBPF-assisted transparent egress gateway. This list is the life of a connection.
//!
//! A program connects to a listed third party; the kernel half (`gateway-ebpf`) redirects the
//! connection to a listener here; [`connection`] says in one sentence what follows.

/// 1. The kernel hooks: attach, pin, publish rules, read origins, detach.
pub mod capture;

/// 2. Accept captured connections; pass the sockets on; drain.
pub mod listener;

/// 3. Who connected, and to where: an accepted socket becomes a flow.
pub mod flow;

/// 4. The first bytes: TLS, HTTP/1, HTTP/2 or opaque.
pub mod detect;

/// 5. Flow and name to API and mode, or the reason why not.
pub mod route;

/// The sentence: 3, 4, 5, then one of passthrough, http.
pub mod connection;

/// TLS with callers: our CA and its leaves.
pub mod tls;

/// 6. What may be done; the only source of a permit to dial.
pub mod policy;

/// 7. To the third party, always from the egress IP.
pub mod upstream;

/// 8. One record per flow; metrics, access log.
pub mod telemetry;

// -- beside the path --

/// Host names to addresses, kept fresh; names and APIs to the kernel's table.
pub mod names;

/// The words that cross rooms. No IO, no serde.
pub mod model;

/// Text to model, all errors at once; live reload.
pub mod config;

/// The unix socket that the CLI and the next process talk to.
pub mod admin;

/// What would be done with a request, or was, for a person who asks.
pub mod explain;

/// The composition root: builds the rooms, joins them, owns the order of shutdown.
pub mod gateway;

/// The command line; one command a file.
pub mod cli;

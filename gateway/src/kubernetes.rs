//! What the Kubernetes API server says of the pods of this node: a watch that goes on for as long as Egret runs, and keeps what it was
//! told last while the server is away.

mod client;
mod facts;
mod pods;
mod watch;

pub use client::{Access, Dial, Resolve};
pub use pods::{Pods, State, Status};
pub use watch::watch;

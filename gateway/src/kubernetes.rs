//! What the Kubernetes API server says: of the pods of this node, a watch that goes on for as long as Egret runs and keeps what it was
//! told last while the server is away; and of the nodes that run Egret, their Leases.

mod client;
mod facts;
mod leases;
mod pods;
mod watch;

use std::time::Duration;

pub use client::{Access, Dial, Resolve};
pub use leases::{LEASE, Leases, Renewal, ReportedNode};
pub use pods::{Pods, State, Status};
pub use watch::watch;

/// Returns a wait of half to all of this length: the nodes of a cluster do not ask at the same moment.
fn jittered(wait: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness the wait is the shortest one.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    wait / 2 + wait / 2 * u32::from(byte[0]) / 255
}

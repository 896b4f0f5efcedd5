//! Who connected, and to where: an accepted socket and its origin record become a flow.

mod workload;

use std::net::SocketAddr;

use crate::model::{Flow, Origin};

pub use workload::Workloads;

/// The flow of an accepted connection.
pub fn identify(id: u64, client: SocketAddr, origin: Origin, workloads: &Workloads) -> Flow {
    Flow {
        id,
        client,
        original_dst: origin.original_dst,
        generation: origin.generation,
        api: origin.api,
        workload: workloads.identify(origin),
    }
}

//! Who connected, and to where: an accepted socket and its origin record become a flow.

mod cgroup;
mod kubelet;
mod shares;
mod workload;

use crate::model::{Flow, Origin};

pub use kubelet::Kubelet;
pub use shares::{Bound, Share, Shares};
pub use workload::Workloads;

/// The flow of a connection with this origin.
pub fn identify(id: u64, origin: Origin, workloads: &Workloads) -> Flow {
    Flow {
        id,
        original_dst: origin.original_dst,
        generation: origin.generation,
        api: origin.api,
        workload: workloads.identify(origin),
    }
}

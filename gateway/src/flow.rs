//! Who connected, and to where: an accepted socket and its origin record become a flow.
//!
//! All that is asked of the file system or of the node's user database runs in a bounded number of threads beside the workers of
//! the data path, with a time limit and a share for each owner ([`lookups`]).

mod cgroup;
mod cgroups;
mod executable;
mod kubelet;
mod lookups;
mod pods;
mod shares;
mod tree;
mod users;
mod workload;

use crate::model::{Flow, Origin};

pub use cgroups::PathOf;
pub use executable::sees_the_nodes_processes;
pub use kubelet::Kubelet;
pub use shares::{Bound, Share, Shares};
pub use tree::Tree;
pub use workload::Workloads;

/// Returns the flow of a connection with this origin.
pub async fn identify(id: u64, origin: Origin, workloads: &Workloads) -> Flow {
    Flow {
        id,
        original_dst: origin.original_dst,
        scope: origin.scope,
        generation: origin.generation,
        api: origin.api,
        workload: workloads.identify(origin).await,
    }
}

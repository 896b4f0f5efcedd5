//! What the responses of the daemon consist of. Field names are those of the CLI's `--output json`.

mod calls;
mod explained;
mod fleet;
mod kernel;
mod names;
mod policies;
mod status;

pub use self::calls::{Caller, FlowRow, RefusalRow, RequestRow, WorkloadApi, WorkloadRow};
pub use self::explained::{DestinationExplained, DestinationStep, Explained, MessageRow, Question, StepRow};
pub use self::fleet::{AllowlistAddress, AllowlistRow, LeaseRow, NodeRow};
pub use self::kernel::{BypassRow, DecisionRow, HookRow, NamespaceRow, RedirectRow, UnlistedRow};
pub use self::names::{ApiRow, HostAddress, HostRow, NameRow};
pub use self::policies::{BackendRow, CacheRow, LimitRow, SubscriptionRow};
pub use self::status::{Draining, EgressRow, KubernetesRow, Status};

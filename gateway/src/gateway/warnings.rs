//! What an owner should know about a configuration that is valid: it depends on the node, so `egret check` cannot tell.

use super::egress::chosen_source;
use crate::model::{Mode, Model, Strangers};
use crate::names::Names;

/// Addresses of an API that are looked at: as a rule the same route leads to all.
const LOOKED_AT: usize = 8;

/// Returns the warnings, one for each API at most.
pub(super) fn warnings(model: &Model, names: &Names) -> Vec<String> {
    let mut warnings = Vec::new();
    for api in &model.apis {
        let sees_requests = api.rules.is_some() && matches!(api.mode, Mode::Intercept | Mode::Passthrough);
        if !sees_requests || api.strangers == Strangers::Refuse {
            continue;
        }
        let egress = model.egress_of(api);
        let mut addresses = api.hosts.iter().flat_map(|host| names.addresses(host)).take(LOOKED_AT);
        let shared = addresses
            .find_map(|address| egress.source_for(address).filter(|source| chosen_source(address) == Some(*source)));
        if let Some(source) = shared {
            warnings.push(format!(
                "warning: API `{}` has policies and carries strangers, and {source} is both its egress address and the address that \
                 strangers leave from: a caller that names another host at the same address reaches it from {source} past \
                 the policies. Set `strangers: refuse`, or use another egress address",
                api.name
            ));
        }
    }
    warnings
}

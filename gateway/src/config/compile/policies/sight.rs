//! Rules that need to see requests, and APIs whose requests Egret does not see.

use crate::config::diagnostic::Problem;
use crate::config::file::ApiFile;
use crate::model::Mode;

/// Ports that usually carry plain HTTP. The others may carry TLS, which only the connection shows.
const PLAIN: [u16; 3] = [80, 8000, 8080];

const HTTPS: u16 = 443;

/// A rule that needs to see requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Needing {
    /// Policies of the API, of its operations or of its products.
    OwnPolicies,
    /// Policies of all APIs only.
    PoliciesOfAll,
    /// `only_operations`, without policies.
    OnlyOperations,
    /// `paths: strict`, without policies.
    StrictPaths,
}

impl Needing {
    fn subject(self) -> &'static str {
        match self {
            Self::OwnPolicies => "policies have",
            Self::PoliciesOfAll => "the policies of all APIs have",
            Self::OnlyOperations => "`only_operations` has",
            Self::StrictPaths => "`paths: strict` has",
        }
    }

    /// Returns how to do without the rule.
    fn without(self) -> &'static str {
        match self {
            Self::OwnPolicies => "remove the policies",
            Self::PoliciesOfAll => "write `inherit: false` in this API",
            Self::OnlyOperations => "remove `only_operations`",
            Self::StrictPaths => "remove `paths`",
        }
    }
}

/// Reports a rule of an API that has no effect, because Egret does not see the API's requests.
pub(super) fn check(file: &ApiFile, mode: Mode, rule: Needing, problems: &mut Vec<Problem>) {
    let place = file.mode.as_ref().unwrap_or(&file.name);
    let (subject, without) = (rule.subject(), rule.without());
    let is_opaque = |port: u16| file.opaque_ports.iter().any(|opaque| opaque.value == port);
    let ports: Option<Vec<u16>> = file.ports.as_ref().map(|ports| ports.iter().map(|port| port.value).collect());
    let ports = ports.unwrap_or_else(|| super::super::DEFAULT_PORTS.to_vec());
    if matches!(mode, Mode::Bind | Mode::Deny) {
        let why = format!("{subject} no effect in mode `{}`: Egret does not see the requests", mode.label());
        problems.push(Problem::at(place, why, format!("write mode: intercept, or {without}")));
    } else if mode == Mode::Passthrough && ports.contains(&HTTPS) && !is_opaque(HTTPS) {
        let why = format!("{subject} no effect on HTTPS in mode `passthrough`: Egret does not decrypt it");
        let help = format!("write mode: intercept; or `ports: [80]`, if only plain HTTP is meant; or {without}");
        problems.push(Problem::at(place, why, help));
    } else if let Some(opaque) = file.opaque_ports.first() {
        let why = format!("{subject} no effect on opaque ports: Egret does not see the requests");
        problems.push(Problem::at(opaque, why, format!("move those ports to an API of their own, or {without}")));
    } else if let Some(port) = ports.iter().find(|port| mode == Mode::Passthrough && !PLAIN.contains(port)) {
        let written = file.ports.iter().flatten().find(|written| written.value == *port);
        let why = format!(
            "in mode `passthrough`, Egret refuses TLS connections to port {port}: it cannot see their requests"
        );
        let help = format!("write mode: intercept, if callers use HTTPS on this port; or {without}");
        let problem = written.map(|written| Problem::at(written, why.clone(), help.clone()));
        problems.push(problem.unwrap_or_else(|| Problem::at(place, why, help)).warning());
    }
}

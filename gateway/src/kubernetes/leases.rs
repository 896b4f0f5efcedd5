//! The Leases by which the nodes of a cluster know each other: each renews its own, with a report in an annotation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use tokio::sync::watch;

use super::client::{Access, Unusable};
use crate::model::{Model, NodeReport};

/// Time between renewals, as of the kubelet's own Leases.
const RENEW: Duration = Duration::from_secs(10);

/// Time from a change of the configuration to the renewal that tells of it, and of those that follow at once.
const SOON: Duration = Duration::from_secs(1);

/// After this time without a renewal a node counts as gone, as in the kubelet's own Leases (`nodeLeaseDurationSeconds`).
pub const LEASE: Duration = Duration::from_secs(40);

/// Longest wait for the API server, the credentials included.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of a report. The annotations of an object have at most 262,144 bytes together.
const MOST_BYTES: usize = 200_000;

/// Nodes in one response.
const PAGE: u32 = 200;

/// The annotation with the report.
const REPORT: &str = "egret/report";

/// The name by which the API server knows who writes a Lease, and the label of all of them.
const EGRET: &str = "egret";

const NAME_LABEL: &str = "app.kubernetes.io/name";
const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
const COMPONENT: &str = "node";

/// The Leases of the nodes.
#[derive(Debug)]
pub struct Leases {
    access: Access,
    node: String,
    renewal: Mutex<Renewal>,
}

/// How the renewals of this node's Lease are getting on.
#[derive(Clone, Debug, Default)]
pub struct Renewal {
    /// The Lease as `NAMESPACE/NAME`, once it was renewed.
    pub lease: Option<String>,
    /// The time of the last renewal.
    pub last: Option<SystemTime>,
    /// Why the newest attempt failed, if it did.
    pub error: Option<String>,
}

/// A node as its Lease describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedNode {
    /// The name of the node.
    pub name: String,
    /// The time of its last renewal, by its own clock.
    pub renewed: Option<SystemTime>,
    /// What it reports.
    ///
    /// # Errors
    /// Why that cannot be read.
    pub report: Result<NodeReport, String>,
}

impl Leases {
    /// Knows the Leases, and which is this node's.
    pub fn new(access: Access, node: String) -> Self {
        Self { access, node, renewal: Mutex::default() }
    }

    /// Returns the name of this node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Returns how the renewals are getting on.
    pub fn renewal(&self) -> Renewal {
        self.lock().clone()
    }

    /// Renews this node's Lease for ever: in time, and when the configuration changes.
    pub async fn renew(&self, mut changes: watch::Receiver<Arc<Model>>, report: impl Fn() -> NodeReport + Send) {
        let mut client = None;
        loop {
            changes.mark_unchanged();
            let renewed = tokio::time::timeout(PATIENCE, self.renew_once(&mut client, report())).await;
            let error = renewed.unwrap_or_else(|_| Err(Unusable::Late(PATIENCE).into())).err();
            self.note(error.map(|error| format!("{error:#}")));
            tokio::select! {
                () = tokio::time::sleep(super::jittered(RENEW)) => {}
                Ok(()) = changes.changed() => tokio::time::sleep(SOON).await,
            }
        }
    }

    /// Renews the Lease, with the client of the time before if there is one. After a failure there is none: the files of the credentials
    /// are read anew.
    async fn renew_once(&self, kept: &mut Option<Client>, report: NodeReport) -> anyhow::Result<()> {
        let client = match kept.take() {
            Some(client) => client,
            None => self.access.client().await?.0,
        };
        let namespace = client.default_namespace().to_owned();
        let lease = lease(&self.node, report)?;
        let name = lease.metadata.name.clone().unwrap_or_default();
        let leases: Api<Lease> = Api::namespaced(client.clone(), &namespace);
        leases.patch(&name, &PatchParams::apply(EGRET).force(), &Patch::Apply(&lease)).await?;
        *kept = Some(client);
        let mut renewal = self.lock();
        renewal.last = Some(SystemTime::now());
        renewal.lease = Some(format!("{namespace}/{name}"));
        Ok(())
    }

    /// Notes how an attempt ended.
    fn note(&self, error: Option<String>) {
        let mut renewal = self.lock();
        match (&error, &renewal.error) {
            (Some(error), None) => {
                tracing::warn!(error, node = self.node, "cannot renew this node's Lease: other nodes see it grow old");
            }
            (None, Some(_)) => tracing::info!(node = self.node, "this node's Lease is renewed again"),
            _ => {}
        }
        renewal.error = error;
    }

    /// Returns all nodes that have a Lease, by name.
    ///
    /// # Errors
    /// The API server does not tell.
    pub async fn nodes(&self) -> anyhow::Result<Vec<ReportedNode>> {
        let listed = tokio::time::timeout(PATIENCE, self.list()).await;
        let mut nodes = listed.map_err(|_| Unusable::Late(PATIENCE))??;
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(nodes)
    }

    async fn list(&self) -> anyhow::Result<Vec<ReportedNode>> {
        let (client, _) = self.access.client().await?;
        let leases: Api<Lease> = Api::default_namespaced(client);
        let labels = format!("{NAME_LABEL}={EGRET},{COMPONENT_LABEL}={COMPONENT}");
        let (mut nodes, mut next) = (Vec::new(), ListParams::default().labels(&labels).limit(PAGE));
        loop {
            let page = leases.list(&next).await?;
            nodes.extend(page.items.into_iter().filter_map(reported));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => next = next.continue_token(&token),
                None => return Ok(nodes),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Renewal> {
        self.renewal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the Lease of a node, renewed now.
fn lease(node: &str, report: NodeReport) -> serde_json::Result<Lease> {
    let mut text = serde_json::to_string(&report)?;
    if text.len() > MOST_BYTES {
        text = serde_json::to_string(&NodeReport { apis: None, ..report })?;
    }
    let labels = [(NAME_LABEL, EGRET), (COMPONENT_LABEL, COMPONENT)];
    let metadata = ObjectMeta {
        name: Some(format!("{EGRET}-{node}")),
        labels: Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
        annotations: Some(BTreeMap::from([(REPORT.to_owned(), text)])),
        ..ObjectMeta::default()
    };
    let spec = LeaseSpec {
        holder_identity: Some(node.to_owned()),
        lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    };
    Ok(Lease { metadata, spec: Some(spec) })
}

/// Returns the node of a Lease; none if it says of no node.
fn reported(lease: Lease) -> Option<ReportedNode> {
    let spec = lease.spec.unwrap_or_default();
    let name = spec.holder_identity?;
    let text = lease.metadata.annotations.as_ref().and_then(|annotations| annotations.get(REPORT));
    let report = match text {
        Some(text) => serde_json::from_str(text).map_err(|error| error.to_string()),
        None => Err(format!("its Lease has no annotation `{REPORT}`")),
    };
    Some(ReportedNode { name, renewed: spec.renew_time.map(|time| time.0.into()), report })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(apis: usize) -> NodeReport {
        let own = (0..apis).map(|number| (format!("api-{number}"), vec!["192.0.2.11".parse().unwrap()])).collect();
        NodeReport {
            version: "1.2.3".to_owned(),
            generation: 7,
            config: "0123456789ab".to_owned(),
            egress: vec!["192.0.2.10".parse().unwrap()],
            apis: Some(own),
        }
    }

    #[test]
    fn a_lease_says_what_it_was_made_of() {
        let lease = lease("node-7.example", report(2)).unwrap();
        assert_eq!(lease.metadata.name.as_deref(), Some("egret-node-7.example"));
        let read = reported(serde_json::from_value(serde_json::to_value(lease).unwrap()).unwrap()).unwrap();
        assert_eq!((&*read.name, read.report), ("node-7.example", Ok(report(2))));
        assert!(read.renewed.unwrap() <= SystemTime::now());
    }

    #[test]
    fn a_report_that_an_annotation_cannot_hold_leaves_the_apis_out() {
        let lease = lease("a", report(20_000)).unwrap();
        assert_eq!(reported(lease).unwrap().report, Ok(NodeReport { apis: None, ..report(0) }));
    }

    #[test]
    fn a_lease_with_a_report_of_another_kind_is_a_node_all_the_same() {
        let mut lease = lease("a", report(0)).unwrap();
        lease.metadata.annotations = Some(BTreeMap::from([(REPORT.to_owned(), "[]".to_owned())]));
        assert!(reported(lease.clone()).unwrap().report.is_err());
        lease.metadata.annotations = None;
        assert_eq!(reported(lease.clone()).unwrap().report.unwrap_err(), "its Lease has no annotation `egret/report`");
        lease.spec = None;
        assert_eq!(reported(lease), None);
    }
}

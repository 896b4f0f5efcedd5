//! The nodes of a cluster: what this one tells the others, and what a person can ask of all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::models::Models;
use crate::admin::{AllowlistAddress, AllowlistRow, LeaseRow, NodeRow};
use crate::kubernetes::{LEASE, Leases, ReportedNode};
use crate::model::{Api, Mode, Model, NodeReport};

/// The nodes of a cluster, or this node alone.
pub(super) struct Fleet {
    /// Absent where this node does not report to others.
    leases: Option<Arc<Leases>>,
    models: Arc<Models>,
    /// The name of this node.
    node: String,
}

impl Fleet {
    /// Knows the nodes by their Leases; without them, this node alone, by the host's name.
    ///
    /// # Errors
    /// The host has no name.
    pub(super) fn new(leases: Option<Arc<Leases>>, models: Arc<Models>) -> anyhow::Result<Arc<Self>> {
        let node = match &leases {
            Some(leases) => leases.node().to_owned(),
            None => nix::unistd::gethostname()?.to_string_lossy().into_owned(),
        };
        Ok(Arc::new(Self { leases, models, node }))
    }

    /// Reports this node to the others until stopped.
    pub(super) fn spawn(self: Arc<Self>, changes: watch::Receiver<Arc<Model>>, stop: &CancellationToken) {
        let Some(leases) = self.leases.clone() else { return };
        let renewing = async move { leases.renew(changes, || self.report()).await };
        tokio::spawn(stop.clone().run_until_cancelled_owned(renewing));
    }

    fn report(&self) -> NodeReport {
        NodeReport::of(&self.models.current(), env!("CARGO_PKG_VERSION"), self.models.places().digest())
    }

    /// Returns how the renewals of this node's Lease are getting on, if it has one.
    pub(super) fn lease(&self) -> Option<LeaseRow> {
        let renewal = self.leases.as_ref()?.renewal();
        let last_seconds_ago = renewal.last.map(|last| ago(last).as_secs());
        Some(LeaseRow { lease: renewal.lease, last_seconds_ago, error: renewal.error })
    }

    /// Returns all nodes, this one as it is now.
    ///
    /// # Errors
    /// The API server does not tell: a list of only some nodes would be taken for one of all.
    async fn all(&self) -> anyhow::Result<Vec<ReportedNode>> {
        let mut nodes = match &self.leases {
            Some(leases) => leases.nodes().await?,
            None => Vec::new(),
        };
        match nodes.iter_mut().find(|node| node.name == self.node) {
            Some(this) => this.report = Ok(self.report()),
            None => nodes.push(ReportedNode { name: self.node.clone(), renewed: None, report: Ok(self.report()) }),
        }
        Ok(nodes)
    }

    /// Returns the nodes.
    ///
    /// # Errors
    /// The API server does not tell.
    pub(super) async fn nodes(&self) -> anyhow::Result<Vec<NodeRow>> {
        Ok(self.all().await?.into_iter().map(|node| self.row(node)).collect())
    }

    fn row(&self, ReportedNode { name, renewed, report }: ReportedNode) -> NodeRow {
        let this = name == self.node;
        let last = renewed.map(ago);
        let is_reporting = this || last.is_some_and(|last| last <= LEASE);
        let (report, error) = match report {
            Ok(report) => (Some(report), None),
            Err(error) => (None, Some(error)),
        };
        let of_report = report.as_ref();
        NodeRow {
            node: name,
            this,
            state: if is_reporting { "reporting" } else { "silent" }.to_owned(),
            last_seconds_ago: last.map(|last| last.as_secs()),
            version: of_report.map(|report| report.version.clone()),
            config: of_report.map(|report| report.config.clone()),
            generation: of_report.map(|report| report.generation),
            egress: of_report.map(addresses).unwrap_or_default(),
            error,
        }
    }

    /// Returns the addresses that each third party must list, and what may be missing.
    ///
    /// # Errors
    /// The API server does not tell which nodes there are.
    pub(super) async fn allowlist(&self) -> anyhow::Result<(Vec<AllowlistRow>, Vec<String>)> {
        let nodes = self.all().await?;
        let mut notes = if self.leases.is_some() { Vec::new() } else { vec![ALONE.to_owned()] };
        notes.extend(doubts(&nodes, self.models.places().digest()));
        Ok((allowlist(&self.models.current(), &nodes), notes))
    }
}

const ALONE: &str = "this is one node's list: with `kubernetes: {api: true, fleet: true}` it is that of all nodes";

/// Returns each egress address that a node reports, once.
fn addresses(report: &NodeReport) -> Vec<IpAddr> {
    let own = report.apis.iter().flat_map(BTreeMap::values).flatten();
    let all: BTreeSet<_> = report.egress.iter().chain(own).copied().collect();
    all.into_iter().collect()
}

/// Returns what the addresses of each API are on all nodes. A node that is silent has its addresses still: it may come back.
fn allowlist(model: &Model, nodes: &[ReportedNode]) -> Vec<AllowlistRow> {
    let row = |api: &Api| {
        let mut addresses: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
        for node in nodes {
            let sources = node.report.as_ref().ok().and_then(|report| report.sources_of(&api.name));
            for source in sources.unwrap_or_default() {
                addresses.entry(*source).or_default().push(node.name.clone());
            }
        }
        AllowlistRow {
            api: api.name.to_string(),
            hosts: api.listings().map(|listing| listing.to_string()).collect(),
            ports: api.ports.clone(),
            addresses: addresses.into_iter().map(|(address, nodes)| AllowlistAddress { address, nodes }).collect(),
            proxy: model.egress_of(api).proxy.as_ref().map(ToString::to_string),
            fail: api.fail.label().to_owned(),
        }
    };
    model.apis.iter().filter(|api| api.mode != Mode::Deny).map(row).collect()
}

/// Returns why the list may lack addresses.
fn doubts<'a>(nodes: &'a [ReportedNode], config: &'a str) -> impl Iterator<Item = String> + 'a {
    nodes.iter().filter_map(move |node| match &node.report {
        Err(error) => Some(format!("the addresses of node {} are missing: {error}", node.name)),
        Ok(report) if report.apis.is_none() => Some(format!(
            "the addresses of node {} are missing: it has too many APIs with an `egress` of their own to report",
            node.name
        )),
        Ok(report) if report.config != config => Some(format!(
            "node {} runs another configuration ({}, here {config}): APIs that only it has are missing",
            node.name, report.config
        )),
        Ok(_) => None,
    })
}

/// Returns the time since then, which is none for a clock that is behind.
fn ago(then: SystemTime) -> Duration {
    then.elapsed().unwrap_or_default()
}

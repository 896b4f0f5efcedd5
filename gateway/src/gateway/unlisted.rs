//! Tells the hooks what happens to destinations that no API lists, and which of them every caller reaches.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::egress::NodeAddresses;
use super::models::Models;
use crate::capture::{self, Capture};
use crate::flow::{Tree, Workloads};
use crate::model::{Classes, Destinations, Identity, Model, Unlisted, Workload};
use crate::names::Names;
use crate::permit;

/// How often the node's addresses and DNS servers are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The DNS servers that systemd-resolved asks (systemd-resolved.service(8)).
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// The same, and the node's own file, as a container sees them through the node's first process (`hostPID`).
const ON_NODE: [&str; 2] = ["/proc/1/root/run/systemd/resolve/resolv.conf", "/proc/1/root/etc/resolv.conf"];

/// Addresses of loopback, and those that never leave the link: unspecified (the kernel takes it for loopback), broadcast and
/// multicast (RFC 1122 §3.2.1.3, RFC 5771 §4, RFC 4291 §2.7).
const LOCAL: [&str; 8] =
    ["127.0.0.0/8", "0.0.0.0/32", "255.255.255.255/32", "224.0.0.0/24", "::1/128", "::/128", "ff01::/16", "ff02::/16"];

/// Keeps the hooks up to date about unlisted destinations.
#[derive(Clone)]
pub(super) struct UnlistedGuard {
    capture: Arc<Capture>,
    models: Arc<Models>,
    names: Arc<Names>,
    node: Arc<NodeAddresses>,
    workloads: Arc<Workloads>,
    tree: Arc<Tree>,
    published: Arc<Mutex<Published>>,
}

/// What the hooks have been told.
#[derive(Default)]
struct Published {
    reachable: Vec<Destinations>,
    classes: HashMap<u64, Classes>,
}

impl UnlistedGuard {
    pub(super) fn new(
        capture: &Arc<Capture>,
        models: &Arc<Models>,
        names: &Arc<Names>,
        node: &Arc<NodeAddresses>,
        workloads: &Arc<Workloads>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            capture: Arc::clone(capture),
            models: Arc::clone(models),
            names: Arc::clone(names),
            node: Arc::clone(node),
            workloads: Arc::clone(workloads),
            tree: Arc::new(workloads.tree()?),
            published: Arc::default(),
        })
    }

    /// Tells the hooks all of it.
    ///
    /// # Errors
    /// A map refused it.
    pub(super) async fn publish(&self) -> anyhow::Result<()> {
        self.publish_reachable().await?;
        let model = self.models.current();
        let classes = self.classes(&model.unlisted).await;
        self.capture.publish_unlisted(model.generation, &model.unlisted, &classes)?;
        self.published().classes = classes;
        Ok(())
    }

    /// Tells the hooks the classes of cgroups that are new, or of which more is known.
    async fn classify(&self) -> anyhow::Result<()> {
        let model = self.models.current();
        if model.unlisted.rules.is_empty() {
            return Ok(());
        }
        let classes = self.classes(&model.unlisted).await;
        if self.published().classes != classes {
            self.capture.classify_unlisted(model.generation, &model.unlisted, &classes)?;
            self.published().classes = classes;
        }
        Ok(())
    }

    async fn classes(&self, unlisted: &Unlisted) -> HashMap<u64, Classes> {
        if unlisted.rules.is_empty() {
            return HashMap::new();
        }
        let cgroups = self.workloads.cgroups(&self.tree).await;
        classes(unlisted, &cgroups, Capture::MOST_CLASSES)
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the configuration, the node's addresses and its DNS servers until stopped.
    pub(super) fn spawn(self, mut models: watch::Receiver<Arc<Model>>, stop: &CancellationToken) {
        models.mark_unchanged();
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            let mut tick = tokio::time::interval(LOOK_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let published = tokio::select! {
                    changed = models.changed() => match changed {
                        Ok(()) => self.publish().await,
                        Err(_) => return,
                    },
                    () = self.tree.changed() => self.classify().await,
                    _ = tick.tick() => self.look().await,
                };
                if let Err(error) = published {
                    tracing::error!(error = format!("{error:#}"), "cannot tell the hooks about unlisted destinations");
                }
            }
        }));
    }

    /// Looks for what nobody reports: addresses, DNS servers, names of pods, cgroups that could not be watched.
    async fn look(&self) -> anyhow::Result<()> {
        self.publish_reachable().await?;
        self.classify().await
    }

    /// Tells the hooks which destinations every caller reaches, if that has changed.
    async fn publish_reachable(&self) -> anyhow::Result<()> {
        if self.models.current().unlisted.is_off() {
            return Ok(());
        }
        let guard = self.clone();
        // It reads a file.
        tokio::task::spawn_blocking(move || guard.publish_reachable_now()).await??;
        Ok(())
    }

    fn publish_reachable_now(&self) -> Result<(), capture::Error> {
        let files = [RESOLVED].into_iter().chain(ON_NODE).filter_map(|path| std::fs::read_to_string(path).ok());
        let resolved: Vec<_> = files.flat_map(|text| servers(&text)).collect();
        let servers = self.names.servers().into_iter().chain(resolved);
        let whole = |net| Destinations { net, port: None };
        let mut all: Vec<_> = LOCAL.into_iter().filter_map(|net| net.parse().ok()).map(whole).collect();
        all.extend(self.node.all().into_iter().map(|address| whole(IpNet::from(address.to_canonical()))));
        all.extend(
            servers
                .map(|server| Destinations { net: IpNet::from(server.ip().to_canonical()), port: Some(server.port()) }),
        );
        let mut published = self.published();
        if published.reachable != all {
            self.capture.publish_reachable(&all)?;
            published.reachable = all;
        }
        Ok(())
    }
}

/// Returns the classes of the cgroups, each of which comes after the one above it, at most so many. A cgroup is left out where its
/// classes are those of any cgroup below the one above it: the hooks look upwards.
fn classes(unlisted: &Unlisted, cgroups: &[(u64, Arc<Identity>)], most: usize) -> HashMap<u64, Classes> {
    let mut classes = HashMap::new();
    let mut below: HashMap<&str, usize> = HashMap::new();
    let class = |identity: Arc<Identity>| permit::unlisted_class(unlisted, &Workload::from(identity)).0;
    for (id, identity) in cgroups {
        let child = Identity { cgroup: format!("{}/{ANY}", identity.cgroup).into(), ..Identity::clone(identity) };
        let found = Classes { own: class(Arc::clone(identity)), below: class(Arc::new(child)) };
        let above = identity.cgroup.rsplit_once('/').and_then(|(above, _)| below.get(above)).copied().unwrap_or(0);
        if found != (Classes { own: above, below: above }) && classes.len() < most {
            classes.insert(*id, found);
            below.insert(&identity.cgroup, found.below);
        } else {
            below.insert(&identity.cgroup, above);
        }
    }
    classes
}

/// The name of a cgroup that nobody can give one.
const ANY: &str = "\0";

/// Returns the servers in a resolv.conf(5), without the scope of a link.
fn servers(text: &str) -> Vec<SocketAddr> {
    const DNS: u16 = 53;
    let server = |line: &str| {
        let address = line.trim().strip_prefix("nameserver")?.trim();
        let address: IpAddr = address.split('%').next()?.parse().ok()?;
        Some(SocketAddr::new(address, DNS))
    };
    text.lines().filter_map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Fact, Unknown, UnlistedAction, UnlistedClass, UnlistedRule, WorkloadMatch};

    #[test]
    fn servers_of_a_resolv_conf_are_found() {
        let text =
            "# by systemd-resolved\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nsearch example\nnameserver x\n";
        let found: Vec<_> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.53:53", "[fe80::1]:53"]);
    }

    fn identity(cgroup: &str, unit: Option<&str>, namespace: Option<&str>) -> Arc<Identity> {
        let text = |text: Option<&str>| text.map(Arc::from);
        Arc::new(Identity {
            cgroup: cgroup.into(),
            unit: text(unit),
            namespace: text(namespace),
            ..Identity::default()
        })
    }

    fn with(fact: Fact, pattern: &str) -> WorkloadMatch {
        WorkloadMatch { facts: vec![(fact, pattern.into())], ..WorkloadMatch::default() }
    }

    fn rule(workload: WorkloadMatch, action: UnlistedAction) -> UnlistedRule {
        UnlistedRule { workloads: vec![workload], class: UnlistedClass { action, except: Vec::new() } }
    }

    #[test]
    fn cgroups_are_told_to_the_hooks_where_their_class_differs_from_the_one_above() {
        let unlisted = Unlisted {
            rules: vec![
                rule(with(Fact::Unit, "a.service"), UnlistedAction::Deny),
                rule(with(Fact::Namespace, "shop"), UnlistedAction::Report),
                rule(with(Fact::Cgroup, "/system.slice/d.service/*"), UnlistedAction::Deny),
            ],
            ..Unlisted::default()
        };
        let cgroups = [
            (1, identity("/system.slice", None, None)),
            (2, identity("/system.slice/a.service", Some("a.service"), None)),
            (3, identity("/system.slice/a.service/own", Some("a.service"), None)),
            (4, identity("/system.slice/b.service", Some("b.service"), None)),
            (5, identity("/system.slice/d.service", Some("d.service"), None)),
            (6, identity("/system.slice/d.service/own", Some("d.service"), None)),
            (7, identity("/kubepods/pod", None, Some("shop"))),
            (8, identity("/kubepods/pod/container", None, Some("shop"))),
        ];
        let found = classes(&unlisted, &cgroups, 100);
        let expected =
            [(2, Classes { own: 1, below: 1 }), (5, Classes { own: 0, below: 3 }), (7, Classes { own: 2, below: 2 })];
        assert_eq!(found, HashMap::from(expected));
        assert_eq!(classes(&unlisted, &cgroups, 1), HashMap::from([expected[0]]));
    }

    #[test]
    fn a_pod_whose_names_are_not_known_yet_is_denied_if_it_may_be_one_that_is() {
        let shop = with(Fact::Namespace, "shop");
        let unknown = Unknown { pod: true, ..Unknown::default() };
        let pod = Arc::new(Identity { cgroup: "/kubepods/pod".into(), unknown, ..Identity::default() });
        for (action, expected) in [(UnlistedAction::Deny, 1), (UnlistedAction::Allow, 0), (UnlistedAction::Report, 0)] {
            let unlisted = Unlisted { rules: vec![rule(shop.clone(), action)], ..Unlisted::default() };
            assert_eq!(permit::unlisted_class(&unlisted, &pod.clone().into()).0, expected, "{action:?}");
        }
    }

    #[test]
    fn what_is_local_is_written_as_networks() {
        assert!(LOCAL.iter().all(|net| net.parse::<IpNet>().is_ok_and(|parsed| parsed.trunc() == parsed)));
    }
}

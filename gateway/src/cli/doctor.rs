mod container;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use clap::Args;

use super::status::{described, leased};
use super::{Daemon, Failure, ask};
use crate::admin::{Client, KubernetesRow, LeaseRow, NameRow, Request, Response, Status};
use crate::model::{Generation, number, printable};
use crate::{capture, config, gateway};

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    daemon: Daemon,
    /// The configuration to check if no daemon runs.
    #[arg(long, value_name = "PATH", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
}

const GOOD: Style = AnsiColor::Green.on_default();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// The result of one check: what was found, or what is wrong and what to do about it.
struct Finding {
    what: String,
    found: Result<String, String>,
}

impl Finding {
    fn print(&self) -> io::Result<()> {
        let (style, verdict, text) = match &self.found {
            Ok(found) => (GOOD, "ok  ", found),
            Err(remedy) => (BAD, "FAIL", remedy),
        };
        // Errors of a configuration have several lines.
        let text = text.lines().map(printable).collect::<Vec<_>>().join("\n");
        writeln!(anstream::stdout(), "{style}{verdict}{style:#}  {}: {text}", printable(&self.what))
    }
}

impl Doctor {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (mut findings, mut warnings) = (host(), Vec::new());
        match ask::status(&self.daemon.socket) {
            Ok(status) => {
                findings.extend(daemon(&status));
                findings.extend(self.wildcards(&status));
                warnings = status.config_warnings;
                warnings.extend(self.bypasses());
                warnings.extend(self.refused_namespaces());
                findings.push(Finding { what: "hooks work".into(), found: self.hooks() });
            }
            Err(error) => {
                findings.push(Finding { what: "daemon".into(), found: Err(format!("{error:#}")) });
                findings.push(self.configuration());
            }
        }
        findings.iter().try_for_each(Finding::print)?;
        for warning in warnings {
            let text = warning.lines().map(printable).collect::<Vec<_>>().join("\n");
            writeln!(anstream::stdout(), "{DOUBTFUL}{text}{DOUBTFUL:#}")?;
        }
        if findings.iter().all(|finding| finding.found.is_ok()) { Ok(()) } else { Err(Failure::Code(1)) }
    }

    /// Whether addresses below wildcards are learnt.
    fn wildcards(&self, status: &Status) -> Vec<Finding> {
        let asked = Client::connect(&self.daemon.socket).and_then(|mut client| client.ask(&Request::Apis));
        let Ok(Response::Apis(apis)) = asked else { return Vec::new() };
        let wildcards = apis.into_iter().flat_map(|api| api.hosts).filter(|host| host.name.starts_with("*."));
        let finding = |host: NameRow| Finding {
            what: format!("wildcard {}", host.name),
            found: match (status.dns.is_empty(), host.learnt) {
                (true, _) => {
                    Err("no name below it is captured, because DNS queries of callers do not go through Egret: set \
                                  dns: {forward: true}"
                        .to_owned())
                }
                (false, 0) => Ok("no caller has asked for a name below it yet".to_owned()),
                (false, names) => {
                    let addresses = host.addresses.len();
                    Ok(format!("{} learnt, {addresses} addresses captured for everybody", number(names, "name")))
                }
            },
        };
        wildcards.map(finding).collect()
    }

    fn hooks(&self) -> Result<String, String> {
        match Client::connect(&self.daemon.socket).and_then(|mut client| client.ask(&Request::Prove)) {
            Ok(_) => Ok("a test connection from a new cgroup was captured".to_owned()),
            Err(error) => Err(format!("{error}. Restart the daemon: it attaches the hooks again")),
        }
    }

    /// Returns a warning about connections to captured destinations that do not go through Egret.
    fn bypasses(&self) -> Option<String> {
        let asked =
            Client::connect(&self.daemon.socket).and_then(|mut client| client.ask(&Request::Bypasses { close: false }));
        let rows = match asked {
            Ok(Response::Bypasses(rows)) => rows,
            Ok(_) => return None,
            Err(error) => return Some(format!("warning: connections that bypass Egret cannot be listed: {error}")),
        };
        let mut causes: BTreeMap<&str, usize> = BTreeMap::new();
        rows.iter().for_each(|row| *causes.entry(&row.cause).or_default() += 1);
        let causes: Vec<_> = causes.into_iter().map(|(cause, count)| format!("{cause}: {count}")).collect();
        let found = number(rows.len(), "connection");
        (!rows.is_empty()).then(|| {
            format!(
                "warning: {found} to captured destinations not through Egret ({}). `egret inspect bypasses` says whose, why and \
                 what to do",
                causes.join(", ")
            )
        })
    }

    /// Returns a warning about network namespaces of callers in which Egret cannot listen.
    fn refused_namespaces(&self) -> Option<String> {
        let asked = Client::connect(&self.daemon.socket)
            .and_then(|mut client| client.ask(&Request::Namespaces { most: usize::MAX }));
        let Ok(Response::Namespaces { rows, .. }) = asked else { return None };
        let mut causes: BTreeMap<String, usize> = BTreeMap::new();
        rows.into_iter().filter_map(|row| row.cause).for_each(|cause| *causes.entry(cause).or_default() += 1);
        let found = number(causes.values().sum(), "network namespace");
        let text: Vec<_> = causes.iter().map(|(cause, count)| format!("{cause}: {count}")).collect();
        (!causes.is_empty()).then(|| {
            format!(
                "warning: Egret could not listen in {found} of callers in the last ten minutes ({}), whose connections follow each \
                 API's fail mode. `egret inspect namespaces` says whose, why and what to do",
                text.join(", ")
            )
        })
    }

    fn configuration(&self) -> Finding {
        let found = match config::load(&self.config, Generation::default()) {
            Err(errors) => Err(format!("invalid:\n{errors}")),
            Ok(compiled) => gateway::egress_on_node(&compiled.model)
                .map(|()| format!("{} is valid, its egress addresses are on the node", self.config.display()))
                .map_err(|error| error.to_string()),
        };
        Finding { what: "configuration".into(), found }
    }
}

fn host() -> Vec<Finding> {
    let mut findings = Vec::new();
    for feature in capture::features() {
        let found = if feature.present { Ok("present".to_owned()) } else { Err(feature.remedy.to_string()) };
        findings.push(Finding { what: format!("kernel {}", feature.name), found });
    }
    let found = capture::cgroup_root().map(|path| path.display().to_string()).map_err(|error| error.to_string());
    findings.push(Finding { what: "cgroup v2".into(), found });
    findings.extend(container::findings());
    findings.push(Finding { what: "open files".into(), found: open_files() });
    findings.push(Finding { what: "resolvers".into(), found: resolvers() });
    findings
}

/// Checks the limit of open files: a flow needs two descriptors, and four while it is spliced.
fn open_files() -> Result<String, String> {
    use nix::sys::resource::{Resource, getrlimit};
    const ENOUGH: u64 = 8192;
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) if hard >= ENOUGH => Ok(format!("{hard}, enough for about {} flows at once", hard / 4)),
        Ok((_, hard)) => Err(format!(
            "the limit of {hard} is enough for about {} flows at once: raise LimitNOFILE= (systemd) or `ulimit -Hn`",
            hard / 4
        )),
        Err(error) => Err(format!("cannot read the limit: {error}")),
    }
}

fn resolvers() -> Result<String, String> {
    const PATH: &str = "/etc/resolv.conf";
    let text = std::fs::read_to_string(PATH).map_err(|error| {
        format!("cannot read {PATH}: {error}. Create it, or set resolver.servers in the configuration")
    })?;
    let servers: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once("nameserver").filter(|(before, _)| before.trim().is_empty()))
        .map(|(_, server)| server.trim().to_owned())
        .collect();
    if servers.is_empty() {
        return Err(format!("{PATH} names no server: set resolver.servers in the configuration"));
    }
    Ok(servers.join(", "))
}

fn kubernetes(row: &KubernetesRow) -> Finding {
    let found = described(row);
    let found = match (row.state.as_str(), row.pods) {
        ("watching", 0) => Err(format!(
            "{found}. Is this the node's name? Compare it with `kubectl get nodes`, and set kubernetes.node or, in the DaemonSet, \
             NODE_NAME from spec.nodeName"
        )),
        ("watching", _) => Ok(found),
        _ => Err(format!("{found}. What it said last holds; Egret needs to list and watch pods")),
    };
    Finding { what: "kubernetes API server".into(), found }
}

fn lease(row: &LeaseRow) -> Finding {
    const RIGHTS: &str = "Egret needs to create, get, list and patch leases.coordination.k8s.io in its namespace (the component `fleet`)";
    let found = match &row.error {
        None => Ok(leased(row)),
        Some(_) => Err(format!("{}. {RIGHTS}", leased(row))),
    };
    Finding { what: "Lease of this node".into(), found }
}

fn daemon(status: &Status) -> Vec<Finding> {
    let mut findings = vec![Finding {
        what: "daemon".into(),
        found: Ok(format!(
            "process {}, {}, hooks on {}",
            status.pid,
            number(status.flows, "flow"),
            status.cgroup.display()
        )),
    }];
    findings.push(Finding {
        what: "configuration".into(),
        found: match &status.config_error {
            None => Ok(format!("{} (generation {})", status.config.display(), status.generation)),
            Some(error) => {
                Err(format!("the newest change is refused, generation {} stays in force:\n{error}", status.generation))
            }
        },
    });
    findings.extend(status.kubernetes.as_ref().map(kubernetes));
    findings.extend(status.lease.as_ref().map(lease));
    for egress in &status.egress {
        let found = if egress.present {
            Ok("on the node".to_owned())
        } else {
            Err(format!("not on the node: run `ip address add {} dev DEVICE`", egress.address))
        };
        findings.push(Finding { what: format!("egress address {}", egress.address), found });
    }
    findings
}

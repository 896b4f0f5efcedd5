use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::ask::UNEXPECTED;
use super::table::{list, print};
use super::{Daemon, Failure, Output, out};
use crate::admin::{AllowlistRow, Client, Request, Response};

/// Show which source addresses each third party must allow: those of all nodes with `kubernetes: {api: true, fleet: true}`, else those of
/// this node. A node counts for as long as it has a Lease, even if it is down.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Allowlist {
    #[command(flatten)]
    daemon: Daemon,
    /// The format of the output.
    #[arg(long, short, default_value = "table")]
    output: Output,
    /// Show only what has changed since this list, which `egret allowlist --output json` printed.
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
}

const EXIT_CODES: &str =
    "Exit codes: 0 success, and no change with --since; 1 a change, or a failure; 2 wrong usage; 3 no daemon runs.";

/// An address that a third party must allow from now on, or need not allow any more.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Change {
    api: String,
    /// `add` or `remove`.
    change: &'static str,
    address: IpAddr,
    hosts: Vec<String>,
}

impl Allowlist {
    pub(super) fn run(self) -> Result<(), Failure> {
        let before = self.since.as_deref().map(read).transpose()?;
        let (rows, notes) = match Client::connect(&self.daemon.socket)?.ask(&Request::Allowlist)? {
            Response::Allowlist { rows, notes } => (rows, notes),
            Response::Error(error) => return Err(anyhow::anyhow!(error).into()),
            _ => return Err(anyhow::anyhow!(UNEXPECTED).into()),
        };
        for note in notes {
            out::error(&format!("egret: {note}"));
        }
        let Some(before) = before else { return Ok(self.show(&rows)?) };
        let changes = changes(&before, &rows);
        print(&changes, self.output, ["API", "CHANGE", "ADDRESS", "HOSTS"], |change: &Change| {
            [change.api.clone(), change.change.to_owned(), change.address.to_string(), list(&change.hosts)]
        })?;
        if changes.is_empty() { Ok(()) } else { Err(Failure::Code(1)) }
    }

    fn show(&self, rows: &[AllowlistRow]) -> std::io::Result<()> {
        if self.output == Output::Json {
            return out::json(&rows);
        }
        let lines: Vec<_> = rows.iter().flat_map(lines).collect();
        print(&lines, self.output, ["API", "HOSTS", "ADDRESS", "NODES", "NOTE"], Clone::clone)
    }
}

/// The lines of an API: one for each address.
fn lines(row: &AllowlistRow) -> Vec<[String; 5]> {
    let (api, hosts) = (row.api.clone(), list(&row.hosts));
    if let Some(proxy) = &row.proxy {
        let note = "the third party sees the proxy's address".to_owned();
        return vec![[api, hosts, format!("of proxy {proxy}"), "-".to_owned(), note]];
    }
    let note = if row.fail == "open" { "other addresses of the node while Egret is down (fail: open)" } else { "-" };
    let line = |address: String, nodes: String| [api.clone(), hosts.clone(), address, nodes, note.to_owned()];
    if row.addresses.is_empty() {
        return vec![line("-".to_owned(), "-".to_owned())];
    }
    row.addresses.iter().map(|known| line(known.address.to_string(), list(&known.nodes))).collect()
}

fn read(path: &Path) -> anyhow::Result<Vec<AllowlistRow>> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is not a list that `egret allowlist --output json` printed", path.display()))
}

/// Returns what each third party must do to get from one list to the other.
fn changes(before: &[AllowlistRow], now: &[AllowlistRow]) -> Vec<Change> {
    let pairs = |rows: &[AllowlistRow]| -> BTreeSet<(String, IpAddr)> {
        let of_third_party = rows.iter().filter(|row| row.proxy.is_none());
        let pairs =
            |row: &AllowlistRow| row.addresses.iter().map(|known| (row.api.clone(), known.address)).collect::<Vec<_>>();
        of_third_party.flat_map(pairs).collect()
    };
    let hosts = |rows: &[AllowlistRow], api: &str| {
        rows.iter().find(|row| row.api == api).map(|row| row.hosts.clone()).unwrap_or_default()
    };
    let (old, new) = (pairs(before), pairs(now));
    let change = |change, rows, (api, address): &(String, IpAddr)| Change {
        hosts: hosts(rows, api),
        api: api.clone(),
        change,
        address: *address,
    };
    let added = new.difference(&old).map(|pair| change("add", now, pair));
    added.chain(old.difference(&new).map(|pair| change("remove", before, pair))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::AllowlistAddress;

    fn row(api: &str, addresses: &[&str], proxy: Option<&str>) -> AllowlistRow {
        let known =
            |address: &&str| AllowlistAddress { address: address.parse().unwrap(), nodes: vec!["a".to_owned()] };
        AllowlistRow {
            api: api.to_owned(),
            hosts: vec![format!("{api}.example")],
            ports: vec![443],
            addresses: addresses.iter().map(known).collect(),
            proxy: proxy.map(ToOwned::to_owned),
            fail: "closed".to_owned(),
        }
    }

    #[test]
    fn changes_are_addresses_that_come_and_go() {
        let before = [row("a", &["192.0.2.1", "192.0.2.2"], None), row("gone", &["192.0.2.1"], None)];
        let now = [row("a", &["192.0.2.2", "192.0.2.3"], None), row("behind", &["192.0.2.9"], Some("corporate"))];
        let changes: Vec<_> = changes(&before, &now)
            .into_iter()
            .map(|change| format!("{} {} {} {}", change.api, change.change, change.address, change.hosts.join(" ")))
            .collect();
        let expected =
            ["a add 192.0.2.3 a.example", "a remove 192.0.2.1 a.example", "gone remove 192.0.2.1 gone.example"];
        assert_eq!(changes, expected);
        assert_eq!(super::changes(&now, &now), []);
    }
}

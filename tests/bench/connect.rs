//! What the hooks cost: program time as the kernel counts it, with the time that counting itself takes beside it.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use aya::sys::{Stats, enable_stats};
use egret_tests::{Egret, Lab};

use crate::floor::Floor;
use crate::gateway::THIRD_PARTY;
use crate::passthrough::load;
use crate::report::Report;
use crate::third_party;

/// Address of the internet that no rule lists, with nothing on the port: a refusal ends the connection at once.
const UNLISTED: &str = "203.0.113.9:9";
const CONNECTS: u64 = 20_000;
const HITS: u64 = 5_000;
/// Rules are the addresses times the ports of one API.
const TABLES: [(&str, u16, u16); 3] = [("10 rules", 1, 10), ("10,000 rules", 2, 5_000), ("100,000 rules", 2, 50_000)];

pub(crate) fn run(rounds: u32) -> Report {
    let _counting: OwnedFd = enable_stats(Stats::RunTime).expect("the kernel keeps run times of programs");
    let mut report = Report::new("connect", rounds, Vec::new());
    for round in 1..=rounds {
        for (table, addresses, ports) in TABLES {
            eprintln!("bench: round {round} of {rounds}: {table}");
            measure(table, addresses, ports, "allow", &mut report);
        }
        for unlisted in ["report", "deny"] {
            let (_, addresses, ports) = TABLES[0];
            eprintln!("bench: round {round} of {rounds}: unlisted: {unlisted}");
            measure(unlisted, addresses, ports, unlisted, &mut report);
        }
    }
    report
}

fn measure(table: &'static str, addresses: u16, ports: u16, unlisted: &str, report: &mut Report) {
    let lab = Lab::new();
    // Ports from here on, so that the one which is hit is in any table.
    let first = 9_000;
    let hit = format!("{THIRD_PARTY}:{first}");
    let names: Vec<_> = (0..addresses).map(|number| format!("203.0.113.{}", 7 + number)).collect();
    lab.hosts(&names.iter().map(|address| (address.as_str(), "api.partner.example")).collect::<Vec<_>>());
    third_party::start(lab.listen(THIRD_PARTY, first));
    let ports: Vec<_> = (first..first + ports).map(|port| port.to_string()).collect();
    let api = format!("  - name: partner\n    hosts: [api.partner.example]\n    ports: [{}]\n", ports.join(", "));

    let floor = Floor::attach(&lab.workload_cgroup());
    load(&lab, &["connect", UNLISTED, &CONNECTS.to_string()]);
    let (runs, nanoseconds) = floor.runs();
    let floor = nanoseconds as f64 / runs as f64;
    report.add("an empty program", "counting included", "ns", table, floor);

    let config = std::fs::read_to_string(lab.configure(&api)).expect("the configuration");
    let config = config.replace("capture:\n", &format!("capture:\n  unlisted: {unlisted}\n"));
    let _egret: Egret = lab.egret(&lab.write_config(&config), &[]);
    assert_eq!(lab.json(&["inspect", "redirects"]).as_array().map(Vec::len), Some(ports.len() * names.len()));
    for (scenario, to, count) in [("miss", UNLISTED, CONNECTS), ("hit, with Egret's own dial", hit.as_str(), HITS)] {
        let before = hooks(&lab);
        load(&lab, &["connect", to, &count.to_string()]);
        let after = hooks(&lab);
        let spent = |hook: &str| {
            let ((runs, time), (runs_before, time_before)) = (after[hook], before[hook]);
            ((runs - runs_before) as f64, (time - time_before) as f64)
        };
        // Of a connection: without the kernel's counting, which costs more than a miss.
        let (runs, time) = spent("connect4");
        report.add(scenario, "connect4, net", "ns", table, (time - runs * floor) / count as f64);
        // It runs several times, back to back, where counting costs less than alone: how much less is not known.
        let (_, time) = spent("tcp_events");
        report.add(scenario, "tcp_events, counting included", "ns", table, time / count as f64);
    }
}

/// Runs and nanoseconds of each hook so far.
fn hooks(lab: &Lab) -> BTreeMap<String, (u64, u64)> {
    let rows = lab.json(&["inspect", "hooks"]);
    let row = |row: &serde_json::Value| {
        let name = row["hook"].as_str().expect("a name").to_owned();
        (name, (row["runs"].as_u64().expect("a number"), row["run_nanoseconds"].as_u64().expect("a number")))
    };
    rows.as_array().expect("a list").iter().map(row).collect()
}

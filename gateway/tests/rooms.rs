//! Which room may know which: the walls of ARCHITECTURE.md, checked over the source text.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A room of the user half, and the rooms it may use. `model` is everybody's.
const ROOMS: &[(&str, &[&str])] = &[
    ("admin", &[]),
    ("capture", &[]),
    ("cli", &["admin", "capture", "config", "explain", "gateway", "permit", "policy", "route", "telemetry"]),
    ("config", &[]),
    ("connection", &["detect", "flow", "listener", "permit", "policy", "route", "telemetry", "tls", "upstream"]),
    ("detect", &[]),
    ("explain", &["admin", "connection", "permit", "policy"]),
    ("flow", &[]),
    (
        "gateway",
        &[
            "admin",
            "capture",
            "config",
            "connection",
            "explain",
            "flow",
            "kubernetes",
            "listener",
            "names",
            "permit",
            "policy",
            "telemetry",
            "tls",
            "upstream",
        ],
    ),
    ("kubernetes", &[]),
    ("listener", &[]),
    ("model", &[]),
    ("names", &[]),
    ("permit", &["route"]),
    ("policy", &["route"]),
    ("route", &[]),
    ("telemetry", &[]),
    ("tls", &[]),
    ("upstream", &["permit"]),
];

/// A crate, and the only rooms that may name it.
const CRATES: &[(&str, &[&str])] = &[
    ("aya", &["capture"]),
    ("cel", &["config", "model", "policy"]),
    ("clap", &["cli"]),
    ("hickory_resolver", &["names"]),
    ("hyper", &["connection", "telemetry", "upstream"]),
    ("jsonschema", &["config", "model", "policy"]),
    ("quick_xml", &["policy"]),
    ("k8s_openapi", &["kubernetes"]),
    ("kube", &["kubernetes"]),
    ("jsonwebtoken", &["config", "model", "policy"]),
    ("rcgen", &["tls"]),
    ("redis", &["upstream"]),
    ("rustls", &["config", "detect", "tls", "upstream"]),
    ("serde", &["admin", "cli", "config", "model", "policy", "telemetry"]),
];

/// Rooms that do no IO.
const PURE: &[&str] = &["model", "detect", "route", "permit", "policy", "config/compile"];

fn sources(room: &str) -> Vec<(PathBuf, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = vec![source.join(format!("{room}.rs"))];
    let mut folders = vec![source.join(room)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { paths.push(path) }
        }
    }
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_room_has_its_row() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let there: BTreeSet<_> = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(there, ROOMS.iter().map(|(room, _)| *room).collect());
}

#[test]
fn rooms_use_only_the_rooms_they_may() {
    for (room, may) in ROOMS {
        for (path, text) in sources(room) {
            for (other, _) in ROOMS.iter().filter(|(other, _)| other != room && *other != "model") {
                let uses = text.contains(&format!("crate::{other}::"))
                    || text.lines().any(|line| {
                        let list = line.strip_prefix("use crate::{").and_then(|rest| rest.strip_suffix("};"));
                        list.is_some_and(|list| list.split(", ").any(|item| item == *other))
                    });
                assert!(!uses || may.contains(other), "{} uses `{other}`", path.display());
            }
        }
    }
}

#[test]
fn crates_are_named_where_they_belong() {
    for (name, rooms) in CRATES {
        for (room, _) in ROOMS.iter().filter(|(room, _)| !rooms.contains(room)) {
            for (path, text) in sources(room) {
                assert!(!text.contains(&format!("{name}::")), "{} names `{name}`", path.display());
            }
        }
    }
}

#[test]
fn pure_rooms_do_no_io() {
    for room in PURE {
        for (path, text) in sources(room) {
            for io in ["std::fs", "tokio::", "Instant::now", "SystemTime::now", "TcpStream"] {
                assert!(!text.contains(io), "{} says `{io}`", path.display());
            }
        }
    }
}

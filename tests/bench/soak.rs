//! Hours in minutes: mixed load while the configuration is reloaded each second, Egret is taken over, and third parties fail. Each minute it
//! says what Egret holds, and at the end whether that has grown.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use egret_tests::{Behaviour, Conversation, EGRESS, Egret, Lab, Then, eventually};

/// How much more Egret may hold in the last part of the run than after its first part, as a factor: what an allocator and caches take.
const GROWTH: f64 = 1.25;

/// The part of the run, at its beginning, in which caches fill.
const WARM_UP: f64 = 0.25;

/// Time between take-overs.
const TAKE_OVER: Duration = Duration::from_secs(20);

const FAILING: &str = "203.0.113.8";
const THIRD_PARTY: &str = "203.0.113.7";

/// Clients that connect, ask two parties, one of which fails, and hang up or go on. Told to end, they say how many calls to the well one
/// failed.
const CLIENTS: &str = include_str!("../clients/soak.py");

/// What Egret holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    memory: f64,
    descriptors: f64,
    redirects: f64,
}

impl Held {
    fn by(lab: &Lab, egret: &Egret) -> Self {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", egret.pid())).expect("a running process").count();
        let redirects = lab.json(&["inspect", "redirects"]).as_array().map_or(0, Vec::len);
        Self { memory: egret.memory() as f64, descriptors: descriptors as f64, redirects: redirects as f64 }
    }

    fn most(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            descriptors: self.descriptors.max(other.descriptors),
            redirects: self.redirects.max(other.redirects),
        }
    }

    /// Returns what has grown beyond [`GROWTH`] since then.
    fn grown_since(self, before: Self) -> Vec<&'static str> {
        let all = [
            ("memory", self.memory, before.memory),
            ("descriptors", self.descriptors, before.descriptors),
            ("redirects", self.redirects, before.redirects),
        ];
        all.into_iter().filter(|(_, now, before)| *now > before * GROWTH).map(|(name, ..)| name).collect()
    }
}

pub(crate) fn run(minutes: f64) {
    let lab = Lab::new();
    let sources = vec![EGRESS.parse().expect("an address")];
    lab.hosts(&[(THIRD_PARTY, "api.partner.example"), (FAILING, "api.failing.example")]);
    let partner = lab.third_party(THIRD_PARTY, 80, Behaviour::Http(sources));
    let _failing =
        lab.third_party(FAILING, 80, Behaviour::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", Then::Resets));
    let mut egret = lab.egret(&configure(&lab, 0), &["--persist"]);
    let mut clients = lab.converse(CLIENTS);
    assert_eq!(clients.line(), "begun");
    let (start, length) = (Instant::now(), Duration::from_secs_f64(minutes * 60.0));
    let (mut before, mut after): (Option<Held>, Option<Held>) = (None, None);
    let (mut taken_over, mut said, mut take_overs) = (start, start, 0);
    for reload in 1.. {
        if start.elapsed() >= length {
            break;
        }
        let second = Instant::now();
        configure(&lab, reload);
        if taken_over.elapsed() >= TAKE_OVER {
            egret = taken_over_by_a_new_one(&lab, egret, reload);
            (taken_over, take_overs) = (Instant::now(), take_overs + 1);
        }
        let held = Held::by(&lab, &egret);
        let part = if start.elapsed() < length.mul_f64(WARM_UP) { &mut before } else { &mut after };
        *part = Some(part.map_or(held, |most| most.most(held)));
        if said.elapsed() >= Duration::from_secs(60).min(length / 5) {
            said = Instant::now();
            println!(
                "{:5.0} s: {reload} reloads, {take_overs} take-overs; {:.1} MB, {} descriptors, {} redirects",
                start.elapsed().as_secs_f64(),
                held.memory / 1e6,
                held.descriptors,
                held.redirects
            );
        }
        std::thread::sleep(Duration::from_secs(1).saturating_sub(second.elapsed()));
    }
    let outcome = ended(&mut clients);
    let escaped: Vec<_> = partner.sources().into_iter().filter(|source| source.to_string() != EGRESS).collect();
    egret.stop();
    let (before, after) = (before.expect("a first part"), after.expect("a last part"));
    let grown = after.grown_since(before);
    println!("clients: {outcome}; other sources than {EGRESS}: {escaped:?}; grown: {grown:?}");
    assert!(grown.is_empty() && escaped.is_empty(), "first part: {before:?}, then: {after:?}");
    assert!(outcome.starts_with("0 "), "calls to a third party that is well have failed: {outcome}");
}

/// Writes a configuration that differs from the one before, which Egret reads at once.
fn configure(lab: &Lab, number: u32) -> std::path::PathBuf {
    let api = |name: &str, host: &str| {
        format!(
            "  - name: {name}\n    hosts: [{host}]\n    ports: [80]\n    policies:\n      inbound:\n        - set-header: {{name: X-Reload, value: \
             '{number}'}}\n"
        )
    };
    lab.configure(&[api("partner", "api.partner.example"), api("failing", "api.failing.example")].concat())
}

fn taken_over_by_a_new_one(lab: &Lab, old: Egret, number: u32) -> Egret {
    let config: &Path = &configure(lab, number);
    let new = lab.egret(config, &["--persist"]);
    old.ended();
    eventually("the new process answers", || {
        lab.try_cli(&["status", "--socket", &lab.socket().display().to_string()]).status.success()
    });
    new
}

fn ended(clients: &mut Conversation) -> String {
    clients.tell("end");
    clients.line()
}

//! Limits that nodes count together, in a real Redis.

use std::path::PathBuf;

use egret_tests::{Behaviour, EGRESS, Egret, Lab, Pki, Service, ThirdParty, eventually, wire};

const URL: &str = "http://api.partner.example/";
const COUNTERS: &str = "counters.acme.example";

struct Scene {
    lab: Lab,
    partner: ThirdParty,
    pki: Pki,
    /// Certificate and key of the server in which is counted.
    identity: (PathBuf, PathBuf),
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::new();
        lab.hosts(&[("203.0.113.7", "api.partner.example"), ("203.0.113.9", COUNTERS)]);
        let partner = lab.third_party("203.0.113.7", 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
        let pki = lab.pki();
        let identity = pki.identity(&[COUNTERS], &[]).write(lab.directory());
        Self { lab, partner, pki, identity }
    }

    /// Only over TLS, and only for those who know the password.
    fn redis(&self) -> Service {
        let (certificate, key) = (self.identity.0.to_str().unwrap(), self.identity.1.to_str().unwrap());
        let arguments = ["--bind", "203.0.113.9", "--port", "0", "--tls-port", "6379", "--save", "", "--dir", "/tmp"];
        let tls = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no"];
        let login = ["--tls-ca-cert-file", certificate, "--requirepass", "correct horse battery"];
        self.lab.service(6379, "redis-server", &[&arguments[..], &tls, &login].concat())
    }

    fn egret(&self, edit: impl FnOnce(String) -> String) -> Egret {
        let tls = format!("{COUNTERS}\n  timeout: 2s\n  tls: {{ca: {}}}", self.pki.ca());
        let config = self
            .lab
            .configure_like("policy-rate-limit-shared", |text| edit(text.replace("counters.acme.example", &tls)));
        self.lab.egret(&config, &[])
    }

    /// How many the third party saw.
    fn requests(&self) -> usize {
        self.partner.seen().iter().map(|seen| wire::requests(&seen.all).0.len()).sum()
    }

    fn ask(&self) -> String {
        let output =
            self.lab.run("curl", &["-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code} %header{x-left}", URL]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

fn three(text: String) -> String {
    text.replace("calls: 100,", "calls: 3,")
}

#[test]
fn what_one_process_has_counted_the_next_one_knows() {
    let scene = Scene::new();
    let _redis = scene.redis();
    let first = scene.egret(three);
    assert_eq!([scene.ask(), scene.ask()], ["200 2", "200 1"]);
    let limits = scene.lab.json(&["inspect", "limits"]);
    let shared: Vec<_> =
        limits.as_array().unwrap().iter().map(|row| (&row["kind"], &row["used"], &row["shared"])).collect();
    assert_eq!(shared, [(&"rate-limit".into(), &2.into(), &true.into()), (&"quota".into(), &2.into(), &true.into())]);
    first.stop();
    let second = scene.egret(three);
    assert_eq!([scene.ask(), scene.ask()], ["200 0", "429 0"]);
    assert_eq!(scene.requests(), 3);
    assert!(!second.log().contains("horse"), "{}", second.log());
    second.stop();
    // The quota is of a day, and counted what the limit let through.
    let _third = scene.egret(|text| text.replace("calls: 10000,", "calls: 4,").replace("calls: 100,", "calls: 9,"));
    assert_eq!([scene.ask(), scene.ask()].map(|said| said[..3].to_owned()), ["200", "403"]);
}

#[test]
fn a_call_may_count_as_several() {
    let scene = Scene::new();
    let _redis = scene.redis();
    let limit = scene.egret(|text| text.replace("calls: 100, period: 1m", "calls: 5, period: 1m, count: 2"));
    assert_eq!([scene.ask(), scene.ask(), scene.ask()], ["200 3", "200 1", "429 0"]);
    limit.stop();
    let _quota = scene.egret(|text| text.replace("calls: 10000, period: 1d", "calls: 5, period: month, count: 2"));
    let statuses = [scene.ask(), scene.ask(), scene.ask()].map(|said| said[..3].to_owned());
    assert_eq!(statuses, ["200", "200", "403"]);
}

#[test]
fn callers_at_once_get_no_more_and_a_period_gives_them_back() {
    let scene = Scene::new();
    let _redis = scene.redis();
    let _egret = scene.egret(|text| text.replace("calls: 100, period: 1m", "calls: 10, period: 3s"));
    let urls = format!("{URL}[1-60]");
    let arguments = ["-s", "-Z", "--parallel-max", "20", "-o", "/dev/null", "-w", "%{http_code}\n", &urls];
    let started = std::time::Instant::now();
    let output = scene.lab.run("curl", &arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let through = text.lines().filter(|line| *line == "200").count();
    let periods = usize::try_from(started.elapsed().as_secs() / 3).unwrap() + 1;
    assert!(through >= 10 && through <= 10 * periods, "{through} in {periods} periods: {text}");
    assert_eq!(through + text.lines().filter(|line| *line == "429").count(), 60, "{text}");
    eventually("the period is over", || scene.ask().starts_with("200"));
}

#[test]
fn without_the_server_each_node_counts_alone_and_it_is_on_record() {
    let scene = Scene::new();
    let egret = scene.egret(three);
    let answers = [scene.ask(), scene.ask(), scene.ask(), scene.ask()];
    assert_eq!(answers, ["200 2", "200 1", "200 0", "429 0"]);
    assert!(egret.log().contains("the server of `counters` gives no count"), "{}", egret.log());
    let metrics = scene.lab.run("curl", &["-s", "http://127.0.0.1:9464/metrics"]).stdout;
    let metrics = String::from_utf8_lossy(&metrics);
    assert!(metrics.contains("reason=\"counters_unavailable\""), "{metrics}");
    let _redis = scene.redis();
    eventually("it counts with others again", || {
        scene.ask();
        let limits = scene.lab.json(&["inspect", "limits"]);
        limits.as_array().unwrap().iter().any(|row| row["shared"] == true)
    });
}

#[test]
fn who_wants_no_calls_without_counts_gets_none() {
    let scene = Scene::new();
    let _egret = scene.egret(|text| text.replace("apis:", "  on_failure: refuse\napis:"));
    let output = scene.lab.run("curl", &["-s", "-i", "-m", "10", URL]);
    let heard = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(heard.starts_with("HTTP/1.1 503 ") && heard.contains("\"reason\":\"counters_unavailable\""), "{heard}");
    assert!(!heard.contains("acme"), "callers learn nothing of the server: {heard}");
    assert_eq!(scene.requests(), 0);
    let _redis = scene.redis();
    eventually("it counts", || scene.ask().starts_with("200 "));
}

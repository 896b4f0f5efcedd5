//! Alerts and the dashboard: valid for Prometheus, about metrics that Egret has, and true when the thing happens.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use egret_tests::{Behaviour, EGRESS, Lab, Service, eventually};
use serde_json::Value;

fn root() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap()
}

fn monitoring() -> PathBuf {
    root().join("config/deploy/kubernetes/monitoring")
}

fn rules() -> Value {
    serde_saphyr::from_str(&fs::read_to_string(monitoring().join("rules.yaml")).unwrap()).unwrap()
}

/// The name and the expression of each alert.
fn alerts() -> Vec<(String, String)> {
    let rules = rules();
    let groups = rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    groups.map(|rule| ["alert", "expr"].map(|key| rule[key].as_str().unwrap().to_owned()).into()).collect()
}

/// The title of each panel of the dashboard with each of its queries, with what Grafana would fill in.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(monitoring().join("dashboard.json")).unwrap()).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            let filled = query.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$api", ".*");
            assert!(!filled.contains('$'), "{query}");
            queries.push((panel["title"].as_str().unwrap().to_owned(), filled));
        }
    }
    assert!(queries.len() > 30, "only {} queries were found", queries.len());
    queries
}

fn promtool(directory: &Path, arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).current_dir(directory).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
}

#[test]
fn monitoring_alerts_are_valid_and_each_has_tests_in_which_it_fires_and_does_not() {
    promtool(&monitoring(), &["check", "rules", "rules.yaml"]);
    let tests = root().join("tests/alerts");
    let written: BTreeSet<_> =
        fs::read_dir(&tests).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let wanted: BTreeSet<_> = alerts().into_iter().map(|(alert, _)| format!("{alert}.yaml")).collect();
    assert_eq!(written, wanted);
    for file in &written {
        let text: Value = serde_saphyr::from_str(&fs::read_to_string(tests.join(file)).unwrap()).unwrap();
        let checks =
            text["tests"].as_array().unwrap().iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap());
        let (fires, does_not): (Vec<_>, Vec<_>) =
            checks.partition(|check| !check["exp_alerts"].as_array().unwrap().is_empty());
        assert!(!fires.is_empty() && !does_not.is_empty(), "{file}");
        let alert = file.trim_end_matches(".yaml");
        assert!(fires.iter().chain(&does_not).all(|check| check["alertname"] == alert), "{file}");
    }
    let files: Vec<_> = written.iter().map(String::as_str).collect();
    promtool(&tests, &[&["test", "rules"][..], &files].concat());
}

#[test]
fn monitoring_rule_of_the_operator_has_the_same_alerts() {
    let text = fs::read_to_string(monitoring().join("prometheusrule.yaml")).unwrap();
    let rule: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(rule["spec"], rules());
}

/// The metrics that a query names, each with its labels: those in braces, and those in `by`, `on` and `group_left`.
fn named(query: &str) -> (BTreeMap<String, BTreeSet<String>>, BTreeSet<String>) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut metrics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut grouped = BTreeSet::new();
    let mut rest = query;
    while let Some(start) = rest.find(|c: char| is_name(c) || c == '"') {
        rest = &rest[start..];
        if let Some(text) = rest.strip_prefix('"') {
            rest = text.split_once('"').unwrap().1;
            continue;
        }
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        if word.starts_with("egret_") || word.starts_with("process_") {
            let labels = metrics.entry(word.to_owned()).or_default();
            if let Some(inside) = rest.strip_prefix('{') {
                let (inside, after) = inside.split_once('}').unwrap();
                let pairs = inside.split("\",").map(|pair| pair.split(['=', '!']).next().unwrap().trim().to_owned());
                labels.extend(pairs);
                rest = after;
            }
        } else if ["by", "on", "group_left"].contains(&word) && rest.trim_start().starts_with('(') {
            let (inside, after) = rest.split_once(')').unwrap();
            grouped.extend(inside.trim_start_matches([' ', '(']).split(',').map(|label| label.trim().to_owned()));
            rest = after;
        }
    }
    grouped.remove("");
    (metrics, grouped)
}

#[test]
fn monitoring_finds_the_metrics_and_labels_of_a_query() {
    let (metrics, grouped) = named(
        "sum by (api, le) (rate(egret_a_total{x=~\"egret_b\",y!=\"1\"}[5m])) / on (instance) group_left egret_c > 0",
    );
    let labels = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(
        metrics,
        BTreeMap::from([("egret_a_total".into(), labels(&["x", "y"])), ("egret_c".into(), labels(&[]))])
    );
    assert_eq!(grouped, labels(&["api", "instance", "le"]));
}

/// The metrics of the docs' table, with their labels.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let page = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let table = page.split("| metric | meaning |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let spans = rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2));
    spans
        .map(|span| {
            let (name, labels) = span.split_once('{').unwrap_or((span, "}"));
            let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
            (name.to_owned(), labels.map(ToOwned::to_owned).collect())
        })
        .collect()
}

/// The metrics of a scrape, by its `# TYPE` lines, with the labels that they have.
fn scraped(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut metrics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            metrics.entry(described.split(' ').next().unwrap().to_owned()).or_default();
        } else if let Some((name, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let labels = labels.rsplit_once('}').unwrap().0;
            let labels = labels.split("\",").map(|pair| pair.split('=').next().unwrap().to_owned());
            let metric = family.filter(|family| metrics.contains_key(*family)).unwrap_or(name);
            metrics.get_mut(metric).unwrap_or_else(|| panic!("no # TYPE for {line}")).extend(labels);
        }
    }
    metrics
}

const APIS: &str = "  - name: partner
    hosts: [api.partner.example]
    ports: [80, 443, 7000]
    fail: open
  - name: shop
    hosts: [shop.example]
    ports: [80]
    policies:
      inbound:
        - ip-filter: {allow: [203.0.113.99]}
          enabled: report
        - set-header: {name: x-key, value: '{{key}}'}
";

/// A configuration in which each metric has a row. The key has expired.
fn config(lab: &Lab) -> PathBuf {
    let path = lab.configure(APIS);
    let text = fs::read_to_string(path).unwrap();
    let text = text.replace("telemetry:\n", "telemetry:\n  otlp: {endpoint: 'http://otel.example:4318'}\n");
    lab.write_config(&text.replace("\napis:", "\nvalues:\n  key: {value: abc, expires: 2020-01-31}\napis:"))
}

fn third_parties(lab: &Lab) -> [egret_tests::ThirdParty; 3] {
    lab.hosts(&[
        ("203.0.113.7", "api.partner.example"),
        ("203.0.113.8", "shop.example"),
        ("203.0.113.9", "otel.example"),
    ]);
    let allowed = || Behaviour::Http(vec![EGRESS.parse().unwrap()]);
    [
        lab.third_party("203.0.113.7", 80, allowed()),
        lab.third_party("203.0.113.7", 7000, Behaviour::Echo),
        lab.third_party("203.0.113.8", 80, allowed()),
    ]
}

#[test]
fn monitoring_names_metrics_and_labels_that_egret_has_and_the_docs_describe() {
    let lab = Lab::new();
    let _third_parties = third_parties(&lab);
    let _egret = lab.egret(&config(&lab), &[]);
    assert_eq!(lab.curl("http://shop.example/").0, 200);
    let mut text = String::new();
    eventually("the flow is counted", || {
        text = lab.curl("http://127.0.0.1:9464/metrics").1;
        text.contains("egret_flows_total{api=\"shop\"")
    });
    fs::write(lab.directory().join("metrics"), format!("{text}\n")).unwrap();
    let command = format!("promtool check metrics < {}", lab.directory().join("metrics").display());
    promtool_by_shell(&command);

    let (found, described) = (scraped(&text), documented());
    let missing: Vec<_> = found.keys().filter(|name| !described.contains_key(*name)).collect();
    assert!(missing.is_empty(), "docs/operations.md lacks {missing:?}");
    let elsewhere = |name: &str| name.contains("NAME") || name.starts_with("egret_kubernetes_");
    let gone: Vec<_> = described.keys().filter(|name| !elsewhere(name) && !found.contains_key(*name)).collect();
    assert!(gone.is_empty(), "docs/operations.md describes {gone:?}, which Egret does not have");
    for (name, labels) in &found {
        assert!(labels.is_empty() || labels == &described[name], "{name}: {labels:?}, {:?}", described[name]);
    }

    for (at, query) in alerts().into_iter().chain(queries()) {
        let (metrics, grouped) = named(&query);
        let mut known: BTreeSet<_> = ["instance", "job"].map(str::to_owned).into();
        for (metric, labels) in metrics {
            let family = metric.strip_suffix("_bucket").unwrap_or(&metric);
            assert!(found.contains_key(family), "{at}: {metric} is no metric of Egret");
            known.extend(described[family].iter().cloned());
            let unknown: Vec<_> = labels.iter().filter(|label| !known.contains(*label)).collect();
            assert!(unknown.is_empty(), "{at}: {metric} has no label {unknown:?}");
        }
        let unknown: Vec<_> = grouped.difference(&known).collect();
        assert!(unknown.is_empty(), "{at}: no metric of {query} has a label {unknown:?}");
    }
}

fn promtool_by_shell(command: &str) {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Starts Prometheus on the node. It scrapes Egret ten times a second and evaluates the alerts.
fn prometheus(lab: &Lab) -> Service {
    let path = lab.directory().join("prometheus.yaml");
    let text = format!(
        "global: {{scrape_interval: 100ms, scrape_timeout: 100ms, evaluation_interval: 100ms}}\nrule_files: [{}]\nscrape_configs:\n  \
         - job_name: egret\n    static_configs: [{{targets: ['127.0.0.1:9464']}}]\n",
        monitoring().join("rules.yaml").display()
    );
    fs::write(&path, text).unwrap();
    let arguments = [
        format!("--config.file={}", path.display()),
        format!("--storage.tsdb.path={}", lab.directory().join("prometheus").display()),
        "--web.listen-address=127.0.0.1:9090".to_owned(),
        "--log.level=error".to_owned(),
    ];
    lab.node_service("prometheus.service", 9090, "prometheus", &arguments.each_ref().map(String::as_str))
}

/// Asks Prometheus. Returns the rows, or why it does not accept the query.
fn ask(lab: &Lab, query: &str) -> Result<Vec<Value>, String> {
    let query = format!("query={query}");
    let url = "http://127.0.0.1:9090/api/v1/query";
    let output = lab.gateway("curl", &["-s", "--data-urlencode", &query, url]).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    match answer["data"]["result"].as_array() {
        Some(rows) => Ok(rows.clone()),
        None => Err(answer["error"].to_string()),
    }
}

/// Waits until an alert is active, and does something meanwhile.
fn active(lab: &Lab, alert: &str, mut meanwhile: impl FnMut()) {
    let query = format!("ALERTS{{alertname=\"{alert}\"}}");
    eventually(alert, || {
        meanwhile();
        ask(lab, &query).is_ok_and(|rows| !rows.is_empty())
    });
}

#[test]
fn monitoring_alerts_are_active_in_a_real_prometheus_when_the_thing_happens() {
    let lab = Lab::new();
    let _third_parties = third_parties(&lab);
    // Older than Egret.
    let mut older = lab.converse(
        "import socket, sys\ns = socket.create_connection(('203.0.113.7', 7000))\nprint('open', flush=True)\nsys.stdin.readline()\n",
    );
    assert_eq!(older.line(), "open");
    let path = config(&lab);
    let egret = lab.egret(&path, &[]);
    let _prometheus = prometheus(&lab);
    active(&lab, "EgretCredentialExpiring", || {});
    active(&lab, "EgretBypassSeen", || {});
    // Prometheus has seen Egret without these.
    let quiet =
        ["EgretThirdPartyFailing", "EgretConfigRejected", "EgretEgressAddressLost", "EgretFailOpenInUse", "EgretDown"];
    for alert in quiet {
        assert_eq!(ask(&lab, &format!("ALERTS{{alertname=\"{alert}\"}}")), Ok(vec![]), "{alert}");
    }

    let call = |url| drop(lab.run("curl", &["-s", "-m", "5", url]));
    active(&lab, "EgretThirdPartyFailing", || {
        call("http://shop.example/");
        call("https://api.partner.example/");
    });
    for (panel, query) in queries() {
        let rows = ask(&lab, &query);
        assert!(rows.is_ok(), "{panel}: {query}: {}", rows.unwrap_err());
    }
    let rows = |title: &str| {
        let of_panel = queries().into_iter().filter(|(panel, _)| panel == title);
        of_panel.flat_map(|(_, query)| ask(&lab, &query).unwrap()).count()
    };
    for panel in [
        "Nodes",
        "Next expiry",
        "Flows per second",
        "Responses per second",
        "Time until the response",
        "Failures per second",
        "Source ports in use",
        "What policies in report mode would refuse",
        "Version and generation",
        "Memory",
    ] {
        eventually(panel, || rows(panel) > 0);
    }

    let narrow = "echo 40000 40199 >/proc/sys/net/ipv4/ip_local_port_range";
    assert!(lab.gateway("sh", &["-c", narrow]).status().unwrap().success());
    // Each keeps its port for a minute.
    lab.python(
        "import socket\nfor _ in range(180):\n    socket.create_connection(('203.0.113.7', 7000)).close()\n",
        &[],
    );
    active(&lab, "EgretPortsRunningOut", || {});

    let valid = fs::read_to_string(&path).unwrap();
    lab.write_config(&valid.replace("fail: open", "fail: never"));
    active(&lab, "EgretConfigRejected", || {});
    lab.write_config(&valid);
    lab.node_ip(&["address", "del", &format!("{EGRESS}/24"), "dev", "node0"]);
    active(&lab, "EgretEgressAddressLost", || {});
    active(&lab, "EgretFailOpenInUse", || {});
    egret.stop();
    active(&lab, "EgretDown", || {});
}

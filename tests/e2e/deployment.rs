//! What deploys Egret on Kubernetes: valid, complete, and the same by kustomize and by Helm.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use egret_tests::{Behaviour, EGRESS, Lab};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The directory of what deploys Egret, as `cargo xtask test` runs the tests.
fn deploy() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/deploy")).unwrap()
}

fn tool(name: &str, arguments: &[&str]) -> Result<String, String> {
    let tools = std::env::var_os("EGRET_KUBERNETES").expect("EGRET_KUBERNETES: run `cargo xtask test deployment`");
    let output = Command::new(Path::new(&tools).join(name)).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The objects in a stream of YAML, by kind and name.
fn objects(yaml: &str) -> Vec<Value> {
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    objects.retain(|object| !object.is_null());
    objects.sort_by_key(|object| format!("{} {}", object["kind"], object["metadata"]["name"]));
    objects
}

fn kustomize(directory: &Path) -> Vec<Value> {
    objects(&tool("kubectl", &["kustomize", directory.to_str().unwrap()]).unwrap())
}

/// What `kubectl apply -k` applies with a component that is commented out in the shipped kustomization.
fn with_component(lab: &Lab, component: &str) -> Vec<Value> {
    with_components(lab, &[component])
}

fn with_components(lab: &Lab, components: &[&str]) -> Vec<Value> {
    let directory = lab.directory().join("kustomize");
    fs::create_dir_all(&directory).unwrap();
    // kustomize knows only relative paths.
    let up = "../".repeat(directory.components().count() - 1);
    let shipped = format!("{up}{}", deploy().join("kubernetes").strip_prefix("/").unwrap().display());
    let components: Vec<_> = components.iter().map(|component| format!("{shipped}/{component}")).collect();
    let text = format!("resources: [{shipped}]\ncomponents: [{}]\n", components.join(", "));
    fs::write(directory.join("kustomization.yaml"), text).unwrap();
    kustomize(&directory)
}

fn helm(values: &[&str]) -> Result<Vec<Value>, String> {
    let chart = deploy().join("helm");
    let template = ["template", "egret", chart.to_str().unwrap(), "--namespace", "egret-system"];
    tool("helm", &[&template[..], values].concat()).map(|yaml| objects(&yaml))
}

/// An object is valid if it is the same after it has been read as what its kind is: unknown keys, wrong types and missing keys change it.
fn assert_valid(object: &Value) {
    fn again<T: DeserializeOwned + Serialize>(object: &Value) -> Value {
        let typed: T = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object:#}"));
        serde_json::to_value(typed).unwrap()
    }
    // Of custom resources there are no types here: their keys are checked one by one.
    fn has_only(object: &Value, keys: &[&str]) {
        let strange: Vec<_> = object.as_object().unwrap().keys().filter(|key| !keys.contains(&key.as_str())).collect();
        assert!(strange.is_empty(), "{strange:?} in {object:#}");
    }
    let again = match object["kind"].as_str().unwrap() {
        "PodMonitor" => {
            let spec = &object["spec"];
            has_only(spec, &["selector", "podMetricsEndpoints"]);
            for endpoint in spec["podMetricsEndpoints"].as_array().unwrap() {
                has_only(endpoint, &["path", "interval", "relabelings"]);
                for relabeling in endpoint["relabelings"].as_array().unwrap() {
                    has_only(relabeling, &["sourceLabels", "targetLabel", "replacement", "action", "regex"]);
                }
            }
            object.clone()
        }
        "PrometheusRule" => {
            has_only(&object["spec"], &["groups"]);
            for group in object["spec"]["groups"].as_array().unwrap() {
                has_only(group, &["name", "rules"]);
                for rule in group["rules"].as_array().unwrap() {
                    has_only(rule, &["alert", "expr", "for", "labels", "annotations"]);
                }
            }
            object.clone()
        }
        "ClusterRole" => again::<ClusterRole>(object),
        "ClusterRoleBinding" => again::<ClusterRoleBinding>(object),
        "ConfigMap" => again::<ConfigMap>(object),
        "DaemonSet" => again::<DaemonSet>(object),
        "Namespace" => again::<Namespace>(object),
        "PriorityClass" => again::<PriorityClass>(object),
        "Role" => again::<Role>(object),
        "RoleBinding" => again::<RoleBinding>(object),
        "ServiceAccount" => again::<ServiceAccount>(object),
        kind => panic!("this test does not know {kind}"),
    };
    assert_eq!(&again, object);
}

fn of<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

fn container(objects: &[Value]) -> &Value {
    &of(objects, "DaemonSet")["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn deployment_manifests_are_valid() {
    let lab = Lab::new();
    let shipped = kustomize(&deploy().join("kubernetes"));
    let kinds: Vec<_> = shipped.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ConfigMap", "DaemonSet", "Namespace", "PriorityClass", "ServiceAccount"]);
    shipped.iter().for_each(assert_valid);
    kustomize(&deploy().join("kubernetes/uninstall")).iter().for_each(assert_valid);
    with_component(&lab, "capabilities").iter().for_each(assert_valid);
    let with_api = with_component(&lab, "api");
    with_api.iter().for_each(assert_valid);
    assert_eq!(of(&with_api, "ClusterRole")["rules"][0]["resources"], serde_json::json!(["pods"]));
    assert_eq!(of(&with_api, "DaemonSet")["spec"]["template"]["spec"]["automountServiceAccountToken"], true);
    let of_fleet = with_components(&lab, &["api", "fleet"]);
    of_fleet.iter().for_each(assert_valid);
    assert_eq!(of(&of_fleet, "Role")["rules"][0]["resources"], serde_json::json!(["leases"]));
    assert_eq!(of(&of_fleet, "Role")["metadata"]["namespace"], "egret-system");
    with_component(&lab, "ca").iter().for_each(assert_valid);
    let monitored = with_component(&lab, "monitoring");
    monitored.iter().for_each(assert_valid);
    let address = container(&monitored)["env"].as_array().unwrap().last().unwrap();
    assert_eq!(address, &serde_json::json!({"name": "EGRET_TELEMETRY_ADDRESS", "value": "$(HOST_IP):9464"}));
    let dashboard = monitored.iter().find_map(|object| object["data"].get("egret.json")).unwrap().as_str().unwrap();
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    assert_eq!(dashboard["title"], "Egret");
    let mut wrong = of(&shipped, "DaemonSet").clone();
    wrong["spec"]["template"]["spec"]["hostNetwrk"] = true.into();
    assert!(std::panic::catch_unwind(|| assert_valid(&wrong)).is_err(), "a misspelled key would pass");
}

/// One tag that was forgotten would run another version to remove Egret than the one that is there.
#[test]
fn deployment_and_its_removal_have_one_image_and_one_configuration() {
    let lab = Lab::new();
    let copy = lab.directory().join("kubernetes");
    let copied = Command::new("cp").arg("-r").args([&deploy().join("kubernetes"), &copy]).status().unwrap();
    assert!(copied.success());
    let image = copy.join("image/kustomization.yaml");
    let text = fs::read_to_string(&image).unwrap();
    let version = concat!("newTag: ", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(version), "{text}");
    fs::write(&image, text.replace(version, "newTag: other")).unwrap();
    for directory in [copy.clone(), copy.join("uninstall")] {
        let objects = kustomize(&directory);
        let egret = container(&objects);
        assert_eq!(egret["image"], "localhost/egret:other", "{}", directory.display());
        let mounted = egret["volumeMounts"].as_array().unwrap().iter().any(|mount| mount["mountPath"] == "/etc/egret");
        assert!(mounted, "{egret:#}");
    }
}

#[test]
fn deployment_keeps_what_take_overs_need() {
    let shipped = kustomize(&deploy().join("kubernetes"));
    let spec = &of(&shipped, "DaemonSet")["spec"];
    assert_eq!(spec["updateStrategy"]["rollingUpdate"], serde_json::json!({"maxSurge": 1, "maxUnavailable": 0}));
    let egret = container(&shipped);
    assert!(egret.get("ports").is_none(), "two pods of a node cannot have one port");
    for probe in ["startupProbe", "readinessProbe"] {
        let command = serde_json::json!(["egret", "status", "--ready", "--same-container"]);
        assert_eq!(egret[probe]["exec"]["command"], command, "{probe}");
    }
    // `drain` is 10 minutes by default.
    assert!(spec["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap() >= 630);
    let arguments: Vec<_> =
        egret["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()).collect();
    assert_eq!(arguments, ["run", "--persist", "--config=/etc/egret", "--instance=$(POD_UID)"]);
}

#[test]
fn deployment_by_helm_is_the_same_as_by_kustomize() {
    let lab = Lab::new();
    let compare = |mut kustomized: Vec<Value>, mut templated: Vec<Value>| {
        // Helm creates the namespace itself, and writes the configuration from values.
        kustomized.retain(|object| object["kind"] != "Namespace");
        for objects in [&mut kustomized, &mut templated] {
            let is_configuration = |object: &&mut Value| object["data"].get("egret.yaml").is_some();
            let map = objects.iter_mut().find(is_configuration).unwrap();
            let text = map["data"]["egret.yaml"].as_str().unwrap().to_owned();
            map["data"]["egret.yaml"] = serde_saphyr::from_str(&text).unwrap();
        }
        assert_eq!(kustomized, templated);
    };
    compare(kustomize(&deploy().join("kubernetes")), helm(&[]).unwrap());
    compare(with_component(&lab, "capabilities"), helm(&["--set", "privileged=false"]).unwrap());
    compare(with_component(&lab, "api"), helm(&["--set", "api=true"]).unwrap());
    compare(with_components(&lab, &["api", "fleet"]), helm(&["--set", "api=true,fleet=true"]).unwrap());
    compare(with_component(&lab, "ca"), helm(&["--set", "ca=egret-ca"]).unwrap());
    compare(with_component(&lab, "monitoring"), helm(&["--set", "monitoring=true"]).unwrap());

    let changed =
        helm(&["--set-string", "image.tag=2", "--set", "nodeAddress=false", "--set", "config.apis[0].fail=open"])
            .unwrap();
    changed.iter().for_each(assert_valid);
    assert_eq!(container(&changed)["image"], "localhost/egret:2");
    assert_eq!(container(&changed)["env"].as_array().unwrap().len(), 3);
    assert!(of(&changed, "ConfigMap")["data"]["egret.yaml"].as_str().unwrap().contains("fail: open"));
    let misspelled = helm(&["--set", "imag.tag=2"]).unwrap_err();
    assert!(misspelled.contains("imag"), "{misspelled}");
}

#[test]
fn deployment_configuration_is_valid_and_a_wrong_one_is_refused_with_its_place() {
    let lab = Lab::new();
    let shipped = deploy().join("kubernetes/egret.yaml");
    let check = |path: &Path| {
        let egret = egret_tests::executable();
        let mut command = lab.gateway(egret.to_str().unwrap(), &["check", path.to_str().unwrap()]);
        command.env("EGRET_EGRESS_ADDRESSES", "192.0.2.10").output().unwrap()
    };
    let output = check(&shipped);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let wrong = fs::read_to_string(shipped).unwrap().replace("hosts:", "host:");
    let path = lab.write_config(&wrong);
    let output = check(&path);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = wrong.lines().position(|line| line.contains("host:")).unwrap() + 1;
    assert!(text.contains(&format!("egret.yaml:{line}:")) && text.contains("hosts"), "{text}");
}

/// A directory as the kubelet mounts a Secret: it replaces what is in it by replacing one link.
struct Secret(PathBuf);

impl Secret {
    fn new(directory: PathBuf) -> Self {
        fs::create_dir(&directory).unwrap();
        for name in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(name), directory.join(name)).unwrap();
        }
        Self(directory)
    }

    fn put(&self, version: &str, certificate: &Path, key: &Path) {
        let fresh = self.0.join(version);
        fs::create_dir(&fresh).unwrap();
        fs::copy(certificate, fresh.join("tls.crt")).unwrap();
        fs::copy(key, fresh.join("tls.key")).unwrap();
        symlink(version, self.0.join("..data_tmp")).unwrap();
        fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).unwrap();
    }
}

#[test]
fn deployment_docs_make_a_ca_for_a_secret_which_egret_uses_and_renews() {
    const NAME: &str = "api.partner.example";
    let page = fs::read_to_string(deploy().join("../../docs/kubernetes.md")).unwrap();
    let command = page.lines().find(|line| line.starts_with("openssl req -x509 ")).expect("a command that makes a CA");
    let lab = Lab::new();
    let make = |name: &str| {
        let directory = lab.directory().join(name);
        fs::create_dir(&directory).unwrap();
        let made = Command::new("sh").args(["-ec", command]).current_dir(&directory).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        (directory.join("ca.pem"), directory.join("ca-key.pem"))
    };
    let (one, other) = (make("one"), make("other"));
    let secret = Secret::new(lab.directory().join("egret-ca"));
    secret.put("..1", &one.0, &one.1);

    lab.hosts(&[("203.0.113.7", NAME)]);
    let pki = lab.pki();
    let identity = pki.identity(&[NAME], &["http/1.1"]);
    let _partner = lab.third_party("203.0.113.7", 443, Behaviour::Https(identity, vec![EGRESS.parse().unwrap()]));
    let example = fs::read_to_string(deploy().join("../examples/kubernetes-ca.yaml")).unwrap();
    let ca = "  certificate: /etc/egret-ca/tls.crt\n  key: /etc/egret-ca/tls.key\n";
    assert!(example.contains(ca), "{example}");
    let api = format!("{}    mode: intercept\n    backend: {{tls: {{ca: {}}}}}\n", crate::PARTNER, pki.ca());
    let text = fs::read_to_string(lab.configure(&api)).unwrap();
    let (before, after) = text.split_once("ca:\n").unwrap();
    let after = after.split_once("telemetry:").unwrap().1;
    let ca = ca.replace("/etc/egret-ca", secret.0.to_str().unwrap());
    let _egret = lab.egret(&lab.write_config(&format!("{before}ca:\n{ca}telemetry:{after}")), &[]);

    let curl = |(ca, _): &(PathBuf, PathBuf)| {
        let arguments = ["-s", "-m", "20", "--cacert", ca.to_str().unwrap(), "https://api.partner.example/"];
        String::from_utf8_lossy(&lab.run("curl", &arguments).stdout).trim().to_owned()
    };
    assert_eq!((curl(&one).as_str(), curl(&other).as_str()), (EGRESS, ""));
    secret.put("..2", &other.0, &other.1);
    egret_tests::eventually("the changed Secret is used", || curl(&other) == EGRESS);
    assert_eq!(curl(&one), "");
}

#[test]
fn deployment_docs_show_what_inspect_prints_about_a_pod() {
    let lab = Lab::new();
    let _partner = crate::partner(&lab);
    let _egret = lab.egret(&lab.configure(crate::PARTNER), &[]);
    let pod = lab.pod("default", "caller").logs().token("default");
    assert!(pod.curl("http://api.partner.example/").contains("200 OK"));
    let socket = lab.socket();
    let inspect = |what| lab.cli(&["inspect", what, "--socket", socket.to_str().unwrap()]);
    egret_tests::eventually("the flow is on record", || inspect("workloads").contains("default/caller"));
    let shown = inspect("workloads");
    let page = fs::read_to_string(deploy().join("../../docs/kubernetes.md")).unwrap();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let heading = words(shown.lines().next().unwrap());
    assert!(page.lines().any(|line| words(line) == heading), "the page must show:\n{shown}");
}

//! What the environment says: for containers that are started without a configuration file, and for what differs from node to node.

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::{Value, json};

/// A variable, and what it is for.
struct Variable {
    name: &'static str,
    what: &'static str,
}

const HOSTS: &str = "EGRET_HOSTS";
const ADDRESSES: &str = "EGRET_EGRESS_ADDRESSES";
const FAIL: &str = "EGRET_FAIL";
const TELEMETRY: &str = "EGRET_TELEMETRY_ADDRESS";

/// Path of the configuration, with `egret run --environment`.
pub const CONFIG: &str = "EGRET_CONFIG";
/// Name of the instance, with `egret run --environment`.
pub const INSTANCE: &str = "EGRET_INSTANCE";
/// Whether the hooks stay, with `egret run --environment`.
pub const PERSIST: &str = "EGRET_PERSIST";

const VARIABLES: [Variable; 8] = [
    Variable { name: CONFIG, what: "path of the configuration, a file or a directory" },
    Variable { name: ADDRESSES, what: "`egress.addresses`, separated by commas" },
    Variable { name: FAIL, what: "`fail` of the API that EGRET_HOSTS makes: closed or open" },
    Variable { name: HOSTS, what: "hosts of an API named `environment`, separated by commas" },
    Variable { name: INSTANCE, what: "as `--instance`" },
    Variable { name: "EGRET_LOG", what: "what Egret's own log contains, such as debug" },
    Variable { name: PERSIST, what: "true or false, as `--persist`" },
    Variable { name: TELEMETRY, what: "`telemetry.address`" },
];

/// The parts of a configuration that variables give, each as a document of its own, and whether they name an API.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) documents: Vec<(PathBuf, String)>,
    pub(super) has_api: bool,
}

/// Returns what the variables give.
pub(super) fn given(variable: &dyn Fn(&str) -> Option<String>) -> Given {
    let list = |text: String| -> Value { text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect() };
    let mut documents = Vec::new();
    let mut add = |name: &str, key: &str, value: Value| {
        // JSON is YAML, so no value can be more than a value.
        documents.push((PathBuf::from(name), format!("version: 1\n{key}: {value}\n")));
    };
    if let Some(addresses) = variable(ADDRESSES) {
        add(ADDRESSES, "egress", json!({"addresses": list(addresses)}));
    }
    let hosts = variable(HOSTS);
    let has_api = hosts.is_some();
    if let Some(hosts) = hosts {
        let mut api = json!({"name": "environment", "hosts": list(hosts)});
        if let Some(fail) = variable(FAIL) {
            api["fail"] = fail.into();
        }
        add(HOSTS, "apis", json!([api]));
    }
    if let Some(address) = variable(TELEMETRY) {
        add(TELEMETRY, "telemetry", json!({"address": address}));
    }
    Given { documents, has_api }
}

/// Checks variables that were written for Egret alone, as those of a container are.
///
/// # Errors
/// One names no setting, or a needed one is missing. The error names it.
pub fn check(variables: &[(OsString, OsString)], has_configuration: bool) -> Result<(), String> {
    let names: Vec<_> = variables.iter().map(|(name, _)| name.to_string_lossy()).collect();
    for name in names.iter().filter(|name| name.starts_with("EGRET_")) {
        if !VARIABLES.iter().any(|known| known.name == *name) {
            return Err(unknown(name));
        }
    }
    let is_set = |name: &str| names.iter().any(|set| set == name);
    if !has_configuration && !is_set(HOSTS) {
        return Err(format!(
            "{HOSTS} is missing: set it to the third parties' hosts, such as {HOSTS}=api.partner.example, or mount a \
             configuration and name its path in {CONFIG}"
        ));
    }
    if !has_configuration && !is_set(ADDRESSES) {
        return Err(format!(
            "{ADDRESSES} is missing: set it to addresses of this node, such as {ADDRESSES}=192.0.2.10"
        ));
    }
    if is_set(FAIL) && !is_set(HOSTS) {
        return Err(format!("{FAIL} has no meaning without {HOSTS}: write `fail` into the configuration instead"));
    }
    Ok(())
}

fn unknown(name: &str) -> String {
    const SIMILAR: f64 = 0.8;
    let rest = |name: &str| name.trim_start_matches("EGRET_").to_owned();
    let near = VARIABLES.iter().map(|known| (strsim::jaro_winkler(&rest(name), &rest(known.name)), known.name));
    let near = near.filter(|(likeness, _)| *likeness > SIMILAR).max_by(|a, b| a.0.total_cmp(&b.0));
    let meant = near.map(|(_, near)| format!(" Did you mean {near}?")).unwrap_or_default();
    let known: Vec<_> = VARIABLES.iter().map(|known| format!("  {}  {}", known.name, known.what)).collect();
    format!("{name} is not a variable of Egret.{meant} These are:\n{}", known.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(set: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        set.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn documents(set: &'static [(&'static str, &'static str)]) -> Vec<String> {
        let variable =
            |wanted: &str| set.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
        given(&variable).documents.into_iter().map(|(path, text)| format!("{}: {text}", path.display())).collect()
    }

    #[test]
    fn each_variable_is_a_document_in_which_values_stay_values() {
        assert_eq!(
            documents(&[
                ("EGRET_EGRESS_ADDRESSES", "192.0.2.10, 2001:db8::1"),
                ("EGRET_HOSTS", "api.partner.example,*.a.example]\nadmin: {socket: /x}"),
                ("EGRET_FAIL", "open"),
            ]),
            [
                "EGRET_EGRESS_ADDRESSES: version: 1\negress: {\"addresses\":[\"192.0.2.10\",\"2001:db8::1\"]}\n",
                "EGRET_HOSTS: version: 1\napis: [{\"fail\":\"open\",\"hosts\":[\"api.partner.example\",\
                 \"*.a.example]\\nadmin: {socket: /x}\"],\"name\":\"environment\"}]\n",
            ]
        );
        assert!(documents(&[("EGRET_LOG", "debug")]).is_empty());
    }

    #[test]
    fn the_shipped_file_has_each_variable() {
        let file = include_str!("../../../config/deploy/egret.env");
        let named = |line: &'static str| line.trim_start_matches('#').split_once('=').map(|(name, _)| name);
        let mut names: Vec<_> = file.lines().filter_map(named).filter(|name| name.starts_with("EGRET_")).collect();
        names.sort_unstable();
        let mut known = VARIABLES.map(|variable| variable.name);
        known.sort_unstable();
        assert_eq!(names, known);
    }

    #[test]
    fn an_unknown_or_missing_variable_is_named() {
        let whole = [("EGRET_HOSTS", "a.example"), ("EGRET_EGRESS_ADDRESSES", "192.0.2.10"), ("PATH", "/usr/bin")];
        assert_eq!(check(&variables(&whole), false), Ok(()));
        let error = |set: &[(&str, &str)], has| check(&variables(set), has).unwrap_err();
        let misspelled = error(&[("EGRET_EGRES_ADDRESS", "192.0.2.10")], true);
        assert!(
            misspelled
                .starts_with("EGRET_EGRES_ADDRESS is not a variable of Egret. Did you mean EGRET_EGRESS_ADDRESSES?")
        );
        let strange = error(&[("EGRET_X", "")], true);
        assert!(
            strange.starts_with("EGRET_X is not a variable of Egret. These are:\n  EGRET_CONFIG  path"),
            "{strange}"
        );
        assert!(error(&whole[1..], false).starts_with("EGRET_HOSTS is missing: set it to"));
        assert!(error(&whole[..1], false).starts_with("EGRET_EGRESS_ADDRESSES is missing: set it to"));
        assert!(error(&[("EGRET_FAIL", "open")], true).starts_with("EGRET_FAIL has no meaning without EGRET_HOSTS"));
        assert_eq!(check(&[], true), Ok(()));
    }
}

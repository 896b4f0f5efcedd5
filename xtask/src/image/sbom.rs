//! The list of what is in the executable and beside it (software bill of materials).

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::oci;
use crate::shell::{cargo, root};

/// A file that is made of what a crate contains.
pub(super) struct Made<'a> {
    pub(super) path: &'a str,
    pub(super) content: &'a [u8],
    /// The name of the crate.
    pub(super) from: &'a str,
}

/// Returns the list as CycloneDX 1.6 in JSON: every crate that is compiled into `egret` for this target, not those that only build or
/// test it, and files with their origin. It has no time and no paths of this machine, so equal sources give equal lists.
pub(super) fn cyclone_dx(target: &str, made: &[Made<'_>]) -> anyhow::Result<Vec<u8>> {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let checksums = checksums(&lock);
    let compiled = crates(&["--package", "egret", "--edges", "normal,no-proc-macro", "--target", target])?;
    let mut components: Vec<_> =
        compiled.iter().map(|((name, version), licence)| component(name, version, licence, &checksums)).collect();
    let ours = crates(&["--package", "xtask", "--edges", "normal", "--depth", "1"])?;
    for file in made {
        let from = ours.iter().find(|((name, _), _)| name == file.from);
        let ((name, version), licence) = from.with_context(|| format!("xtask does not depend on {}", file.from))?;
        components.push(json!({
            "type": "file",
            "bom-ref": format!("file:{}", file.path),
            "name": file.path,
            "version": version,
            "hashes": [{"alg": "SHA-256", "content": oci::hexadecimal(file.content)}],
            "licenses": [{"expression": licence}],
            "pedigree": {"ancestors": [component(name, version, licence, &checksums)]},
        }));
    }
    let (egret, components): (Vec<_>, Vec<_>) =
        components.into_iter().partition(|component| component["name"] == "egret");
    let mut list = serde_json::to_vec_pretty(&json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": egret.first()},
        "components": components,
    }))?;
    list.push(b'\n');
    Ok(list)
}

/// Returns the crates that `cargo tree` lists, by name and version, with their licences.
fn crates(which: &[&str]) -> anyhow::Result<BTreeMap<(String, String), String>> {
    let output =
        cargo().args(["tree", "--locked"]).args(which).args(["--prefix", "none", "--format", "{p}\t{l}"]).output()?;
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    // `name v1.2.3 (path or kind)`, a tab, and the licence; what was shown before is marked behind it.
    let parse = |line: &str| {
        let (package, licence) = line.split_once('\t')?;
        let mut words = package.split(' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        Some(((name.to_owned(), version.to_owned()), licence.trim_end_matches(" (*)").to_owned()))
    };
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(parse).collect())
}

/// Returns the SHA-256 of each package of a registry in a Cargo.lock, by name and version.
fn checksums(lock: &str) -> BTreeMap<(&str, &str), &str> {
    fn of<'a>(section: &'a str, key: &str) -> Option<&'a str> {
        let line = section.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
        Some(line.trim_matches('"'))
    }
    let sections = lock.split("[[package]]").skip(1);
    sections
        .filter_map(|section| Some(((of(section, "name")?, of(section, "version")?), of(section, "checksum")?)))
        .collect()
}

fn component(name: &str, version: &str, licence: &str, checksums: &BTreeMap<(&str, &str), &str>) -> Value {
    let package_url = format!("pkg:cargo/{name}@{version}");
    let mut component = json!({
        "type": if name == "egret" { "application" } else { "library" },
        "bom-ref": package_url,
        "name": name,
        "version": version,
    });
    if !licence.is_empty() {
        // Old packages separate licences by a slash.
        component["licenses"] = json!([{"expression": licence.replace('/', " OR ")}]);
    }
    if let Some(checksum) = checksums.get(&(name, version)) {
        component["purl"] = package_url.into();
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    component
}

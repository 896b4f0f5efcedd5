//! The facts by which policies and products select workloads.

use std::sync::Arc;

use serde_saphyr::Spanned;

use crate::config::diagnostic::Problem;
use crate::model::{Fact, WorkloadMatch};
use crate::syntax::WorkloadFile;

pub(in crate::config::compile) fn workloads(files: &[WorkloadFile], problems: &mut Vec<Problem>) -> Vec<WorkloadMatch> {
    files.iter().map(|file| workload(file, problems)).collect()
}

fn workload(file: &WorkloadFile, problems: &mut Vec<Problem>) -> WorkloadMatch {
    let text = |text: &Option<Spanned<String>>| text.as_ref().map(|text| text.value.as_str().into());
    let facts = [
        (Fact::Cgroup, file.cgroup.as_ref().and_then(|path| cgroup(path, problems))),
        (Fact::Unit, text(&file.unit)),
        (Fact::Container, text(&file.container)),
        (Fact::Pod, text(&file.pod)),
        (Fact::Namespace, in_kubernetes(file.namespace.as_ref(), problems)),
        (Fact::PodName, in_kubernetes(file.pod_name.as_ref(), problems)),
        (Fact::ServiceAccount, in_kubernetes(file.service_account.as_ref(), problems)),
        (Fact::Controller, from_api_server(Fact::Controller, file.controller.as_ref(), problems)),
        (Fact::ContainerName, from_api_server(Fact::ContainerName, file.container_name.as_ref(), problems)),
        (Fact::Image, from_api_server(Fact::Image, file.image.as_ref(), problems)),
        (Fact::Executable, text(&file.executable)),
        (Fact::User, text(&file.user)),
    ];
    for value in file.labels.values() {
        problems.push(unknown_without_api_server(value, "labels"));
    }
    WorkloadMatch {
        facts: facts.into_iter().filter_map(|(fact, pattern)| Some((fact, pattern?))).collect(),
        labels: file.labels.iter().map(|(name, value)| (name.as_str().into(), value.value.as_str().into())).collect(),
        uid: file.uid,
    }
}

fn from_api_server(fact: Fact, written: Option<&Spanned<String>>, problems: &mut Vec<Problem>) -> Option<Arc<str>> {
    let written = written?;
    problems.push(unknown_without_api_server(written, fact.label()));
    Some(written.value.trim().into())
}

/// What is wrong where Egret does not ask the API server.
fn unknown_without_api_server<T>(written: &Spanned<T>, fact: &str) -> Problem {
    let rule = format!("`{fact}` is never known: only the Kubernetes API server says it, and Egret does not ask it");
    Problem::at(written, rule, "add kubernetes: {api: true}").without_api_server()
}

/// Returns the path of a cgroup in which `*` is at the end at most: a `*` elsewhere would let callers choose what it stands for.
fn cgroup(written: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<Arc<str>> {
    let path = written.value.trim();
    if !path.starts_with('/') || path.strip_suffix('*').unwrap_or(path).contains('*') {
        let rule = format!("`{path}` is not the beginning of a cgroup's path");
        let help = "write it from the root of the hierarchy, with * at the end at most, like /user.slice/*";
        problems.push(Problem::at(written, rule, help));
        return None;
    }
    Some(path.into())
}

/// A name that Kubernetes can give (RFC 1123), in which `*` stands for anything.
fn in_kubernetes(written: Option<&Spanned<String>>, problems: &mut Vec<Problem>) -> Option<Arc<str>> {
    let written = written?;
    let name = written.value.trim();
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'*');
    if name.is_empty() || !name.bytes().all(fits) {
        let help = match name.rsplit_once(['/', ':']) {
            Some((_, name)) => format!("write {name} alone, and its namespace as `namespace`"),
            None => "use lower-case letters, digits, - and .; * stands for anything".to_owned(),
        };
        problems.push(Problem::at(written, format!("`{}` cannot be a name in Kubernetes", written.value), help));
    }
    Some(name.into())
}

//! Servers that policies send to: their names are written out, so that no request decides where it goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_saphyr::Spanned;

use super::{Outside, backend, duration};
use crate::config::diagnostic::Problem;
use crate::config::file::TlsFile;
use crate::config::file::service::{BreakerFile, HealthFile, ServiceFile};
use crate::model::{Breaker, Endpoint, Health, Host, Member, Part, Service, Template};

/// What a URL begins with, whether that is TLS, and the usual port.
pub(super) type Schemes = [(&'static str, bool, u16); 2];

const HTTP: Schemes = [("https://", true, 443), ("http://", false, 80)];

/// Servers that are counted in.
pub(super) const REDIS: Schemes = [("rediss://", true, 6379), ("redis://", false, 6379)];

const HELP: &str = "write a URL like https://hooks.example/path; expressions may follow in the path: /${request.id}";

/// Where a URL leads, and its path and query.
pub(super) fn url(
    written: &Spanned<String>,
    template: Template,
    tls: Option<&TlsFile>,
    outside: &Outside<'_>,
    problems: &mut Vec<Problem>,
) -> Option<(Arc<Endpoint>, Template)> {
    server(HTTP, written, template, tls, outside, problems)
}

/// The same of a URL of these schemes.
pub(super) fn server(
    schemes: Schemes,
    written: &Spanned<String>,
    template: Template,
    tls: Option<&TlsFile>,
    outside: &Outside<'_>,
    problems: &mut Vec<Problem>,
) -> Option<(Arc<Endpoint>, Template)> {
    let Template(mut parts) = template;
    let first = match parts.first() {
        Some(Part::Text(text)) => Arc::clone(text),
        _ => "".into(),
    };
    let text = first.trim_start();
    let of = |(scheme, secured, port)| text.strip_prefix(scheme).map(|rest| (secured, port, rest));
    let Some((secured, usual, rest)) = schemes.into_iter().find_map(of) else {
        let [(one, ..), (other, ..)] = schemes;
        problems.push(Problem::at(written, format!("this URL does not begin with {one} or {other}"), HELP));
        return None;
    };
    let end = rest.find(['/', '?', '#']);
    if end.is_none() && parts.len() > 1 {
        let rule = "the server's name is an expression: a request would decide where Egret connects";
        problems.push(Problem::at(written, rule, HELP));
        return None;
    }
    let (authority, target) = rest.split_at(end.unwrap_or(rest.len()));
    let (name, port) = match authority.rsplit_once(':') {
        None => (authority, Some(usual)),
        Some((name, port)) => (name, port.parse::<u16>().ok().filter(|port| *port > 0)),
    };
    let host = Host::parse(name).map_err(|invalid| Problem::at(written, invalid.to_string(), HELP));
    let (Some(port), true) = (port, !target.contains('#')) else {
        let rule = if target.contains('#') {
            "this URL has a fragment, which is never sent"
        } else {
            "the port of this URL is not a number from 1 to 65535"
        };
        problems.push(Problem::at(written, rule, HELP));
        return None;
    };
    let host = host.map_err(|problem| problems.push(problem)).ok()?;
    if host.as_str() == "localhost" || host.as_str().ends_with(".localhost") {
        let help = "give the service a name that leads to an address of the network";
        problems.push(Problem::at(
            written,
            "this name always means this node (RFC 6761 §6.3), which Egret does not connect to",
            help,
        ));
        return None;
    }
    if let (Some(tls), false) = (tls, secured) {
        let place = tls.place().unwrap_or(written);
        let [(with, ..), (without, ..)] = schemes;
        problems.push(Problem::at(
            place,
            format!("`tls` has no effect on a URL with {without}"),
            format!("write {with}, or remove `tls`"),
        ));
    }
    let tls = secured.then(|| {
        let default = TlsFile::default();
        Arc::new(backend::tls(tls.unwrap_or(&default), outside, problems))
    });
    // A query alone is one of the path `/`.
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    if let Some(first) = parts.first_mut() {
        *first = Part::Text(target.into());
    }
    Some((Arc::new(Endpoint { host, port, tls }), Template(parts)))
}

/// Compiles the servers of `backends`.
pub(super) fn services(
    files: &BTreeMap<String, Spanned<ServiceFile>>,
    outside: &Outside<'_>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Arc<Service>> {
    let mut services = BTreeMap::new();
    for (name, written) in files {
        let file = &written.value;
        let mut members = Vec::new();
        if file.url.is_some() != file.pool.is_empty() {
            let help = "write url: https://..., or pool: [{url: https://...}, ...]";
            let problem = Problem::at(written, format!("`{name}` needs exactly one of `url` and `pool`"), help);
            problems.push(problem.lacking_here(&["url", "pool"]));
        }
        let only = file.url.iter().map(|url| (url, 1, 1, None));
        let several = file
            .pool
            .iter()
            .map(|member| (&member.url, member.weight.unwrap_or(1), member.priority.unwrap_or(1), member.tls.as_ref()));
        for (url, weight, priority, tls) in only.chain(several) {
            members.extend(member(url, tls.or(file.tls.as_ref()), outside, problems).map(|(endpoint, base)| Member {
                endpoint,
                base,
                weight,
                priority,
            }));
        }
        let service = Service {
            name: name.as_str().into(),
            members,
            breaker: file.circuit_breaker.as_ref().map(|file| breaker(file, problems)),
            health: file.health.as_ref().map(|file| health(file, problems)),
        };
        services.insert(name.clone(), Arc::new(service));
    }
    services
}

fn member(
    written: &Spanned<String>,
    tls: Option<&TlsFile>,
    outside: &Outside<'_>,
    problems: &mut Vec<Problem>,
) -> Option<(Arc<Endpoint>, Arc<str>)> {
    let template = Template(vec![Part::Text(written.value.trim().into())]);
    let (endpoint, target) = url(written, template, tls, outside, problems)?;
    let base = target.literal().unwrap_or_default();
    if base.contains('?') || base.contains("${") || base.contains("{{") {
        problems.push(Problem::at(
            written,
            "the URL of a backend has no query and no expressions",
            "write a server and a path, like https://sandbox.example/v2",
        ));
    }
    Some((endpoint, base.trim_end_matches('/').into()))
}

fn breaker(file: &BreakerFile, problems: &mut Vec<Problem>) -> Breaker {
    let mut statuses = Vec::new();
    for written in file.statuses.iter().flatten() {
        let (first, last) = written.value.split_once('-').unwrap_or((&written.value, &written.value));
        match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
            (Ok(first), Ok(last)) if (100..=599).contains(&first) && (first..=599).contains(&last) => {
                statuses.push((first, last));
            }
            _ => problems.push(Problem::at(
                written,
                format!("`{}` is neither a status nor a range of them", written.value),
                "write '429' or '500-599'",
            )),
        }
    }
    Breaker {
        failures: file.failures.value,
        window: duration(file.window.as_ref(), Duration::from_secs(60), problems),
        open: duration(file.open.as_ref(), Duration::from_secs(30), problems),
        statuses: if file.statuses.is_some() { statuses } else { vec![(500, 599)] },
    }
}

fn health(file: &HealthFile, problems: &mut Vec<Problem>) -> Health {
    let path = file.path.value.trim();
    if !path.starts_with('/') || path.parse::<http::Uri>().is_err() {
        problems.push(Problem::at(&file.path, "this path does not begin with a slash", "write a path like /health"));
    }
    let interval = duration(file.interval.as_ref(), Duration::from_secs(10), problems);
    if let Some(written) = file.interval.as_ref().filter(|_| interval < Duration::from_secs(1)) {
        problems.push(Problem::at(written, "this interval is shorter than 1s", "write at least 1s"));
    }
    Health { path: path.into(), interval, timeout: duration(file.timeout.as_ref(), Duration::from_secs(2), problems) }
}

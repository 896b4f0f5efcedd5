use std::borrow::Cow;
use std::sync::Arc;

use crate::model::{Operation, PathTemplate, Rules, Segment, spelled};

/// The parameters of a path, by name, percent-encoded as they came.
pub type Parameters = Vec<(Arc<str>, String)>;

/// Returns the most exact of the operations that a request matches, with its parameters. Segment by segment from the left, a text
/// goes before a parameter, and a parameter with more text around it before one with less; what ends goes before what is open,
/// and a named method before any.
pub fn operation<'a>(rules: &'a Rules, method: &str, path: &str) -> Option<(&'a Operation, Parameters)> {
    if rules.operations.is_empty() || !path.starts_with('/') {
        return None;
    }
    let path = spelled(path);
    let segments = segments(&path);
    let operation = most_exact(rules, method, |path| matches(path, &segments, Capitals::Differ))?;
    let pairs = operation.path.segments.iter().zip(&segments);
    let found = pairs.filter_map(|(segment, text)| values(segment, text)).flatten();
    Some((operation, found.map(|(name, text)| (Arc::clone(name), text.to_owned())).collect()))
}

/// Returns the operation that a server which ignores capitals may take a request for, if [`operation`] takes it for another one or
/// for none.
pub fn operation_but_for_capitals<'a>(rules: &'a Rules, method: &str, path: &str) -> Option<&'a Operation> {
    if rules.operations.is_empty() || !path.starts_with('/') {
        return None;
    }
    let path = spelled(path);
    let segments = segments(&path);
    let exact = most_exact(rules, method, |path| matches(path, &segments, Capitals::Differ));
    let other = most_exact(rules, method, |path| matches(path, &segments, Capitals::AreTheSame))?;
    let is_as_exact = |exact: &Operation| exactness(exact) >= exactness(other);
    exact.is_none_or(|exact| !is_as_exact(exact)).then_some(other)
}

/// Whether capitals make a difference.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Capitals {
    Differ,
    AreTheSame,
}

fn most_exact<'a>(rules: &'a Rules, method: &str, matches: impl Fn(&PathTemplate) -> bool) -> Option<&'a Operation> {
    let candidates = rules.operations.iter().filter(|operation| {
        operation.method.as_deref().is_none_or(|named| is_by(method, named)) && matches(&operation.path)
    });
    // Of equals the first.
    candidates.rev().max_by_key(|operation| {
        (exactness(operation), operation.method.as_deref().is_some_and(|named| named.eq_ignore_ascii_case(method)))
    })
}

/// Returns whether a request by a method is one of an operation for another: HEAD asks for what GET would give (RFC 9110 §9.3.2),
/// and some servers take `post` for `POST`. Such requests must meet the same policies.
fn is_by(method: &str, named: &str) -> bool {
    named.eq_ignore_ascii_case(method) || (method.eq_ignore_ascii_case("HEAD") && named == "GET")
}

/// Returns how exactly an operation says what its requests are.
fn exactness(operation: &Operation) -> (Vec<usize>, bool, bool) {
    let path = &operation.path;
    (path.segments.iter().map(text_in).collect(), !path.open, operation.method.is_some())
}

/// Returns how much of a segment is text: all, or so many bytes.
fn text_in(segment: &Segment) -> usize {
    match segment {
        Segment::Literal(_) => usize::MAX,
        Segment::Template { before, parameters } => {
            before.len() + parameters.iter().map(|(_, after)| after.len()).sum::<usize>()
        }
    }
}

/// Returns the segments of a path. What third parties take for the same path is the same (RFC 3986 §6.2.2), also where a slash is
/// there twice: otherwise callers would choose which policies hold for a request. Of a path that ends with a slash the last one is
/// empty.
fn segments(path: &str) -> Vec<&str> {
    let (mut segments, mut ends) = (Vec::new(), true);
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        ends = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    if ends {
        segments.push("");
    }
    segments
}

fn matches(template: &PathTemplate, segments: &[&str], capitals: Capitals) -> bool {
    let length = template.segments.len();
    // With or without a slash at the end it is the same to many.
    let all = segments.len() == length || (segments.len() == length + 1 && segments.last() == Some(&""));
    let is_like = |segment: &Segment, text: &str| match (segment, capitals) {
        (Segment::Literal(literal), Capitals::AreTheSame) => literal.eq_ignore_ascii_case(text),
        (segment, Capitals::AreTheSame) => values(&lowered(segment), &text.to_ascii_lowercase()).is_some(),
        (segment, Capitals::Differ) => values(segment, text).is_some(),
    };
    (if template.open { segments.len() > length } else { all })
        && template.segments.iter().zip(segments).all(|(segment, text)| is_like(segment, text))
}

/// Returns a segment without capitals.
fn lowered(segment: &Segment) -> Cow<'_, Segment> {
    let text = |text: &Arc<str>| text.to_ascii_lowercase().into();
    match segment {
        Segment::Literal(literal) => Cow::Owned(Segment::Literal(text(literal))),
        Segment::Template { before, parameters }
            if before.is_empty() && parameters.iter().all(|(_, after)| after.is_empty()) =>
        {
            Cow::Borrowed(segment)
        }
        Segment::Template { before, parameters } => Cow::Owned(Segment::Template {
            before: text(before),
            parameters: parameters.iter().map(|(name, after)| (Arc::clone(name), text(after))).collect(),
        }),
    }
}

/// Returns the parameters in a part of a path, if the part is like this. Each parameter but the last ends where the text after it
/// occurs first.
fn values<'s, 't>(segment: &'s Segment, text: &'t str) -> Option<Vec<(&'s Arc<str>, &'t str)>> {
    let (before, parameters) = match segment {
        Segment::Literal(literal) => return (**literal == *text).then(Vec::new),
        Segment::Template { before, parameters } => (before, parameters),
    };
    let (last, others) = parameters.split_last()?;
    let mut rest = text.strip_prefix(&**before)?.strip_suffix(&*last.1)?;
    let mut found = Vec::with_capacity(parameters.len());
    for (name, after) in others {
        let first = rest.chars().next()?.len_utf8();
        let end = first + rest[first..].find(&**after)?;
        found.push((name, &rest[..end]));
        rest = &rest[end + after.len()..];
    }
    found.push((&last.0, rest));
    (!rest.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{operation, operation_but_for_capitals};
    use crate::model::{ByProduct, Operation, PathTemplate, Rules, Segment};

    fn rules(operations: &[(&str, Option<&str>, &str)]) -> Rules {
        let segment = |text: &str| {
            let (before, rest) = text.split_once('{').unwrap_or((text, ""));
            let parameters = rest.split('{').filter_map(|piece| piece.split_once('}'));
            let parameters: Vec<_> = parameters.map(|(name, after)| (name.into(), after.into())).collect();
            match parameters.is_empty() {
                true => Segment::Literal(text.into()),
                false => Segment::Template { before: before.into(), parameters },
            }
        };
        let operation = |(name, method, path): &(&str, Option<&str>, &str)| {
            let (path, open) = path.strip_suffix("/*").map_or((*path, false), |path| (path, true));
            let segments = path.split('/').skip(1).map(segment).collect();
            Operation {
                name: (*name).into(),
                method: method.map(Arc::from),
                path: PathTemplate { segments, open },
                policies: ByProduct::default(),
                contract: None,
            }
        };
        Rules {
            operations: operations.iter().map(operation).collect(),
            otherwise: ByProduct::default(),
            products: Vec::new(),
            only_operations: false,
            strict_paths: true,
            every_request: true,
            max_body: 0,
            plain_secrets: false,
        }
    }

    #[test]
    fn the_most_exact_one_holds() {
        let rules = rules(&[
            ("any", None, "/*"),
            ("item", None, "/items/{id}"),
            ("get", Some("GET"), "/items/{id}"),
            ("new", Some("GET"), "/items/new"),
            ("files", None, "/items/{id}/files/*"),
            ("root", None, "/"),
            ("csv", None, "/reports/q{quarter}.csv"),
        ]);
        for (method, path, expected) in [
            ("GET", "/items/7", Some("get")),
            ("POST", "/items/7", Some("item")),
            ("HEAD", "/items/7", Some("get")),
            ("HEAD", "/items/new", Some("new")),
            ("GET", "/items/new", Some("new")),
            ("POST", "/items/new", Some("item")),
            ("GET", "/items/", Some("any")),
            ("GET", "/items", Some("any")),
            ("GET", "/items/7/files/a/b", Some("files")),
            ("GET", "/items/7/files", Some("any")),
            ("GET", "/", Some("root")),
            ("GET", "/reports/q3.csv", Some("csv")),
            ("GET", "/reports/q.csv", Some("any")),
            ("GET", "/reports/3.csv", Some("any")),
        ] {
            let found = operation(&rules, method, path).map(|(operation, _)| &*operation.name);
            assert_eq!(found, expected, "{method} {path}");
        }
    }

    #[test]
    fn a_segment_has_several_parameters() {
        let rules = rules(&[
            ("any", None, "/compare/{all}"),
            ("compare", None, "/compare/{base}...{head}"),
            ("report", None, "/reports/{year}-{month}.csv"),
            ("odd", None, "/odd/{a}{b}"),
        ]);
        for (path, expected) in [
            ("/compare/v1...v2", Some(("compare", vec!["v1", "v2"]))),
            ("/compare/v1...v2...v3", Some(("compare", vec!["v1", "v2...v3"]))),
            ("/compare/...v2", Some(("any", vec!["...v2"]))),
            ("/compare/v1...", Some(("any", vec!["v1..."]))),
            ("/compare/a%2Fb...%C3%A9", Some(("compare", vec!["a%2Fb", "%C3%A9"]))),
            ("/reports/2026-10.csv", Some(("report", vec!["2026", "10"]))),
            ("/reports/2026-.csv", None),
            ("/reports/-10.csv", None),
            ("/odd/xyz", Some(("odd", vec!["x", "yz"]))),
            ("/odd/x", None),
        ] {
            let found = operation(&rules, "GET", path);
            let found = found.as_ref().map(|(operation, parameters)| {
                (&*operation.name, parameters.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>())
            });
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn parameters_are_as_they_came() {
        let rules = rules(&[("item", None, "/items/{id}")]);
        let (_, parameters) = operation(&rules, "GET", "/items/..%2Fc").unwrap();
        assert_eq!(parameters, [("id".into(), "..%2Fc".to_owned())]);
    }

    #[test]
    fn capitals_that_keep_a_request_from_an_operation_are_seen() {
        let rules = rules(&[
            ("any", None, "/*"),
            ("admin", None, "/admin/*"),
            ("csv", None, "/reports/q{quarter}.csv"),
            ("upper", None, "/v1/A"),
            ("lower", None, "/v1/a"),
        ]);
        for (path, expected) in [
            ("/ADMIN/x", Some("admin")),
            ("/admin/X", None),
            ("/reports/Q3.CSV", Some("csv")),
            ("/reports/qX.csv", None),
            ("/v1/A", None),
            ("/v1/a", None),
            ("/other", None),
            ("*", None),
        ] {
            let found = operation_but_for_capitals(&rules, "GET", path).map(|operation| &*operation.name);
            assert_eq!(found, expected, "{path}");
        }
        assert!(operation(&rules, "OPTIONS", "*").is_none());
    }
}

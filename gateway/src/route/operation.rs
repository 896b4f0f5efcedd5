use std::sync::Arc;

use crate::model::{Operation, PathTemplate, Rules, Segment, spelled};

/// The parameters of a path, by name: encoded as they came, so that in another path they are no more than they were.
pub type Parameters = Vec<(Arc<str>, String)>;

/// The most exact of the operations that a request matches: segment by segment from the left a text goes before a parameter,
/// what ends before what is open, and a named method before any.
pub fn operation<'a>(rules: &'a Rules, method: &str, path: &str) -> Option<(&'a Operation, Parameters)> {
    if rules.operations.is_empty() {
        return None;
    }
    let path = spelled(path);
    let segments = segments(&path);
    let candidates = rules.operations.iter().filter(|operation| {
        operation.method.as_deref().is_none_or(|named| named == method) && matches(&operation.path, &segments)
    });
    let exact = |operation: &&Operation| {
        let literal = |segment: &Segment| matches!(segment, Segment::Literal(_));
        let path = &operation.path;
        (path.segments.iter().map(literal).collect::<Vec<_>>(), !path.open, operation.method.is_some())
    };
    // Of equals the first.
    let operation = candidates.rev().max_by_key(exact)?;
    let pairs = operation.path.segments.iter().zip(&segments);
    let parameters = pairs.filter_map(|(segment, text)| match segment {
        Segment::Literal(_) => None,
        Segment::Parameter { before, name, after } => {
            Some((Arc::clone(name), inside(text, before, after).unwrap_or_default().to_owned()))
        }
    });
    Some((operation, parameters.collect()))
}

/// What third parties take for the same path is the same (RFC 3986 §6.2.2), also where a slash is there twice: else it would be for
/// callers to choose which policies hold for a request. Of a path that ends with a slash the last one is empty.
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

fn matches(template: &PathTemplate, segments: &[&str]) -> bool {
    let length = template.segments.len();
    // With or without a slash at the end it is the same to many.
    let all = segments.len() == length || (segments.len() == length + 1 && segments.last() == Some(&""));
    (if template.open { segments.len() > length } else { all })
        && template.segments.iter().zip(segments).all(|(segment, text)| match segment {
            Segment::Literal(literal) => **literal == **text,
            Segment::Parameter { before, after, .. } => inside(text, before, after).is_some(),
        })
}

/// What is between two texts, if it is something.
fn inside<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.strip_suffix(after).filter(|inside| !inside.is_empty())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::operation;
    use crate::model::{ByProduct, Operation, PathTemplate, Rules, Segment};

    fn rules(operations: &[(&str, Option<&str>, &str)]) -> Rules {
        let segment = |text: &str| {
            let parameter = text.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
            parameter.map_or_else(
                || Segment::Literal(text.into()),
                |(before, (name, after))| Segment::Parameter {
                    before: before.into(),
                    name: name.into(),
                    after: after.into(),
                },
            )
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
    fn parameters_are_as_they_came() {
        let rules = rules(&[("item", None, "/items/{id}")]);
        let (_, parameters) = operation(&rules, "GET", "/items/..%2Fc").unwrap();
        assert_eq!(parameters, [("id".into(), "..%2Fc".to_owned())]);
    }
}

use serde_saphyr::Spanned;

use crate::config::diagnostic::Problem;
use crate::model::{PathTemplate, Segment, spelled};

/// What stands at this place, or is named there.
pub(super) fn template(text: &str, written: &Spanned<String>, problems: &mut Vec<Problem>) -> PathTemplate {
    let text = text.trim();
    let help = "like /prices/{id}, or /files/* for all below";
    let Some(rest) = text.strip_prefix('/') else {
        problems.push(Problem::at(written, "a path begins with a slash", help));
        return PathTemplate { segments: Vec::new(), open: true };
    };
    let (rest, open) = match rest.strip_suffix('*') {
        Some(rest) if rest.is_empty() || rest.ends_with('/') => (rest.trim_end_matches('/'), true),
        _ => (rest, false),
    };
    let all = if rest.is_empty() && open { Vec::new() } else { rest.split('/').collect() };
    let mut segment = |text: &str| {
        let parameter = text.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
        let parts = match parameter {
            Some((before, (name, after))) => [before, name, after],
            None => [text, "", ""],
        };
        let odd = parts.iter().any(|part| part.contains(['{', '}', '*', '?', '#']));
        if odd || (parameter.is_some() && parts[1].is_empty()) {
            problems.push(Problem::at(written, format!("`{text}` is neither a text nor a parameter"), help));
        }
        match parameter {
            Some((before, (name, after))) => {
                Segment::Parameter { before: spelled(before).into(), name: name.into(), after: spelled(after).into() }
            }
            None => Segment::Literal(spelled(text).into()),
        }
    };
    let segments: Vec<_> = all.into_iter().map(&mut segment).collect();
    PathTemplate { segments, open }
}

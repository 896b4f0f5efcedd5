//! What a policy says, field by field. It is read from its [`Debug`](std::fmt::Debug): so a policy that is new is compared,
//! too, and a field of it cannot be forgotten.

use crate::model::Statement;

/// The names of its fields, and what they say; without a name where there is only one.
pub(super) fn facts(statement: &Statement) -> Vec<(String, String)> {
    let text = match statement {
        Statement::Choose(branches) => {
            let when = branches.iter().map(|branch| branch.when.as_ref().map_or("otherwise", |when| &when.source));
            return when.map(|when| ("when".to_owned(), when.to_owned())).collect();
        }
        statement => format!("{statement:?}"),
    };
    // What follows from other fields, or is told on its own.
    let left_out: &[&str] = match statement {
        Statement::LimitConcurrency(_) | Statement::Quota(_) | Statement::RateLimit(_) => {
            &["identity", "kind", "by_answer"]
        }
        Statement::Retry(_) => &["policies"],
        Statement::SetHeader(_) => &["fixed"],
        _ => &[],
    };
    let inner = within(&text, '(', ')').map_or(text.as_str(), |(_, inner)| inner);
    match within(inner, '{', '}') {
        Some((_, fields)) => {
            split(fields).into_iter().filter_map(field).filter(|(name, _)| !left_out.contains(&name.as_str())).collect()
        }
        None => vec![(String::new(), tidy(inner))],
    }
}

fn field(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(": ")?;
    (value != "None").then(|| (name.to_owned(), tidy(value)))
}

/// Without the names of types, and what is not there.
pub(super) fn tidy(text: &str) -> String {
    if let Some((_, inner)) = within(text, '{', '}') {
        let fields = split(inner).into_iter().filter_map(field).map(|(name, value)| format!("{name}: {value}"));
        return format!("{{{}}}", fields.collect::<Vec<_>>().join(", "));
    }
    let parts = |inner| split(inner).into_iter().map(tidy).collect::<Vec<_>>().join(", ");
    match (within(text, '(', ')'), within(text, '[', ']')) {
        (Some(("", inner)), _) => format!("({})", parts(inner)),
        (Some((_, inner)), _) => tidy(inner),
        (_, Some(("", inner))) => format!("[{}]", parts(inner)),
        _ => text.to_owned(),
    }
}

/// The name before the brackets, and what is in them, if they end the text.
fn within(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    let (name, inner) = text.strip_suffix(close)?.split_once(open)?;
    let name = name.trim_end();
    name.chars().all(|c| c.is_alphanumeric() || c == '_').then(|| (name, inner.trim()))
}

/// At the commas that are in no brackets and no string.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::{split, tidy};

    #[test]
    fn what_is_said_is_told_from_how() {
        for (text, tidied) in [
            ("Some(\"a, b) {\")", "\"a, b) {\""),
            ("[Pair { a: Some([1, 2]), b: None }, Pair { a: None, b: None }]", "[{a: [1, 2]}, {}]"),
            ("Pattern(Regex(\"a(b)\"))", "\"a(b)\""),
            ("[(\"a\", \"b\\\", c\")]", "[(\"a\", \"b\\\", c\")]"),
            ("1.5s", "1.5s"),
            ("Override", "Override"),
        ] {
            assert_eq!(tidy(text), tidied);
        }
        assert_eq!(split("a: \"x, y\", b: [1, 2], c: {d, e}"), ["a: \"x, y\"", "b: [1, 2]", "c: {d, e}"]);
    }
}

//! Texts with holes: `${expression}`, `${raw(expression)}` and `{{named value}}`.

use std::sync::Arc;

use serde_saphyr::Spanned;

use super::{BODY_AS_TEXT, Fault, Kind, Scope, is_body};
use crate::config::diagnostic::Problem;
use crate::config::document::suggestion;
use crate::model::{Escaping, Expression, Part, Scanner, Syntax, Template};

/// What a text is for, and so what its holes are encoded for.
#[derive(Clone, Copy)]
enum For<'a> {
    /// Something in which nothing need be encoded, or all is later: a header, a parameter, a key.
    Text,
    /// The same, and a hole may be bytes.
    Bytes,
    /// A path and a query, perhaps after a server's name.
    Url,
    /// A body of this media type.
    Body(Option<&'a str>),
    /// A piece of a body that is known only then.
    Piece,
}

/// A hole that is to be encoded, by the index of its part, and where it stands in the text.
struct Hole {
    part: usize,
    offset: usize,
}

impl Scope<'_> {
    /// Returns a text in which nothing is encoded.
    pub(in crate::config::compile) fn template(
        &self,
        written: &Spanned<String>,
        problems: &mut Vec<Problem>,
    ) -> Template {
        self.read(written, For::Text, problems)
    }

    /// Returns bytes with holes, which may be bytes.
    pub(in crate::config::compile) fn bytes(&self, written: &Spanned<String>, problems: &mut Vec<Problem>) -> Template {
        self.read(written, For::Bytes, problems)
    }

    /// Returns a URL, or a path with a query: each hole is a segment, or a value of the query.
    pub(in crate::config::compile) fn url(&self, written: &Spanned<String>, problems: &mut Vec<Problem>) -> Template {
        self.read(written, For::Url, problems)
    }

    /// Returns a body, whose holes are encoded for its media type if that is known, else for what it begins like.
    pub(in crate::config::compile) fn body(
        &self,
        written: &Spanned<String>,
        kind: Option<&str>,
        problems: &mut Vec<Problem>,
    ) -> Template {
        self.read(written, For::Body(kind), problems)
    }

    /// Returns a text that is put into a body: its holes are encoded for the place.
    pub(in crate::config::compile) fn piece(&self, written: &Spanned<String>, problems: &mut Vec<Problem>) -> Template {
        self.read(written, For::Piece, problems)
    }

    fn read(&self, written: &Spanned<String>, text: For<'_>, problems: &mut Vec<Problem>) -> Template {
        let (mut parts, holes) = self.parts(written, matches!(text, For::Bytes), problems);
        let syntax = match text {
            For::Text | For::Bytes => return Template(parts),
            For::Piece => None,
            For::Url => Some(Syntax::Url),
            For::Body(kind) => Some(of_body(kind, &parts)),
        };
        let mut scanner = syntax.map(Scanner::new);
        let mut holes = holes.into_iter().peekable();
        for (index, part) in parts.iter_mut().enumerate() {
            match (part, &mut scanner) {
                (Part::Text(text), Some(scanner)) => scanner.read(text.as_bytes()),
                (Part::Expression(expression, escaping), scanner) => {
                    let Some(hole) = holes.next_if(|hole| hole.part == index) else { continue };
                    let found = scanner.as_ref().map_or(Ok(Escaping::Later), Scanner::hole);
                    *escaping = found.unwrap_or_default();
                    if let Some((rule, help)) = misplaced(expression, found) {
                        let place = hole.offset..hole.offset + expression.source.len();
                        problems.push(Problem::at(written, rule, help).within(written, place));
                    }
                }
                _ => {}
            }
        }
        Template(parts)
    }

    /// Returns the parts of a text, and those of its holes that are not `raw(...)`.
    fn parts(&self, written: &Spanned<String>, bytes: bool, problems: &mut Vec<Problem>) -> (Vec<Part>, Vec<Hole>) {
        let (mut parts, mut holes) = (Vec::new(), Vec::new());
        let (mut rest, mut text) = (written.value.as_str(), String::new());
        while let Some(at) = rest.find(['$', '{']) {
            let (before, hole) = rest.split_at(at);
            text.push_str(before);
            if let Some(after) = hole.strip_prefix("$${") {
                text.push_str("${");
                rest = after;
            } else if let Some(after) = hole.strip_prefix("${") {
                let mut offset = written.value.len() - after.len();
                let Some(length) = end_of_hole(after) else {
                    let help = "close the expression with }; for a literal ${ write $${";
                    problems.push(Problem::at(written, "this ${ has no }", help));
                    return (parts, holes);
                };
                parts.extend((!text.is_empty()).then(|| Part::Text(std::mem::take(&mut text).into())));
                let (source, is_raw) = match raw(&after[..length]) {
                    Some((before, inner)) => {
                        offset += before;
                        (inner, true)
                    }
                    None => (&after[..length], false),
                };
                match self.hole(source, bytes) {
                    Ok(expression) => {
                        holes.extend((!is_raw).then_some(Hole { part: parts.len(), offset }));
                        parts.push(Part::Expression(expression, Escaping::None));
                    }
                    Err(fault) => problems.push(fault.at(written, offset)),
                }
                rest = &after[length + 1..];
            } else if let Some((name, after)) = named(hole) {
                parts.extend((!text.is_empty()).then(|| Part::Text(std::mem::take(&mut text).into())));
                match self.values.find(name) {
                    Some(value) => parts.push(Part::Named(Arc::clone(value))),
                    None if self.values.names().next().is_none() => {
                        let rule = format!("`{name}` is not a named value: this configuration has none");
                        let help = format!("add values: {{{name}: {{file: PATH}}}}");
                        problems.push(Problem::at(written, rule, help).lacking(&["values"]));
                    }
                    None => {
                        let rule = format!("`{name}` is not a named value");
                        problems.push(Problem::at(written, rule, suggestion(name, self.values.names())));
                    }
                }
                rest = after;
            } else {
                let width = hole.chars().next().map_or(1, char::len_utf8);
                text.push_str(&hole[..width]);
                rest = &hole[width..];
            }
        }
        text.push_str(rest);
        parts.extend((!text.is_empty()).then(|| Part::Text(text.into())));
        (parts, holes)
    }

    fn hole(&self, source: &str, bytes: bool) -> Result<Expression, Fault> {
        let (expression, kind) = self.compiled(source)?;
        match (bytes, kind) {
            (false, Kind::Bytes) => Err(Fault::whole(
                "bytes cannot stand in a text",
                "convert them with hex(...), base64.encode(...) or string(...)".to_owned(),
            )),
            (true, _) if is_body(expression.program.expression()) => {
                Err(Fault::whole(BODY_AS_TEXT, "use ${request.body_bytes}".to_owned()))
            }
            _ => Ok(expression),
        }
    }
}

/// Returns what a body is written in. One that begins with a hole is as the hole's value is.
fn of_body(kind: Option<&str>, parts: &[Part]) -> Syntax {
    match (parts, kind.and_then(Syntax::of_kind)) {
        ([Part::Expression(..) | Part::Named(_)], _) => Syntax::Text,
        (_, Some(syntax)) => syntax,
        ([Part::Text(text), ..], None) => Syntax::of_text(text),
        _ => Syntax::Text,
    }
}

/// Returns why a hole cannot stand where it does, and what to do, if that is so.
fn misplaced(expression: &Expression, found: Result<Escaping, &'static str>) -> Option<(String, String)> {
    let source = &expression.source;
    let as_it_is = |what: &str| {
        let rule = format!("`{source}` would be encoded as {what}");
        Some((rule, format!("write ${{raw({source})}}: it is encoded already")))
    };
    match found {
        Err(why) => {
            Some((why.to_owned(), format!("put it elsewhere or, if it is safe as it is, write ${{raw({source})}}")))
        }
        Ok(Escaping::PathSegment) if **source == *"request.path" => as_it_is("one segment"),
        Ok(Escaping::QueryValue) if **source == *"request.query_string" => as_it_is("one value"),
        Ok(_) => None,
    }
}

/// Returns the expression in `raw(...)`, and where in the text it begins, if that is all of it.
fn raw(source: &str) -> Option<(usize, &str)> {
    let inner = source.trim().strip_prefix("raw")?.trim_start().strip_prefix('(')?.strip_suffix(')')?;
    let mut open = 0_usize;
    for (_, c) in outside_strings(inner) {
        match c {
            '(' => open += 1,
            ')' => open = open.checked_sub(1)?,
            _ => {}
        }
    }
    Some((source.find('(')? + 1, inner))
}

/// Returns the length of an expression that begins a text and that `}` ends: one that is in no string and closes no other.
fn end_of_hole(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, c) in outside_strings(text) {
        match c {
            '{' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

/// Returns the characters of an expression that are in no string, with their places.
fn outside_strings(text: &str) -> impl Iterator<Item = (usize, char)> {
    let (mut quote, mut escaped) = (None, false);
    text.char_indices().filter(move |(_, c)| {
        match (quote, *c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(end), c) if c == end => quote = None,
            (Some(_), _) => {}
            (None, c @ ('"' | '\'')) => quote = Some(c),
            (None, _) => return true,
        }
        false
    })
}

/// Returns the name in `{{name}}`, and what follows.
fn named(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix("{{")?.split_once("}}")?;
    let name = name.trim();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    is_name.then_some((name, after))
}

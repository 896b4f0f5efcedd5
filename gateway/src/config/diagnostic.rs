use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde_saphyr::{Location, Spanned};

use super::source::Source;

/// Something wrong with a written value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    place: Place,
    rule: String,
    /// Another place that it has to do with.
    other: Option<Place>,
    help: String,
}

/// Where a value is, in the numbering of all files ([`Source`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// From 1.
    line: usize,
    /// In characters, from 1.
    column: usize,
    /// In bytes.
    length: usize,
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        let number = |number: u64| usize::try_from(number).unwrap_or(0);
        let length = location.span().byte_len().unwrap_or(0);
        Self { line: number(location.line()), column: number(location.column()), length: number(length) }
    }
}

impl Problem {
    pub(super) fn at<T>(written: &Spanned<T>, rule: impl Into<String>, help: impl Into<String>) -> Self {
        Self { place: written.referenced.into(), rule: rule.into(), other: None, help: help.into() }
    }

    /// The text cannot be read as YAML.
    pub(super) fn in_syntax(source: &Source, error: &serde_saphyr::Error) -> Self {
        let rule = error.without_snippet().to_string();
        // The place is shown, and what the library's caller could set is nothing to the reader.
        let rule = [" at line ", ", set ", "; use "]
            .iter()
            .fold(rule.as_str(), |rule, tail| rule.split_once(tail).map_or(rule, |(rule, _)| rule));
        let start = Place { line: source.lines_before + 1, column: 1, length: 0 };
        let place = error.location().map_or(start, Place::from).max(start);
        Self {
            place,
            rule: rule.to_owned(),
            other: None,
            help: "see https://yaml.org/spec for how YAML is written".to_owned(),
        }
    }

    /// Shows only these bytes of a text of one line.
    pub(super) fn within(mut self, written: &Spanned<String>, part: Range<usize>) -> Self {
        // Longer than its value by its quotes; escapes make it longer still, and then all of it is shown.
        let quotes = match self.place.length.checked_sub(written.value.len()) {
            Some(0) => 0,
            Some(2) => 1,
            _ => return self,
        };
        if !written.value.contains('\n') && part.end <= written.value.len() {
            self.place.column += quotes + written.value[..part.start].chars().count();
            self.place.length = part.len();
        }
        self
    }

    /// Whether it is about something in the line in which this begins.
    pub(super) fn is_in_line_of<T>(&self, written: &Spanned<T>) -> bool {
        self.place.line == Place::from(written.referenced).line
    }

    /// With another help.
    pub(super) fn helped(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// Shows another place too.
    pub(super) fn with<T>(mut self, other: &Spanned<T>) -> Self {
        self.other = Some(other.referenced.into());
        self
    }
}

/// One error, ready to be read: file, line, column, the text underlined, the rule and a help line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic(String);

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    /// In the order of the text.
    pub diagnostics: Vec<Diagnostic>,
    path: PathBuf,
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Diagnostic(text) in &self.diagnostics {
            writeln!(f, "{text}\n")?;
        }
        let count = self.diagnostics.len();
        write!(f, "{}: {count} error{}", self.path.display(), if count == 1 { "" } else { "s" })
    }
}

impl Diagnostics {
    pub(super) fn of_file(path: &Path, rule: &str, help: &str) -> Self {
        let text = format!("error: {} {rule}\n  = help: {help}", path.display());
        Self { diagnostics: vec![Diagnostic(text)], path: path.to_owned() }
    }

    pub(super) fn new(path: &Path, sources: &[Source], mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place);
        let diagnostics = problems.iter().map(|problem| render(sources, problem)).collect();
        Self { diagnostics, path: path.to_owned() }
    }
}

fn render<'a>(sources: &'a [Source], problem: &Problem) -> Diagnostic {
    let Some((source, range)) = place(sources, problem.place) else {
        return Diagnostic(format!("error: {}\n  = help: {}", problem.rule, problem.help));
    };
    let other = problem.other.and_then(|other| place(sources, other));
    let (here, elsewhere): (Vec<_>, Vec<_>) = other.into_iter().partition(|(other, _)| std::ptr::eq(*other, source));
    let snippet =
        |source: &'a Source| Snippet::source(source.text.as_str()).path(source.path.to_string_lossy().into_owned());
    let context = |(_, range): (_, Range<usize>)| AnnotationKind::Context.span(range).label("the other one");
    let primary = AnnotationKind::Primary.span(range);
    let report = Level::ERROR
        .primary_title(problem.rule.as_str())
        .element(snippet(source).annotation(primary).annotations(here.into_iter().map(context)))
        .elements(elsewhere.into_iter().map(|other| snippet(other.0).annotation(context(other))))
        .element(Level::HELP.message(problem.help.as_str()));
    Diagnostic(Renderer::plain().render(&[report]))
}

/// The file of a place, and the bytes of its text that are meant.
fn place(sources: &[Source], place: Place) -> Option<(&Source, Range<usize>)> {
    let line = place.line.saturating_sub(1);
    let source = sources.iter().rev().find(|source| source.lines_before <= line)?;
    let text = &source.text;
    let before: usize = text.split_inclusive('\n').take(line - source.lines_before).map(str::len).sum();
    let within = text[before..].char_indices().nth(place.column.saturating_sub(1)).map_or(0, |(index, _)| index);
    let start = before + within;
    // A section or a list is shown by its first line.
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    Some((source, start..(start + place.length.max(1)).min(line_end).max(start)))
}

/// Every key of the schema with its meaning, as Markdown.
pub(super) fn reference(schema: &serde_json::Value) -> String {
    const TABLE: &str = "| key | meaning |\n|---|---|\n";
    let mut text = format!("# Configuration reference\n\nGenerated by `cargo xtask docs`.\n\n{TABLE}");
    keys(schema, schema, "", &mut text);
    text.push_str("\n## A policy\n\nAn item of a section, a fragment or a branch: `base`, or one of these.\n\n");
    text.push_str(TABLE);
    keys(schema, &schema["$defs"]["PolicyFile"], "", &mut text);
    text
}

fn keys(root: &serde_json::Value, schema: &serde_json::Value, prefix: &str, text: &mut String) {
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, property) in properties {
        let key = format!("{prefix}{name}");
        let meaning = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        text.push_str(&format!("| `{key}` | {meaning} |\n"));
        let list = property["items"].is_object();
        let inner = [&property["items"], property, &property["anyOf"][0], &property["additionalProperties"]]
            .into_iter()
            // Policies may be in policies: they have a table of their own.
            .find_map(|place| place["$ref"].as_str())
            .filter(|path| !path.ends_with("/Step"))
            .and_then(|path| root.pointer(path.trim_start_matches('#')));
        if let Some(inner) = inner {
            let of = if list {
                "[]"
            } else if property["additionalProperties"].is_object() {
                ".NAME"
            } else {
                ""
            };
            keys(root, inner, &format!("{key}{of}."), text);
        }
    }
}

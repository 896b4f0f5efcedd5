use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde_saphyr::{Location, Spanned};

use super::source::Source;
use crate::model::number;

/// A problem with a written value: what is wrong with it, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    place: Place,
    rule: String,
    /// Another place that the problem has to do with.
    other: Option<Place>,
    help: String,
    details: Box<Details>,
    /// Whether the configuration is valid nevertheless.
    is_warning: bool,
}

/// What few problems have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Details {
    /// What the other place is.
    label: &'static str,
    /// The keys that an unknown key probably stands for.
    meant: Vec<String>,
    /// The section that has the unknown key.
    section: Option<Place>,
    /// The keys without which the problem arises.
    lacks: &'static [&'static str],
    /// Whether they are keys of the section that the problem is about.
    lacks_here: bool,
    /// Whether there is no problem where Egret asks the Kubernetes API server.
    needs_api_server: bool,
}

/// The place of a value, in the numbering of all files ([`Source`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// The line, counted from 1.
    line: usize,
    /// In characters, from 1.
    column: usize,
    /// The length in bytes.
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
    fn new(place: Place, rule: String, help: String) -> Self {
        Self { place, rule, other: None, help, details: Box::default(), is_warning: false }
    }

    pub(super) fn at<T>(written: &Spanned<T>, rule: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(written.referenced.into(), rule.into(), help.into())
    }

    /// Names keys for which an unknown key probably stands.
    pub(super) fn meaning(mut self, keys: Vec<String>) -> Self {
        self.details.meant = keys;
        self
    }

    /// Returns the keys for which the unknown key probably stands.
    pub(super) fn meant(&self) -> Vec<String> {
        self.details.meant.clone()
    }

    /// Whether the unknown key probably stands for this one.
    pub(super) fn means(&self, key: &str) -> bool {
        self.details.meant.iter().any(|meant| meant == key)
    }

    /// Names keys whose absence causes the problem: it is not reported if an unknown key stands for one of them.
    pub(super) fn lacking(mut self, keys: &'static [&'static str]) -> Self {
        self.details.lacks = keys;
        self
    }

    /// The same for keys of the section that the problem is about.
    pub(super) fn lacking_here(mut self, keys: &'static [&'static str]) -> Self {
        self.details.lacks = keys;
        self.details.lacks_here = true;
        self
    }

    /// Names the section that has the unknown key.
    pub(super) fn in_section<T>(mut self, section: &Spanned<T>) -> Self {
        self.details.section = Some(section.referenced.into());
        self
    }

    /// Whether the key that the other problem is about would have prevented this problem.
    fn is_caused_by(&self, other: &Self) -> bool {
        let Details { lacks, lacks_here, .. } = &*self.details;
        lacks.iter().any(|key| other.means(key)) && (!lacks_here || other.details.section == Some(self.place))
    }

    /// Says that there is no problem where Egret asks the Kubernetes API server.
    pub(super) fn without_api_server(mut self) -> Self {
        self.details.needs_api_server = true;
        self
    }

    /// Returns whether there is no problem where Egret asks the Kubernetes API server.
    pub(super) fn needs_api_server(&self) -> bool {
        self.details.needs_api_server
    }

    /// Makes it a warning: the configuration is valid.
    pub(super) fn warning(mut self) -> Self {
        self.is_warning = true;
        self
    }

    /// Returns whether the configuration is invalid because of it.
    pub(super) fn is_error(&self) -> bool {
        !self.is_warning
    }

    /// Returns the problem of a text that is not YAML.
    pub(super) fn in_syntax(source: &Source, error: &serde_saphyr::Error) -> Self {
        let rule = error.without_snippet().to_string();
        // The place is shown, and what the library's caller could set is nothing to the reader.
        let rule = [" at line ", ", set ", "; use "]
            .iter()
            .fold(rule.as_str(), |rule, tail| rule.split_once(tail).map_or(rule, |(rule, _)| rule));
        let is_too_much = matches!(error.without_snippet(), serde_saphyr::Error::Budget { .. });
        let rule = if is_too_much { "the file is too large, or nests more than 100 levels" } else { rule };
        let start = Place { line: source.lines_before + 1, column: 1, length: 0 };
        let place = error.location().map_or(start, Place::from).max(start);
        let help = if rule.contains("duplicate") {
            "keep one of them"
        } else if is_too_much {
            "move policies to fragments, and APIs to further files"
        } else {
            "check the indentation (spaces, no tabs); quote values with `{`, `*`, `: ` or ` #`, like \"{{partner-key}}\""
        };
        Self::new(place, rule.to_owned(), help.to_owned())
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
            // What found the place may count in bytes, and end within a character.
            let (start, end) =
                (written.value.floor_char_boundary(part.start), written.value.ceil_char_boundary(part.end));
            self.place.column += quotes + written.value[..start].chars().count();
            self.place.length = end - start;
        }
        self
    }

    /// Whether it is about something in the line in which this begins.
    pub(super) fn is_in_line_of<T>(&self, written: &Spanned<T>) -> bool {
        let line = Place::from(written.referenced).line;
        self.place.line == line || self.other.is_some_and(|other| other.line == line)
    }

    /// With another help.
    pub(super) fn helped(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// Shows another place too.
    pub(super) fn with<T>(self, other: &Spanned<T>) -> Self {
        self.with_labelled(other, "the other one")
    }

    /// Shows another place too, and says what it is.
    pub(super) fn with_labelled<T>(mut self, other: &Spanned<T>, label: &'static str) -> Self {
        self.other = Some(other.referenced.into());
        self.details.label = label;
        self
    }
}

/// An error or a warning, ready to be read: file, line, column, the text underlined, the rule and a help line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic(String);

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    /// The errors and warnings, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
    errors: usize,
    path: PathBuf,
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.diagnostics {
            writeln!(f, "{diagnostic}\n")?;
        }
        let count = self.errors;
        write!(f, "{}: {}", self.path.display(), number(count, "error"))
    }
}

impl Diagnostics {
    pub(super) fn of_file(path: &Path, rule: &str, help: &str) -> Self {
        let text = format!("error: {} {rule}\n  = help: {help}", path.display());
        Self { diagnostics: vec![Diagnostic(text)], errors: 1, path: path.to_owned() }
    }

    pub(super) fn new(path: &Path, sources: &[Source], problems: Vec<Problem>) -> Self {
        let errors = problems.iter().filter(|problem| problem.is_error()).count();
        Self { diagnostics: diagnostics(sources, problems), errors, path: path.to_owned() }
    }
}

/// Returns the problems without those that another problem causes, and without repetitions: one mistake is one problem.
pub(super) fn only_causes(problems: Vec<Problem>) -> Vec<Problem> {
    let mut causes: Vec<Problem> = Vec::new();
    for problem in &problems {
        if !causes.contains(problem) && !problems.iter().any(|other| problem.is_caused_by(other)) {
            causes.push(problem.clone());
        }
    }
    causes
}

/// Returns problems as people read them, in the order of the text.
pub(super) fn diagnostics(sources: &[Source], mut problems: Vec<Problem>) -> Vec<Diagnostic> {
    problems.sort_by_key(|problem| problem.place);
    problems.iter().map(|problem| render(sources, problem)).collect()
}

fn render<'a>(sources: &'a [Source], problem: &Problem) -> Diagnostic {
    let Some((source, range)) = place(sources, problem.place) else {
        let level = if problem.is_warning { "warning" } else { "error" };
        return Diagnostic(format!("{level}: {}\n  = help: {}", problem.rule, problem.help));
    };
    let label = problem.details.label;
    let other = problem.other.and_then(|other| place(sources, other));
    let (here, elsewhere): (Vec<_>, Vec<_>) = other.into_iter().partition(|(other, _)| std::ptr::eq(*other, source));
    let snippet =
        |source: &'a Source| Snippet::source(source.text.as_str()).path(source.path.to_string_lossy().into_owned());
    let context = |(_, range): (_, Range<usize>)| AnnotationKind::Context.span(range).label(label);
    let primary = AnnotationKind::Primary.span(range);
    let level = if problem.is_warning { Level::WARNING } else { Level::ERROR };
    let report = level
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

//! The only place where commands write. Every value is shown so that a terminal does not act on it.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::model::{printable, printable_json};

/// Prints one line; line breaks in the text are escaped.
pub(super) fn line(text: impl AsRef<str>) -> io::Result<()> {
    writeln!(io::stdout(), "{}", printable(text.as_ref()))
}

/// Prints a text of several lines.
pub(super) fn lines(text: &str) -> io::Result<()> {
    text.lines().try_for_each(line)
}

/// Prints a value as indented JSON.
pub(super) fn json(value: &impl Serialize) -> io::Result<()> {
    writeln!(io::stdout(), "{}", printable_json(&serde_json::to_string_pretty(value)?))
}

/// Prints a value as JSON in one line.
pub(super) fn json_line(value: &impl Serialize) -> io::Result<()> {
    writeln!(io::stdout(), "{}", printable_json(&serde_json::to_string(value)?))
}

/// Prints a file's content as it is.
pub(super) fn raw(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}

/// Prints a text of one or several lines to standard error.
pub(super) fn error(text: &str) {
    for line in text.lines() {
        // If nobody reads standard error, there is nobody to tell.
        let _ = writeln!(io::stderr(), "{}", printable(line));
    }
}

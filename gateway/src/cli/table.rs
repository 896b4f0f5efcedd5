//! Tables for people, JSON for programs.

use std::io;

use comfy_table::{Table, presets};
use serde::Serialize;

use super::{Output, out};
use crate::model::printable;

/// A cell of a table: one line for each text.
pub(super) struct Cell(Vec<String>);

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self(vec![text.to_string()])
    }
}

impl Cell {
    /// Returns a cell of several lines.
    pub(super) fn lines(texts: impl IntoIterator<Item = String>) -> Self {
        Self(texts.into_iter().collect())
    }

    fn shown(self) -> String {
        self.0.iter().map(|text| printable(text)).collect::<Vec<_>>().join("\n")
    }
}

/// Prints rows as JSON, or as a table with these columns.
pub(super) fn print<Row: Serialize, C: Into<Cell>, const N: usize>(
    rows: &[Row],
    output: Output,
    columns: [&str; N],
    cells: impl Fn(&Row) -> [C; N],
) -> io::Result<()> {
    match output {
        Output::Json => out::json(&rows),
        Output::Table if rows.is_empty() => out::line("none"),
        Output::Table => {
            let mut table = Table::new();
            table.load_style(presets::NOTHING).set_header(columns);
            table.add_rows(rows.iter().map(|row| cells(row).map(|cell| cell.into().shown())));
            out::lines(&table.to_string())
        }
    }
}

/// Returns the value as text, or a dash.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Returns the values as a list in one line, or a dash.
pub(super) fn list<T: ToString>(values: &[T]) -> String {
    let texts: Vec<_> = values.iter().map(ToString::to_string).collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(", ") }
}

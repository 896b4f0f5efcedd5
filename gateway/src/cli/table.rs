//! Tables for people, JSON for programs.

use comfy_table::{Table, presets};
use serde::Serialize;

use super::Output;

/// Prints rows as JSON, or as a table with these columns.
pub(super) fn print<Row: Serialize, const N: usize>(
    rows: &[Row],
    output: Output,
    columns: [&str; N],
    cells: impl Fn(&Row) -> [String; N],
) -> anyhow::Result<()> {
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(rows)?),
        Output::Table if rows.is_empty() => println!("none"),
        Output::Table => {
            let mut table = Table::new();
            table.load_style(presets::NOTHING).set_header(columns);
            table.add_rows(rows.iter().map(&cells));
            println!("{table}");
        }
    }
    Ok(())
}

/// A value or a dash.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A list, or a dash.
pub(super) fn list<T: ToString>(values: &[T]) -> String {
    let texts: Vec<_> = values.iter().map(ToString::to_string).collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(", ") }
}

//! A file of rows, one JSON array a line, of which a later one replaces an earlier one: what changes is added at the end, so
//! that a change costs as much as it is, not as much as there is.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::policy::QuotaRow;

/// The file is written anew, without the rows that later ones replace, when it has this many more rows than are needed ...
const SPARE: usize = 10_000;

/// ... but no more often than this.
const PAUSE: Duration = Duration::from_secs(60);

/// The owner of a row that an older version has written without one.
type OldRow = (String, String, u64, Option<u64>);

/// The open file.
pub(super) struct Journal {
    path: PathBuf,
    /// Absent until it is written anew for the first time, and after a failure.
    open: Option<Open>,
}

struct Open {
    file: File,
    /// Rows in it, and how many of them are needed, at most.
    rows: usize,
    needed: usize,
    since: Instant,
}

impl Journal {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// Adds rows; where the file is to be written anew, `all` gives the rows of it, these included.
    pub(super) fn add(&mut self, rows: &[QuotaRow], all: impl FnOnce() -> Vec<QuotaRow>) -> io::Result<()> {
        match self.open.take().filter(|open| !open.is_due()) {
            Some(mut open) => {
                open.file.write_all(&lines(rows)?)?;
                open.file.sync_data()?;
                open.rows += rows.len();
                self.open = Some(open);
            }
            None => {
                let all = all();
                super::write_anew(&self.path, &lines(&all)?)?;
                let file = OpenOptions::new().append(true).open(&self.path)?;
                self.open = Some(Open { file, rows: all.len(), needed: all.len(), since: Instant::now() });
            }
        }
        Ok(())
    }
}

impl Open {
    fn is_due(&self) -> bool {
        self.rows >= 2 * self.needed + SPARE && self.since.elapsed() >= PAUSE
    }
}

fn lines(rows: &[QuotaRow]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut text, row)?;
        text.push(b'\n');
    }
    Ok(text)
}

/// Returns the rows of a file. The last line may be a part of one, of a process that was killed.
pub(super) fn rows(text: &[u8]) -> serde_json::Result<Vec<QuotaRow>> {
    if let Ok(old) = serde_json::from_slice::<Vec<OldRow>>(text) {
        let with_owner = |(quota, key, count, until): OldRow| (quota, key, count, until, String::new());
        return Ok(old.into_iter().map(with_owner).collect());
    }
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole == 0 && !text.is_empty() {
        return serde_json::from_slice::<QuotaRow>(text).map(|row| vec![row]);
    }
    text[..whole].split_inclusive(|byte| *byte == b'\n').map(serde_json::from_slice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, count: u64) -> QuotaRow {
        ("quota".into(), key.into(), count, None, "owner".into())
    }

    #[test]
    fn rows_are_added_and_read_in_their_order() {
        let directory = std::env::temp_dir().join(format!("egret-journal-{}", std::process::id()));
        let path = directory.join("quotas.json");
        let mut journal = Journal::new(path.clone());
        journal.add(&[row("a", 1)], || vec![row("a", 1), row("b", 1)]).unwrap();
        journal.add(&[row("a", 2)], || panic!("only what has changed is written")).unwrap();
        let mut text = std::fs::read(&path).unwrap();
        assert_eq!(rows(&text).unwrap(), [row("a", 1), row("b", 1), row("a", 2)]);
        text.extend_from_slice(b"[\"quota\",\"a\",");
        assert_eq!(rows(&text).unwrap().len(), 3, "a line that was cut off is left out");
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn files_of_older_versions_are_read_and_others_refused() {
        assert_eq!(rows(b"[[\"quota\",\"a\",3,null]]").unwrap()[0].2, 3);
        assert_eq!(rows(b"").unwrap(), []);
        assert!(rows(b"something else").is_err());
        assert!(rows(b"something\nelse\n").is_err());
    }
}

//! Where a configuration says that Egret's hooks and files are. For a removal, nothing else of it must be valid: the files that it names may
//! be gone already.

use std::path::{Path, PathBuf};

use serde_saphyr::Spanned;

use super::diagnostic::{Diagnostics, Problem};
use super::document::Node;
use super::environment::Given;
use super::{read, source};

/// What a configuration says of it; what is absent is at its usual place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locations {
    /// The value of `capture.pins`.
    pub pins: Option<PathBuf>,
    /// The value of `admin.socket`.
    pub socket: Option<PathBuf>,
    /// The value of `state.directory`.
    pub state: Option<PathBuf>,
}

/// Reads them from a file, or from the YAML files of a directory.
///
/// # Errors
/// It cannot be read, is not YAML, or one of them is no path.
pub fn locations(path: &Path) -> Result<Locations, Diagnostics> {
    let sources = source::read(path, Given::default())?;
    let (mut found, mut problems) = (Locations::default(), Vec::new());
    for source in &sources {
        match read::<Spanned<Node>>(&source.numbered()) {
            Ok(document) => found.add(&document, &mut problems),
            Err(error) => problems.push(Problem::in_syntax(source, &error)),
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(Diagnostics::new(path, &sources, problems)) }
}

/// Returns whether there is a configuration at a path.
pub fn is_written(path: &Path) -> bool {
    path.is_file() || source::yaml_files(path).is_ok_and(|files| !files.is_empty())
}

impl Locations {
    fn add(&mut self, document: &Spanned<Node>, problems: &mut Vec<Problem>) {
        let places = [
            ("capture", "pins", &mut self.pins),
            ("admin", "socket", &mut self.socket),
            ("state", "directory", &mut self.state),
        ];
        for (section, key, place) in places {
            let Some(value) = entry(document, section).and_then(|section| entry(section, key)) else { continue };
            match &value.value {
                Node::Null => {}
                Node::Text(text) => *place = Some(text.into()),
                _ => problems.push(Problem::at(
                    value,
                    format!("`{section}.{key}` is not a path"),
                    "write a path from the root, like /data/egret",
                )),
            }
        }
    }
}

fn entry<'a>(of: &'a Spanned<Node>, name: &str) -> Option<&'a Spanned<Node>> {
    of.value.entries().iter().find(|(key, _)| key.value == name).map(|(_, value)| value)
}

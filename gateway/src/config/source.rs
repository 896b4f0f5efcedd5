//! The files a configuration is written in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostics;
use super::environment::Given;

/// One file. Lines are numbered through all files, so that a line says which file it is in.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// Lines of the files before it.
    pub(super) lines_before: usize,
    /// The variable of the environment that gives it: a key of a file goes before it.
    pub(super) variable: Option<String>,
}

impl Source {
    /// The text, pushed down to where it is in the numbering.
    pub(super) fn numbered(&self) -> String {
        "\n".repeat(self.lines_before) + &self.text
    }
}

/// Texts with their paths, in their order.
pub(super) fn number(texts: impl IntoIterator<Item = (PathBuf, String)>) -> Vec<Source> {
    let mut lines_before = 0;
    let source = |(path, text): (PathBuf, String)| {
        let source = Source { path, text, lines_before, variable: None };
        lines_before += source.text.lines().count() + 1;
        source
    };
    texts.into_iter().map(source).collect()
}

/// The file, or the YAML files of the directory in the order of their names, and what the environment gives. If that has an API, the
/// file may be absent.
pub(super) fn read(path: &Path, given: Given) -> Result<Vec<Source>, Diagnostics> {
    let unreadable = |path: &Path, error: io::Error| {
        Diagnostics::of_file(path, &format!("cannot be read: {error}"), "name a YAML file or a directory that exists")
    };
    let paths = if given.has_api && !path.exists() {
        Vec::new()
    } else if path.is_dir() {
        let paths = yaml_files(path).map_err(|error| unreadable(path, error))?;
        if paths.is_empty() && !given.has_api {
            return Err(Diagnostics::of_file(path, "has no configuration", "put a file named *.yaml into it"));
        }
        paths
    } else {
        vec![path.to_owned()]
    };
    let text = |path: PathBuf| match fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(error) => Err(unreadable(&path, error)),
    };
    let files = paths.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let written = files.len();
    let mut sources = number(files.into_iter().chain(given.documents));
    for source in sources.iter_mut().skip(written) {
        source.variable = Some(source.path.display().to_string());
    }
    Ok(sources)
}

/// Links count as what they point to: so Kubernetes mounts a ConfigMap.
pub(super) fn yaml_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    let mut paths: Vec<_> =
        entries.iter().map(fs::DirEntry::path).filter(|path| is_yaml(path) && path.is_file()).collect();
    paths.sort();
    Ok(paths)
}

/// Whether a file of a directory is part of the configuration, by its name.
pub(super) fn is_yaml(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

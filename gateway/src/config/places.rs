use std::collections::BTreeMap;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use serde_saphyr::Spanned;

use super::document::Node;
use super::source::Source;

/// Where keys are written: those of the whole configuration, and those of each API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    keys: BTreeMap<(String, String), String>,
    digest: String,
}

impl Places {
    pub(super) fn of<'a>(sources: &[Source], documents: impl Iterator<Item = &'a Spanned<Node>>) -> Self {
        let mut places = BTreeMap::new();
        let mut note = |api: &str, key: &Spanned<String>| {
            let line = usize::try_from(key.referenced.line()).unwrap_or(0);
            let source = sources.iter().rev().find(|source| source.lines_before < line);
            let path = source.map_or(Path::new(""), |source| &source.path);
            let line = line - source.map_or(0, |source| source.lines_before);
            let at = format!("{}:{line}", path.display());
            places.entry((api.to_owned(), key.value.clone())).or_insert(at);
        };
        for (key, value) in documents.flat_map(|document| document.value.entries()) {
            note("", key);
            let Node::List(items) = &value.value else { continue };
            for item in items.iter().filter(|_| key.value == "apis") {
                let entries = item.value.entries();
                let Some((_, name)) = entries.iter().find(|(key, _)| key.value == "name") else { continue };
                let Node::Text(name) = &name.value else { continue };
                entries.iter().for_each(|(key, _)| note(name.trim(), key));
            }
        }
        Self { keys: places, digest: digest(sources) }
    }

    /// Returns the beginning of a digest of the files, in hexadecimal: the same on all nodes whose files have the same names and texts.
    /// What the environment says, which may differ from node to node, is not in it.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Returns the file and line of a key of an API; of the whole configuration, if the API's name is empty. A key that is not written
    /// is nowhere.
    pub fn at(&self, api: &str, key: &str) -> Option<String> {
        self.keys.get(&(api.to_owned(), key.to_owned())).cloned()
    }
}

fn digest(sources: &[Source]) -> String {
    let mut context = Context::new(&SHA256);
    for Source { path, text, .. } in sources.iter().filter(|source| source.variable.is_none()) {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        // A directory is the same configuration wherever it is.
        for part in [name, text.as_bytes()] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
    }
    let bytes = context.finish();
    bytes.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

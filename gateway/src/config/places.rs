use std::collections::BTreeMap;
use std::path::Path;

use serde_saphyr::Spanned;

use super::document::Node;
use super::source::Source;

/// Where keys are written: those of the whole configuration, and those of each API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(BTreeMap<(String, String), String>);

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
        Self(places)
    }

    /// Returns the file and line of a key of an API; of the whole configuration, if the API's name is empty. A key that is not written
    /// is nowhere.
    pub fn at(&self, api: &str, key: &str) -> Option<String> {
        self.0.get(&(api.to_owned(), key.to_owned())).cloned()
    }
}

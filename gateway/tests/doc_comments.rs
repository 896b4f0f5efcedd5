//! Doc comments are sentences that stand alone, not fragments: see CONTRIBUTING.md.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms whose doc comments come with the redesign of policies.
const LATER: &[&str] =
    &["policy", "policy.rs", "model/policy", "model/policy.rs", "config/file/policies", "config/compile/policies"];

fn sources() -> Vec<(PathBuf, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut folders) = (Vec::new(), vec![source.clone()]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let below = path.strip_prefix(&source).unwrap().to_owned();
            if LATER.iter().any(|later| below.starts_with(later)) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((below, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

/// The doc comments of a file, each as one text with the number of its first line.
fn doc_comments(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in text.lines().enumerate() {
        match (line.trim_start().strip_prefix("///"), open) {
            (Some(rest), true) => found.last_mut().unwrap().1.push_str(rest),
            (Some(rest), false) => found.push((number + 1, rest.trim_start().to_owned())),
            (None, _) => {}
        }
        open = line.trim_start().starts_with("///");
    }
    found
}

/// Under three words, or a sentence that begins in the middle.
fn is_fragment(comment: &str) -> bool {
    comment.split_whitespace().count() < 3 || comment.starts_with(char::is_lowercase)
}

#[test]
fn doc_comments_are_sentences() {
    let found: Vec<_> = sources()
        .iter()
        .flat_map(|(path, text)| {
            let fragments = doc_comments(text).into_iter().filter(|(_, comment)| is_fragment(comment));
            fragments.map(|(line, comment)| format!("{}:{line}: {comment}", path.display())).collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "{} doc comments are fragments:\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_fragment_is_known_as_one() {
    assert!(is_fragment("Whom."));
    assert!(is_fragment("as of an API's backend, with the same keys."));
    assert!(!is_fragment("The address that a connection leaves from."));
}

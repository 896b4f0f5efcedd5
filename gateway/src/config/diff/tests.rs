use std::path::Path;

use super::super::{Generation, load, tests as golden};
use super::*;

#[test]
fn changes_are_told_in_words() {
    let directory = golden::directory("changes");
    let entries = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    for case in cases {
        let compiled = |name: &str| load(&case.join(name), Generation(1)).unwrap_or_else(|errors| panic!("{errors}"));
        let (old, new) = (compiled("old.yaml"), compiled("new.yaml"));
        let (before, after) = (case.join("old.yaml"), case.join("new.yaml"));
        let told = diff((&old, &before), (&new, &after))
            .iter()
            .fold(String::new(), |text, change| text + &format!("{change}\n"));
        golden::assert_golden(&case.join("changes.txt"), &told);
        assert_eq!(diff((&old, &before), (&old, &before)), []);
        assert_eq!(diff((&new, &after), (&new, &after)), []);
    }
}

#[test]
fn each_example_is_as_it_is_and_differs_from_the_smallest() {
    let smallest = load(&golden::directory("egret.yaml"), Generation(1)).unwrap();
    for path in golden::configurations("examples") {
        let compiled = |path: &Path| load(path, Generation(1)).unwrap();
        let (once, again) = (compiled(&path), compiled(&path));
        assert_eq!(diff((&once, &path), (&again, &path)), [], "{}", path.display());
        assert_ne!(diff((&smallest, &path), (&again, &path)), [], "{}", path.display());
    }
}

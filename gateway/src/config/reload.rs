use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::source::is_yaml;

/// A save is several events; one reading follows them.
const TOGETHER: Duration = Duration::from_millis(100);

/// Calls back after every saved change of the file, or of the YAML files of the directory, until the returned watcher
/// is dropped.
///
/// A directory is watched, never a file: editors and Kubernetes (`..data`) replace it.
///
/// # Errors
/// The directory cannot be watched.
pub fn watch(path: &Path, on_change: impl Fn() + Send + 'static) -> anyhow::Result<RecommendedWatcher> {
    let (directory, file) = if path.is_dir() {
        (path.to_owned(), None)
    } else {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        (parent.map_or_else(|| PathBuf::from("."), Path::to_owned), path.file_name().map(OsStr::to_owned))
    };
    let concerns = move |changed: &Path| {
        let Some(name) = changed.file_name() else { return true };
        let kubernetes = name.as_encoded_bytes().starts_with(b"..");
        kubernetes || file.as_ref().map_or_else(|| is_yaml(changed), |file| name == file)
    };
    let (events, mut changes) = mpsc::unbounded_channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error may have hidden a change.
        if event.map_or(true, |event| !event.kind.is_access() && event.paths.iter().any(|path| concerns(path))) {
            let _ = events.send(());
        }
    })?;
    watcher.watch(&directory, RecursiveMode::NonRecursive)?;
    tokio::spawn(async move {
        while changes.recv().await.is_some() {
            // Not until it is quiet: a file may change all the time.
            tokio::time::sleep(TOGETHER).await;
            while changes.try_recv().is_ok() {}
            on_change();
        }
    });
    Ok(watcher)
}

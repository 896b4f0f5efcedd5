use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// A save is several events; one reading follows them.
const TOGETHER: Duration = Duration::from_millis(100);

/// Calls back after every saved change of the file, until the returned watcher is dropped.
///
/// The directory is watched, not the file: editors and Kubernetes (`..data`) replace it.
///
/// # Errors
/// The directory cannot be watched.
pub fn watch(path: &Path, on_change: impl Fn() + Send + 'static) -> anyhow::Result<RecommendedWatcher> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let (events, mut changes) = mpsc::unbounded_channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if !event.is_ok_and(|event| event.kind.is_access()) {
            let _ = events.send(());
        }
    })?;
    watcher.watch(&directory, RecursiveMode::NonRecursive)?;
    tokio::spawn(async move {
        while changes.recv().await.is_some() {
            // Not until it is quiet: other files of the directory, a log, may change all the time.
            tokio::time::sleep(TOGETHER).await;
            while changes.try_recv().is_ok() {}
            on_change();
        }
    });
    Ok(watcher)
}

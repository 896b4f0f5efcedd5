//! The files that Egret leaves when it ends.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::remembered::{QUOTAS, REFRESH_TOKENS};

/// Returns the files that are there: beside the admin socket, and in the directory of the state. A CA elsewhere is the user's own.
pub fn leftovers(socket: &Path, state: &Path) -> Vec<PathBuf> {
    let beside = ["sock", "lock", "replaced"].map(|extension| socket.with_extension(extension));
    let kept = ["ca.pem", "ca-key.pem", QUOTAS, REFRESH_TOKENS].map(|name| state.join(name));
    let mut all: Vec<_> = beside.into_iter().chain(kept).collect();
    all[0] = socket.to_owned();
    all.retain(|path| path.symlink_metadata().is_ok());
    all
}

/// Removes these files.
///
/// # Errors
/// One cannot be removed.
pub fn remove_leftovers(files: &[PathBuf]) -> io::Result<()> {
    for path in files {
        fs::remove_file(path)
            .map_err(|error| io::Error::other(format!("cannot remove {}: {error}", path.display())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_egret_are_left_over() {
        let directory = std::env::temp_dir().join(format!("egret-leftovers-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        for name in ["admin.sock", "admin.lock", "admin.replaced", "ca.pem", "ca-key.pem", "quotas.json", "notes.txt"] {
            fs::write(directory.join(name), "").unwrap();
        }
        let files = leftovers(&directory.join("admin.sock"), &directory);
        assert_eq!(files.len(), 6, "{files:?}");
        remove_leftovers(&files).unwrap();
        assert!(leftovers(&directory.join("admin.sock"), &directory).is_empty());
        assert!(directory.join("notes.txt").exists());
        fs::remove_dir_all(directory).unwrap();
    }
}

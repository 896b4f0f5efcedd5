//! The network namespaces of the node's processes.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::sched::{CloneFlags, setns};

/// Most namespaces that are looked at.
const MOST: usize = 4096;

/// Calls this in each network namespace, with the number of the namespace, in a thread of its own. A namespace that ends meanwhile,
/// or that this process may not enter, is left out.
pub(super) fn each(mut look: impl FnMut(u64) -> io::Result<()> + Send) -> io::Result<()> {
    std::thread::scope(|scope| {
        let looking = scope.spawn(move || {
            let own = fs::metadata("/proc/thread-self/ns/net")?.ino();
            look(own)?;
            for (namespace, path) in others(own) {
                let entered = File::open(path).and_then(|file| {
                    // Another namespace may have this process id now.
                    let is_same = file.metadata()?.ino() == namespace;
                    Ok(is_same && setns(file, CloneFlags::CLONE_NEWNET).is_ok())
                });
                if matches!(entered, Ok(true)) {
                    // A namespace in which the kernel lists nothing keeps no other from being looked at.
                    let _ = look(namespace);
                }
            }
            Ok(())
        });
        looking.join().unwrap_or_else(|_| Err(io::Error::other("the thread that looks at namespaces panicked")))
    })
}

/// Returns the namespaces other than this one, with a path to each.
fn others(own: u64) -> HashMap<u64, PathBuf> {
    let mut found = HashMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let is_process =
            process.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_process || found.len() >= MOST {
            continue;
        }
        let path = process.path().join("ns/net");
        if let Ok(namespace) = fs::metadata(&path).map(|metadata| metadata.ino())
            && namespace != own
        {
            found.entry(namespace).or_insert(path);
        }
    }
    found
}

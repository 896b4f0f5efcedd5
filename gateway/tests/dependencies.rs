//! deny.toml's bans, checked over what is really built: also where cargo-deny is not installed.

use std::path::Path;
use std::process::Command;

#[test]
fn no_banned_crate_is_built() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let denied = std::fs::read_to_string(root.join("deny.toml")).unwrap();
    let banned: Vec<_> = denied
        .lines()
        .filter_map(|line| line.trim().strip_prefix("{ crate = \"")?.split_once('"'))
        .map(|(name, _)| name)
        .collect();
    assert!(!banned.is_empty());
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--locked", "--offline", "--prefix", "none", "--format", "{p}"])
        .args(["--edges", "normal,build,dev"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let built: Vec<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let found: Vec<_> = banned.iter().filter(|name| built.contains(name)).collect();
    assert!(found.is_empty(), "{found:?} are built: deny.toml says why they must not be");
}

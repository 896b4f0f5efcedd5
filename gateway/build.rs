//! Finds the kernel half's object, which `cargo xtask` builds beforehand.
#![allow(clippy::disallowed_macros, reason = "cargo reads the standard output of a build script")]

use std::env;
use std::path::PathBuf;

fn main() {
    // Asked for at run time: a copied target directory may hold this program as another checkout built it.
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    let default = || manifest.join("../target/egret-hooks.o");
    let object = env::var_os("EGRET_HOOKS").map_or_else(default, PathBuf::from);
    println!("cargo:rerun-if-env-changed=EGRET_HOOKS");
    println!("cargo:rerun-if-changed={}", object.display());
    match object.canonicalize() {
        Ok(object) => println!("cargo:rustc-env=EGRET_HOOKS_OBJECT={}", object.display()),
        Err(error) => println!(
            "cargo::error=the kernel half is not built ({}: {error}): run `cargo xtask build`",
            object.display()
        ),
    }
}

//! `egret`: see `egret --help`.
fn main() {}

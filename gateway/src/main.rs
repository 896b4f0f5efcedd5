//! `egret`: see `egret --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    egret::cli::main()
}

//! `egret`: see `egret --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    if egret::capture::was_caller() {
        return ExitCode::SUCCESS;
    }
    egret::cli::main()
}

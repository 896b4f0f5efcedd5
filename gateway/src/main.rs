//! `egret`: see `egret --help`.

use std::process::ExitCode;

/// Gives back to the system what connections at rest do not need; glibc keeps most of it, in pieces.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if egret::capture::was_caller() {
        return ExitCode::SUCCESS;
    }
    egret::cli::main()
}

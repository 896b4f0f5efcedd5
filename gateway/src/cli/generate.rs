use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, Subcommand};
use clap_complete::Shell;

use super::{Cli, Failure};
use crate::config;

#[derive(Debug, Args)]
pub(super) struct Generate {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Completions for a shell, on standard output.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// The manual pages, into a directory.
    Man {
        /// The directory.
        directory: PathBuf,
    },
    /// The reference of every configuration key, on standard output.
    Reference,
    /// The JSON Schema of the configuration, on standard output.
    Schema,
}

impl Generate {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Completions { shell } => {
                clap_complete::generate(shell, &mut Cli::command(), "egret", &mut io::stdout());
            }
            What::Man { directory } => man(&directory)?,
            What::Reference => print!("{}", config::reference()),
            What::Schema => print!("{}", config::schema()),
        }
        Ok(())
    }
}

fn man(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(Cli::command(), directory)
}

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, Subcommand};
use clap_complete::Shell;

use super::{Cli, Failure, out};
use crate::config;

#[derive(Debug, Args)]
pub(super) struct Generate {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print completions for a shell.
    Completions {
        /// The shell to complete for.
        shell: Shell,
    },
    /// Write the manual pages to a directory.
    Man {
        /// The directory to write to.
        directory: PathBuf,
    },
    /// Print the reference of the configuration keys.
    Reference,
    /// Print the JSON Schema of the configuration.
    Schema,
}

impl Generate {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Completions { shell } => {
                clap_complete::generate(shell, &mut Cli::command(), "egret", &mut io::stdout());
            }
            What::Man { directory } => man(&directory)?,
            What::Reference => out::raw(&config::reference())?,
            What::Schema => out::raw(&config::schema())?,
        }
        Ok(())
    }
}

fn man(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(Cli::command(), directory)
}

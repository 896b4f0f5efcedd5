mod stores;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use clap::{Args, Subcommand};

use super::ask::UNEXPECTED;
use super::{Daemon, Failure, ask, out};
use crate::admin::{Client, Request, Response};
use crate::model::number;

#[derive(Debug, Args)]
pub(super) struct Trust {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the certificate of the CA (PEM).
    Export {
        #[command(flatten)]
        daemon: Daemon,
        /// Add the system's certificate authorities, for programs whose own list the file replaces.
        #[arg(long)]
        bundle: bool,
    },
    /// Write the files that programs need to trust the CA to a directory, and print the environment variables that name them:
    /// `eval "$(egret trust env DIRECTORY)"`.
    Env {
        #[command(flatten)]
        daemon: Daemon,
        /// The directory; it is created if it does not exist.
        directory: PathBuf,
    },
    /// Add the CA to the certificate store of this host.
    Install {
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Remove the CA from the certificate store of this host. No daemon is needed.
    Remove,
    /// Intercept callers again whose connections are passed through because they refused the CA.
    Forget {
        #[command(flatten)]
        daemon: Daemon,
    },
}

impl Trust {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Export { daemon, bundle: false } => out::raw(&certificate(&daemon)?)?,
            What::Export { daemon, bundle: true } => out::raw(&bundle(&certificate(&daemon)?))?,
            What::Env { daemon, directory } => {
                for (name, value) in environment(&daemon, &directory)? {
                    out::line(format!("export {name}={}", quoted(&value)))?;
                }
            }
            What::Install { daemon } => {
                let (path, same) = stores::install(&certificate(&daemon)?)?;
                out::line(format!("{}: {}", path.display(), if same { "already installed" } else { "installed" }))?;
                out::lines(OTHERS)?;
            }
            What::Remove => match stores::remove()?.as_slice() {
                [] => out::line("not installed")?,
                removed => removed.iter().try_for_each(|path| out::line(format!("{}: removed", path.display())))?,
            },
            What::Forget { daemon } => forget(&daemon)?,
        }
        Ok(())
    }
}

/// Environment variables, and whether the file that each names replaces a program's own list of authorities (or adds to it).
const VARIABLES: [(&str, bool); 9] = [
    // OpenSSL (also of Python and Ruby) and Go.
    ("SSL_CERT_FILE", true),
    ("CURL_CA_BUNDLE", true),
    ("REQUESTS_CA_BUNDLE", true),
    ("AWS_CA_BUNDLE", true),
    ("GIT_SSL_CAINFO", true),
    ("PIP_CERT", true),
    ("CARGO_HTTP_CAINFO", true),
    ("NODE_EXTRA_CA_CERTS", false),
    ("DENO_CERT", false),
];

/// Writes the files to a directory and returns the environment variables that name them.
pub(super) fn environment(daemon: &Daemon, directory: &Path) -> Result<Vec<(&'static str, String)>, Failure> {
    let own = certificate(daemon)?;
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let directory = directory.canonicalize()?;
    let (alone, all) = (directory.join("ca.pem"), directory.join("bundle.pem"));
    fs::write(&alone, &own).with_context(|| format!("cannot write {}", alone.display()))?;
    fs::write(&all, bundle(&own)).with_context(|| format!("cannot write {}", all.display()))?;
    let file = |in_place: bool| if in_place { &all } else { &alone }.display().to_string();
    let mut variables: Vec<_> = VARIABLES.into_iter().map(|(name, in_place)| (name, file(in_place))).collect();
    match java(&alone, &directory.join("java.p12")) {
        Ok(options) => variables.push(("JAVA_TOOL_OPTIONS", options)),
        Err(error) => out::error(&format!("egret: no setting for Java: {error:#}")),
    }
    Ok(variables)
}

/// Names the programs that do not use the host's certificate store.
const OTHERS: &str =
    "Restart running programs: they read the store when they start. Node.js, Python's requests and httpx, and Firefox do not use it;
Java does only where the system adds certificates to Java's store. Use `egret trust env` for these.";

/// Returns the text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn forget(daemon: &Daemon) -> Result<(), Failure> {
    match Client::connect(&daemon.socket)?.ask(&Request::ForgetRefusals)? {
        Response::Forgotten(count) => out::line(format!(
            "forgot {}: the next connections of these callers are intercepted",
            number(count, "refusal")
        ))?,
        _ => return Err(anyhow::anyhow!(UNEXPECTED).into()),
    }
    Ok(())
}

/// Returns the certificate of the running daemon's CA.
fn certificate(daemon: &Daemon) -> Result<String, Failure> {
    let path = ask::status(&daemon.socket)?.ca;
    let help = "Egret creates its CA when the first API is intercepted";
    let pem = fs::read_to_string(&path).with_context(|| format!("cannot read {} ({help})", path.display()))?;
    Ok(pem)
}

fn bundle(own: &str) -> String {
    let system = rustls_native_certs::load_native_certs();
    for error in system.errors {
        out::error(&format!("egret: cannot read some of the system's certificate authorities: {error}"));
    }
    let system =
        system.certs.into_iter().map(|certificate| pem::encode(&pem::Pem::new("CERTIFICATE", certificate.to_vec())));
    system.chain([own.to_owned()]).collect()
}

/// Copies Java's certificate store, adds the CA with Java's own tool, and returns the options that select the copy.
fn java(certificate: &Path, store: &Path) -> anyhow::Result<String> {
    const PASSWORD: &str = "changeit";
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("lib/security/cacerts"));
    let known = home.into_iter().chain([PathBuf::from("/etc/ssl/certs/java/cacerts")]).find(|path| path.exists());
    let known = known.context("its certificate store is not found: set JAVA_HOME")?;
    fs::copy(&known, store).with_context(|| format!("cannot copy {}", known.display()))?;
    let arguments = ["-importcert", "-noprompt", "-alias", "egret", "-storepass", PASSWORD, "-keystore"];
    let import = Command::new("keytool")
        .args(arguments)
        .arg(store)
        .arg("-file")
        .arg(certificate)
        .stdin(Stdio::null())
        .output()
        .context("cannot run keytool, which comes with Java")?;
    if !import.status.success() {
        anyhow::bail!("keytool: {}", String::from_utf8_lossy(&import.stdout).trim());
    }
    Ok(format!("-Djavax.net.ssl.trustStore={} -Djavax.net.ssl.trustStorePassword={PASSWORD}", store.display()))
}

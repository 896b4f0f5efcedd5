mod stores;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use clap::{Args, Subcommand};

use super::{Daemon, Failure, ask};
use crate::admin::{Client, Request, Response};

#[derive(Debug, Args)]
pub(super) struct Trust {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the CA's certificate, PEM.
    Export {
        #[command(flatten)]
        daemon: Daemon,
        /// With the system's authorities: for programs that take one file instead of theirs.
        #[arg(long)]
        bundle: bool,
    },
    /// Write what programs need to trust the CA into a directory, and print the environment that makes them use it:
    /// `eval "$(egret trust env DIRECTORY)"`.
    Env {
        #[command(flatten)]
        daemon: Daemon,
        /// The directory.
        directory: PathBuf,
    },
    /// Put the CA into the host's own store of authorities.
    Install {
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Take it out again; no daemon is needed.
    Remove,
    /// Intercept callers again that were passed through since they refused the CA.
    Forget {
        #[command(flatten)]
        daemon: Daemon,
    },
}

impl Trust {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Export { daemon, bundle: false } => print!("{}", certificate(&daemon)?),
            What::Export { daemon, bundle: true } => print!("{}", bundle(&certificate(&daemon)?)),
            What::Env { daemon, directory } => {
                for (name, value) in environment(&daemon, &directory)? {
                    println!("export {name}='{value}'");
                }
            }
            What::Install { daemon } => {
                let (path, same) = stores::install(&certificate(&daemon)?)?;
                println!("{}: {}", path.display(), if same { "was there already" } else { "installed" });
                println!("{OTHERS}");
            }
            What::Remove => match stores::remove()?.as_slice() {
                [] => println!("not installed"),
                removed => removed.iter().for_each(|path| println!("{}: removed", path.display())),
            },
            What::Forget { daemon } => forget(&daemon)?,
        }
        Ok(())
    }
}

/// What a program reads, and whether it takes the file in place of its own authorities, or beside them.
const VARIABLES: [(&str, bool); 9] = [
    // OpenSSL, and so Python's ssl and Ruby; Go.
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

/// Writes the files and names the variables that point to them.
pub(super) fn environment(daemon: &Daemon, directory: &Path) -> Result<Vec<(&'static str, String)>, Failure> {
    let own = certificate(daemon)?;
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let directory = directory.canonicalize()?;
    let (alone, all) = (directory.join("ca.pem"), directory.join("bundle.pem"));
    fs::write(&alone, &own).with_context(|| format!("cannot write {}", alone.display()))?;
    fs::write(&all, bundle(&own)).with_context(|| format!("cannot write {}", all.display()))?;
    let file = |in_place: bool| if in_place { &all } else { &alone }.display().to_string();
    let mut variables: Vec<_> = VARIABLES.into_iter().map(|(name, in_place)| (name, file(in_place))).collect();
    match java(&alone, &directory.join("java.p12")) {
        Ok(options) => variables.push(("JAVA_TOOL_OPTIONS", options)),
        Err(error) => eprintln!("egret: Java is left out: {error:#}"),
    }
    Ok(variables)
}

/// Programs that have authorities of their own.
const OTHERS: &str =
    "Running programs read it when they are started anew. Node.js, Python's requests and httpx, Firefox, and Java
where the system has no hook for it, have authorities of their own: `egret trust env` is for them.";

fn forget(daemon: &Daemon) -> Result<(), Failure> {
    match Client::connect(&daemon.socket)?.ask(&Request::ForgetRefusals)? {
        Response::Forgotten(count) => println!("{count} forgotten: their next connections are intercepted"),
        other => return Err(anyhow::anyhow!("the daemon answered something else: {other:?}").into()),
    }
    Ok(())
}

/// The CA of the running daemon.
fn certificate(daemon: &Daemon) -> Result<String, Failure> {
    let path = ask::status(&daemon.socket)?.ca;
    let help = "no API is intercepted, so there is no CA yet";
    let pem = fs::read_to_string(&path).with_context(|| format!("cannot read {} ({help})", path.display()))?;
    Ok(pem)
}

fn bundle(own: &str) -> String {
    let system = rustls_native_certs::load_native_certs();
    for error in system.errors {
        eprintln!("egret: the system's authorities: {error}");
    }
    let system =
        system.certs.into_iter().map(|certificate| pem::encode(&pem::Pem::new("CERTIFICATE", certificate.to_vec())));
    system.chain([own.to_owned()]).collect()
}

/// Java's authorities and the CA, in a store of its own format: its own tool writes it.
fn java(certificate: &Path, store: &Path) -> anyhow::Result<String> {
    const PASSWORD: &str = "changeit";
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("lib/security/cacerts"));
    let known = home.into_iter().chain([PathBuf::from("/etc/ssl/certs/java/cacerts")]).find(|path| path.exists());
    let known = known.context("its authorities are not found: set JAVA_HOME")?;
    fs::copy(&known, store).with_context(|| format!("cannot copy {}", known.display()))?;
    let arguments = ["-importcert", "-noprompt", "-alias", "egret", "-storepass", PASSWORD, "-keystore"];
    let import = Command::new("keytool")
        .args(arguments)
        .arg(store)
        .arg("-file")
        .arg(certificate)
        .stdin(Stdio::null())
        .output()
        .context("keytool, which comes with Java, cannot be run")?;
    if !import.status.success() {
        anyhow::bail!("keytool: {}", String::from_utf8_lossy(&import.stdout).trim());
    }
    Ok(format!("-Djavax.net.ssl.trustStore={} -Djavax.net.ssl.trustStorePassword={PASSWORD}", store.display()))
}

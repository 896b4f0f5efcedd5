//! What runs a caller: it says what makes the caller trust the CA.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Runtimes and tools that have a way of their own to trust a CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// The command curl.
    Curl,
    /// The .NET runtime.
    Dotnet,
    /// The command git.
    Git,
    /// A program written in Go.
    Go,
    /// A Java virtual machine.
    Java,
    /// The Node.js runtime.
    Node,
    /// The PHP interpreter.
    Php,
    /// The Python interpreter.
    Python,
    /// The Ruby interpreter.
    Ruby,
    /// The command wget.
    Wget,
}

/// Beginnings of the names of executables.
const NAMES: [(&str, Runtime); 11] = [
    ("curl", Runtime::Curl),
    ("dotnet", Runtime::Dotnet),
    ("git", Runtime::Git),
    ("java", Runtime::Java),
    ("node", Runtime::Node),
    ("nodejs", Runtime::Node),
    ("php", Runtime::Php),
    ("python", Runtime::Python),
    ("pypy", Runtime::Python),
    ("ruby", Runtime::Ruby),
    ("wget", Runtime::Wget),
];

/// Where the linker of Go puts its build ID, and what stands before it.
const GO_HEAD: u64 = 16 * 1024;
const GO_MARK: &[u8] = b"Go build ID: \"";

impl Runtime {
    /// Of a process, if it still runs and is one of them.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let executable = Path::new("/proc").join(pid.to_string()).join("exe");
        let name = fs::read_link(&executable).ok()?;
        let name = name.file_name()?.to_str()?;
        Self::named(name).or_else(|| is_go(&executable).then_some(Self::Go))
    }

    fn named(executable: &str) -> Option<Self> {
        let is = |name: &str| {
            // `python3.11`, `git-remote-http`; not `javascript-lint`.
            executable.strip_prefix(name).is_some_and(|rest| !rest.starts_with(char::is_alphabetic))
        };
        NAMES.iter().find(|(name, _)| is(name)).map(|(_, runtime)| *runtime)
    }

    /// What a person calls it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Curl => "curl",
            Self::Dotnet => ".NET",
            Self::Git => "git",
            Self::Go => "Go",
            Self::Java => "Java",
            Self::Node => "Node.js",
            Self::Php => "PHP",
            Self::Python => "Python",
            Self::Ruby => "Ruby",
            Self::Wget => "wget",
        }
    }

    /// What makes it trust the CA.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Curl => "CURL_CA_BUNDLE of `egret trust env`",
            Self::Dotnet | Self::Go | Self::Ruby => "SSL_CERT_FILE of `egret trust env`",
            Self::Git => "GIT_SSL_CAINFO of `egret trust env`",
            Self::Java => "JAVA_TOOL_OPTIONS of `egret trust env`",
            Self::Node => "NODE_EXTRA_CA_CERTS of `egret trust env`",
            Self::Php => "openssl.cafile in php.ini: `egret trust export --bundle`",
            Self::Python => "SSL_CERT_FILE and REQUESTS_CA_BUNDLE of `egret trust env`",
            Self::Wget => "--ca-certificate: `egret trust export --bundle`",
        }
    }
}

fn is_go(executable: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(executable).and_then(|file| file.take(GO_HEAD).read_to_end(&mut head));
    read.is_ok() && head.windows(GO_MARK.len()).any(|window| window == GO_MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_have_runtimes() {
        for (name, runtime) in [
            ("python3.11", Some(Runtime::Python)),
            ("java", Some(Runtime::Java)),
            ("javac-like", None),
            ("git-remote-http", Some(Runtime::Git)),
            ("nodejs", Some(Runtime::Node)),
            ("billing", None),
        ] {
            assert_eq!(Runtime::named(name), runtime, "{name}");
        }
    }
}

//! Processes of the lab: applications that a test talks to while they run, and real servers.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running application, which says lines and hears lines; killed when dropped.
#[derive(Debug)]
pub struct Conversation {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Conversation {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the application starts");
        let (input, output) = (process.stdin.take(), process.stdout.take());
        Self { process, input: input.expect("a pipe"), output: BufReader::new(output.expect("a pipe")) }
    }

    /// The next line it says, without its end; empty when it has ended.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line of text");
        line.trim_end().to_owned()
    }

    /// Tells it a line.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the application listens");
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Service {
    process: Child,
}

impl Service {
    pub(crate) fn start(mut command: Command, port: u16) -> Self {
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut service = Self { process: process.unwrap_or_else(|error| panic!("{command:?}: {error}")) };
        let pid = service.process.id();
        crate::eventually("the server listens", || {
            let ended = service.process.try_wait().expect("a child");
            assert!(ended.is_none(), "{command:?} ended: {ended:?}");
            listens(pid, port)
        });
        service
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether something listens on this TCP port in the network namespace of this process.
pub fn listens(pid: u32, port: u16) -> bool {
    const LISTEN: &str = "0A";
    let port = format!(":{port:04X}");
    ["tcp", "tcp6"].iter().any(|table| {
        let sockets = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        sockets.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next().is_some_and(|local| local.ends_with(&port)) && fields.nth(1) == Some(LISTEN)
        })
    })
}

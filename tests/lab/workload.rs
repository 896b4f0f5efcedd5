//! Applications that a test talks to while they run.

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

//! What is known only when a response has ended: how many bytes passed, and how many tokens a language model has used.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::model::Told;

/// The most bytes of a response, or of a line of one, that are kept to find its usage.
const LARGEST: usize = 1 << 20;

/// The end of a longer response that is kept, in bytes: its usage is there.
const END: usize = 64 << 10;

/// Watches a request and its response as they pass, and settles when the response has ended.
#[derive(Default)]
pub struct Meters {
    /// The bytes of the request's body so far, where they are counted.
    sent: Option<Arc<AtomicU64>>,
    received: u64,
    tokens: Option<Tokens>,
    settle: Vec<Settle>,
}

type Run = dyn FnOnce(&Passed) -> Vec<Told> + Send + Sync;

/// What happens when the response has ended. The records that it returns are dropped where its policy only reports.
struct Settle {
    run: Box<Run>,
    is_silent: bool,
}

/// What has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The bytes of both bodies.
    pub bytes: u64,
    /// The tokens, as the response says or as Egret estimates.
    pub usage: Usage,
    /// When the response ended, on the clock of [`super::call::Context::at`].
    pub at: Duration,
}

/// The tokens of a language model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The tokens of the request.
    pub prompt: u64,
    /// The tokens of the response.
    pub completion: u64,
    /// Whether they are estimated, because the response does not say.
    pub guessed: bool,
}

impl Usage {
    /// Returns the tokens of both.
    pub fn total(self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }
}

impl Meters {
    /// Returns whether there is nothing to watch for.
    pub fn is_empty(&self) -> bool {
        self.settle.is_empty()
    }

    pub(in crate::policy) fn add(&mut self, settle: impl FnOnce(&Passed) -> Vec<Told> + Send + Sync + 'static) {
        self.settle.push(Settle { run: Box::new(settle), is_silent: false });
    }

    /// Returns how many things happen when the response has ended.
    pub(super) fn mark(&self) -> usize {
        self.settle.len()
    }

    /// Drops the records of all that was added since a mark. What it counts is counted.
    pub(super) fn silence(&mut self, mark: usize) {
        self.settle.iter_mut().skip(mark).for_each(|settle| settle.is_silent = true);
    }

    /// Counts tokens from now on.
    pub(in crate::policy) fn reads_tokens(&mut self) {
        self.tokens.get_or_insert_default();
    }

    /// Returns the counter for the bytes of the request's body.
    pub fn sent(&mut self) -> Arc<AtomicU64> {
        Arc::clone(self.sent.get_or_insert_default())
    }

    /// Is told that a response of this content type begins.
    pub fn begins(&mut self, content_type: &str) {
        if let Some(tokens) = &mut self.tokens {
            tokens.stream = content_type.trim_start().starts_with("text/event-stream");
        }
    }

    /// Is told of further bytes of the response.
    pub fn see(&mut self, bytes: &[u8]) {
        self.received += bytes.len() as u64;
        if let Some(tokens) = &mut self.tokens {
            tokens.see(bytes);
        }
    }

    /// Returns how many bytes of the answer are kept.
    pub fn kept(&self) -> usize {
        self.tokens.as_ref().map_or(0, |tokens| tokens.kept.len())
    }

    /// Keeps nothing of the response more, because there is no room. Its tokens are estimated, as those of one that is too long.
    pub fn give_up(&mut self) {
        if let Some(tokens) = &mut self.tokens {
            (tokens.kept, tokens.given_up) = (Vec::new(), true);
        }
    }

    /// Is told that the response has ended. Returns the records about it.
    pub fn settle(&mut self, at: Duration) -> Vec<Told> {
        let sent = self.sent.as_ref().map_or(0, |sent| sent.load(Ordering::Relaxed));
        let usage = self.tokens.take().map(|tokens| tokens.usage(sent)).unwrap_or_default();
        let passed = Passed { bytes: sent + self.received, usage, at };
        let mut told = Vec::new();
        for Settle { run, is_silent } in self.settle.drain(..) {
            let records = run(&passed);
            told.extend(records.into_iter().filter(|_| !is_silent));
        }
        told
    }
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").field("settle", &self.settle.len()).finish_non_exhaustive()
    }
}

/// Finds the usage in a response of a language model's API: in its JSON, or in an event of a stream.
#[derive(Debug, Default)]
struct Tokens {
    stream: bool,
    /// Of the answer, or of a line of it.
    kept: Vec<u8>,
    /// Whether nothing is kept, for lack of room.
    given_up: bool,
    /// Whether that is only the end of the answer.
    cut: bool,
    found: Option<Usage>,
    /// Events with a piece of the answer: about a token each.
    pieces: u64,
}

impl Tokens {
    fn see(&mut self, bytes: &[u8]) {
        if self.given_up {
            return;
        }
        if !self.stream {
            self.kept.extend_from_slice(bytes);
            if self.kept.len() > LARGEST {
                self.cut = true;
                self.kept.drain(..self.kept.len() - END);
            }
            return;
        }
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.kept.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.kept);
            self.line(&line);
        }
        if self.kept.len() + rest.len() <= LARGEST {
            self.kept.extend_from_slice(rest);
        }
    }

    fn line(&mut self, line: &[u8]) {
        let Some(data) = line.strip_prefix(b"data:") else { return };
        let Ok(event) = serde_json::from_slice::<Value>(data) else { return };
        self.learn(&event);
        let piece = |choice: &Value| !choice["delta"]["content"].is_null() || !choice["text"].is_null();
        let chat = event["choices"].as_array().is_some_and(|choices| choices.iter().any(piece));
        let other = event["type"].as_str().is_some_and(|kind| kind.ends_with(".delta") || kind.ends_with("_delta"));
        self.pieces += u64::from(chat || other);
    }

    /// Of an answer whose beginning is gone.
    fn end(&mut self, text: &[u8]) {
        // In a text of the answer its quotes would be escaped.
        const NAME: &[u8] = b"\"usage\"";
        let Some(at) = text.windows(NAME.len()).rposition(|window| window == NAME) else { return };
        let Some(value) = text[at + NAME.len()..].trim_ascii_start().strip_prefix(b":") else { return };
        if let Some(Ok(usage)) = serde_json::Deserializer::from_slice(value).into_iter::<Value>().next() {
            self.learn(&serde_json::json!({ "usage": usage }));
        }
    }

    /// Providers say it here and there; of several sayings the largest number holds.
    fn learn(&mut self, json: &Value) {
        for usage in [&json["usage"], &json["response"]["usage"], &json["message"]["usage"]] {
            let number = |names: [&str; 2]| names.iter().find_map(|name| usage[name].as_u64());
            let prompt = number(["prompt_tokens", "input_tokens"]);
            let completion = number(["completion_tokens", "output_tokens"]);
            if prompt.is_some() || completion.is_some() {
                let found = self.found.get_or_insert_default();
                found.prompt = found.prompt.max(prompt.unwrap_or_default());
                found.completion = found.completion.max(completion.unwrap_or_default());
            }
        }
    }

    fn usage(mut self, sent: u64) -> Usage {
        let rest = std::mem::take(&mut self.kept);
        if self.given_up || self.stream {
            self.line(&rest);
        } else if self.cut {
            self.end(&rest);
            // What is as large has cost something.
            self.found.get_or_insert(Usage { prompt: guess(sent), completion: 0, guessed: true });
        } else if let Ok(json) = serde_json::from_slice(&rest) {
            self.learn(&json);
        }
        match self.found {
            Some(usage) => usage,
            // An answer without a word of a model has cost nothing.
            None if self.pieces == 0 && !self.given_up => Usage::default(),
            None => Usage { prompt: guess(sent), completion: self.pieces, guessed: true },
        }
    }
}

/// Returns an estimate of the tokens in so many bytes of a request: about four bytes each.
pub(in crate::policy) fn guess(bytes: u64) -> u64 {
    bytes.div_ceil(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(content_type: &str, pieces: &[&str]) -> Usage {
        let mut meters = Meters::default();
        meters.reads_tokens();
        meters.begins(content_type);
        meters.sent().store(40, Ordering::Relaxed);
        pieces.iter().for_each(|piece| meters.see(piece.as_bytes()));
        let (sender, receiver) = std::sync::mpsc::channel();
        meters.add(move |passed| {
            sender.send(passed.usage).unwrap();
            Vec::new()
        });
        assert!(meters.settle(Duration::ZERO).is_empty());
        receiver.recv().unwrap()
    }

    #[test]
    fn an_answer_says_what_it_has_cost() {
        let said = |prompt, completion| Usage { prompt, completion, guessed: false };
        let json = "application/json";
        assert_eq!(
            usage(json, &["{\"id\": 1, \"usage\": {\"prompt_to", "kens\": 9, \"completion_tokens\": 12}}"]),
            said(9, 12)
        );
        assert_eq!(usage(json, &["{\"usage\": {\"input_tokens\": 3, \"output_tokens\": 4}}"]), said(3, 4));
        assert_eq!(usage(json, &["{\"error\": {\"message\": \"no\"}}"]), said(0, 0));
        assert_eq!(usage(json, &["not JSON"]), said(0, 0));
    }

    #[test]
    fn what_is_not_kept_for_lack_of_room_is_guessed() {
        for kind in ["application/json", "text/event-stream"] {
            let mut meters = Meters::default();
            meters.reads_tokens();
            meters.begins(kind);
            meters.sent().store(40, Ordering::Relaxed);
            meters.see(b"data: {");
            assert_eq!(meters.kept(), 7);
            meters.give_up();
            meters.see(b"\"usage\": 1}");
            assert_eq!(meters.kept(), 0);
            let (sender, receiver) = std::sync::mpsc::channel();
            meters.add(move |passed| {
                sender.send(passed.usage).unwrap();
                Vec::new()
            });
            meters.settle(Duration::ZERO);
            assert_eq!(receiver.recv().unwrap(), Usage { prompt: 10, completion: 0, guessed: true });
        }
    }

    /// Embeddings are.
    #[test]
    fn large_answers_cost_what_they_say() {
        let vectors = format!("{{\"data\": [{}], ", ["0.25"; 400_000].join(","));
        let end = "\"text\": \"\\\"usage\\\": 1\", \"usage\": {\"prompt_tokens\": 9, \"total_tokens\": 9}}";
        let kind = "application/json";
        assert_eq!(usage(kind, &[&vectors, end]), Usage { prompt: 9, completion: 0, guessed: false });
        assert_eq!(usage(kind, &[&[&vectors, end].concat()]).total(), 9);
        assert_eq!(usage(kind, &[&vectors, "\"data2\": []}"]), Usage { prompt: 10, completion: 0, guessed: true });
    }

    #[test]
    fn a_stream_says_it_at_its_end_or_lets_guess() {
        let kind = "text/event-stream; charset=utf-8";
        let event = "data: {\"choices\": [{\"delta\": {\"content\": \"a\"}}]}\n\n";
        let last =
            "data: {\"choices\": [], \"usage\": {\"prompt_tokens\": 7, \"completion_tokens\": 2}}\n\ndata: [DONE]\n\n";
        let whole = [event, event, last].concat();
        let (first, second) = whole.split_at(77);
        assert_eq!(usage(kind, &[first, second]), Usage { prompt: 7, completion: 2, guessed: false });
        assert_eq!(usage(kind, &[event, event]), Usage { prompt: 10, completion: 2, guessed: true });
        let start = "event: message_start\ndata: {\"type\": \"message_start\", \"message\": {\"usage\": {\"input_tokens\": 25, \"output_tokens\": 1}}}\n\n";
        let delta = "data: {\"type\": \"message_delta\", \"usage\": {\"output_tokens\": 15}}";
        assert_eq!(usage(kind, &[start, delta]), Usage { prompt: 25, completion: 15, guessed: false });
        assert_eq!(usage(kind, &["data: {\"type\": \"response.completed\", \"response\": {\"usage\": {\"input_tokens\": 5, \"output_tokens\": 6}}}\n"]).total(), 11);
    }
}

//! What the configuration and the kinds of policies share: written texts with their places, and what compiles them.

mod audience;
mod form;
mod tls;
mod workload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;
use serde_saphyr::Spanned;

pub use self::form::{At, Form, about};
pub use self::tls::{ClientCertificateFile, TlsFile};
pub use self::workload::WorkloadFile;
use crate::model::{
    CounterStore, Discovery, Endpoint, Expression, KeySet, KeySource, LimitId, OfPlace, Schema, Section, Service,
    Template, WorkloadMatch,
};

/// A text of the configuration, and where it is written.
pub type Text = Spanned<String>;

/// The value that an expression must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Wanted {
    Any,
    Bool,
    Int,
    Number,
}

/// What a kind of policy needs to compile what is written. The room `config` implements it, which knows the rest of the configuration.
/// Each function reports what is wrong with its text.
pub trait Reader {
    /// Reports a mistake at a place: the rule that is broken, and what to do about it.
    fn problem(&mut self, place: Spanned<()>, rule: String, help: String);

    /// Reports a mistake that is caused by missing keys. A misspelt key that means one of these is reported instead.
    fn lacking(&mut self, place: Spanned<()>, rule: String, help: String, keys: &'static [&'static str]);

    /// Returns the section in which the policy is written.
    fn section(&self) -> Section;

    /// Returns whether Egret writes an access log.
    fn has_access_log(&self) -> bool;

    /// Compiles a template.
    fn template(&mut self, written: &Text) -> Template;

    /// Compiles a template for a URL, or for a path with a query.
    fn url(&mut self, written: &Text) -> Template;

    /// Compiles a template for a body of this media type.
    fn body(&mut self, written: &Text, media_type: Option<&str>) -> Template;

    /// Compiles a template for a piece of a body of any media type.
    fn piece(&mut self, written: &Text) -> Template;

    /// Compiles a template for bytes, which may be no text.
    fn bytes(&mut self, written: &Text) -> Template;

    /// Returns the current value of a template that has no expressions, if its named values can be read.
    fn constant(&self, template: &Template) -> Option<Vec<u8>>;

    /// Compiles an expression.
    fn expression(&mut self, written: &Text, wanted: Wanted) -> Option<Expression>;

    /// Compiles a condition that may also refer to the response, wherever it is written.
    fn response_condition(&mut self, written: &Text) -> Option<Expression>;

    /// Returns the name of a header field in lower case, if policies may use it. It may be the key of what is written.
    fn header_named(&mut self, name: &str, written: &Text) -> Option<Arc<str>>;

    /// Returns whether a variable holds a secret: some policy that sets it says so.
    fn is_secret(&self, variable: &str) -> bool;

    /// Returns a duration, or another one if it is not valid.
    fn duration(&mut self, written: &Text, otherwise: Duration) -> Duration;

    /// Returns what the policy's counts are stored under. No other policy has it.
    fn identity(&mut self, name: &str, key: Option<&Expression>) -> OfPlace<LimitId>;

    /// Returns the store in which nodes count together.
    fn counters(&mut self, written: &Spanned<bool>) -> Option<Arc<CounterStore>>;

    /// Returns the server of a URL, and a template for the path and query.
    fn endpoint(&mut self, url: &Text, tls: Option<&TlsFile>) -> Option<(Arc<Endpoint>, Template)>;

    /// Returns the HTTPS server of this name, which may have a port.
    fn server(&mut self, name: &str, written: &Text, tls: Option<&TlsFile>) -> Option<Arc<Endpoint>>;

    /// Returns the backend of this name.
    fn backend(&mut self, name: &Text) -> Option<Arc<Service>>;

    /// Reads the keys of a file. All policies that name it share them.
    fn key_set(&mut self, path: &Text, source: &dyn Fn(PathBuf) -> KeySource) -> Option<Arc<KeySet>>;

    /// Returns the keys of a server. All policies that name it share them.
    fn remote_keys(&mut self, endpoint: Arc<Endpoint>, target: Arc<str>, discovery: Option<Discovery>) -> Arc<KeySet>;

    /// Reads a JSON Schema.
    fn schema(&mut self, path: &Text) -> Option<Schema>;

    /// Returns an address or a network.
    fn addresses(&mut self, written: &Text) -> Option<IpNet>;

    /// Compiles patterns of workloads.
    fn workloads(&mut self, written: &[WorkloadFile]) -> Vec<WorkloadMatch>;
}

/// What follows from the above.
impl dyn Reader + '_ {
    /// Reports a mistake in what is written: the rule that is broken, and what to do about it.
    pub fn wrong<T>(&mut self, written: &Spanned<T>, rule: impl Into<String>, help: impl Into<String>) {
        self.problem(place(written), rule.into(), help.into());
    }

    /// Returns the name of a header field in lower case, if policies may use it.
    pub fn header(&mut self, written: &Text) -> Option<Arc<str>> {
        self.header_named(&written.value, written)
    }

    /// Returns the same as a name of HTTP.
    pub fn header_name(&mut self, written: &Text) -> Option<HeaderName> {
        self.header(written).and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok())
    }

    /// Returns the name of a variable.
    pub fn variable(&mut self, written: &Text) -> Arc<str> {
        let name = written.value.trim();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let rule = format!("`{}` is not the name of a variable", written.value);
            self.wrong(written, rule, "use letters, digits and _");
        }
        name.into()
    }

    /// Returns the duration that is written, if one is; one second if it is not valid.
    pub fn optional_duration(&mut self, written: Option<&Text>) -> Option<Duration> {
        written.map(|written| self.duration(written, Duration::from_secs(1)))
    }

    /// Returns the meaning of one of these words; of the first, if nothing is written. `rule` says what another word is not.
    pub fn one_of<T: Copy>(&mut self, written: Option<&Text>, rule: &str, words: &[(&str, T)]) -> T {
        let default = words[0].1;
        let Some(written) = written else { return default };
        if let Some((_, meant)) = words.iter().find(|(word, _)| *word == written.value.trim()) {
            return *meant;
        }
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let all = match words.as_slice() {
            [all @ .., last] if !all.is_empty() => format!("{} or {last}", all.join(", ")),
            all => all.concat(),
        };
        self.wrong(written, format!("`{}` is {rule}", written.value), format!("write {all}"));
        default
    }
}

/// Returns the media type that header fields say, if it is fixed.
pub fn content_type(headers: &[(Arc<str>, Template)]) -> Option<&str> {
    headers.iter().find(|(name, _)| **name == *"content-type").and_then(|(_, value)| value.literal())
}

/// Returns where something is written.
pub fn place<T>(written: &Spanned<T>) -> Spanned<()> {
    Spanned::new((), written.referenced, written.defined)
}

/// Returns which of two lists is written, where exactly one must be, and whether it is the first one.
///
/// # Errors
/// Says that it is not exactly one.
pub fn either<'a, T>(allow: Option<&'a Vec<T>>, forbid: Option<&'a Vec<T>>) -> Result<(bool, &'a [T]), &'static str> {
    match (allow, forbid) {
        (Some(allow), None) => Ok((true, allow)),
        (None, Some(forbid)) => Ok((false, forbid)),
        (None, None) | (Some(_), Some(_)) => Err("exactly one of `allow` and `forbid` is required"),
    }
}

//! What the configuration and the kinds of policies share: written texts with their places, and what compiles them.

mod workload;

use std::sync::Arc;

use ipnet::IpNet;
use serde_saphyr::Spanned;

pub use self::workload::WorkloadFile;
use crate::model::{Template, WorkloadMatch};

/// A text of the configuration, and where it is written.
pub type Text = Spanned<String>;

/// What a kind of policy needs to compile what is written. The room `config` implements it, which knows the rest of the configuration.
/// Each function reports what is wrong with its text.
pub trait Reader {
    /// Reports a mistake at a place: the rule that is broken, and what to do about it.
    fn problem(&mut self, place: Spanned<()>, rule: String, help: String);

    /// Compiles a template.
    fn template(&mut self, written: &Text) -> Template;

    /// Returns the name of a header field in lower case, if policies may use it.
    fn header(&mut self, written: &Text) -> Option<Arc<str>>;

    /// Returns an address or a network.
    fn addresses(&mut self, written: &Text) -> Option<IpNet>;

    /// Compiles patterns of workloads.
    fn workloads(&mut self, written: &[WorkloadFile]) -> Vec<WorkloadMatch>;
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

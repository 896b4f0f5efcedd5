use std::sync::Arc;

use serde_saphyr::Spanned;

use crate::config::diagnostic::Problem;

/// Returns the protocols to which callers may change a connection, in lower case.
pub(super) fn upgrades(written: &[Spanned<String>], problems: &mut Vec<Problem>) -> Vec<Arc<str>> {
    let mut names = Vec::new();
    for written in written {
        let name = written.value.trim().to_ascii_lowercase();
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c);
        if name.is_empty() || !name.chars().all(is_token) {
            problems.push(Problem::at(written, "this is not the name of a protocol", "write a name like websocket"));
        } else if ["h2c", "http", "tls"].contains(&name.split('/').next().unwrap_or_default()) {
            let help = "remove it: callers that ask for it go on with HTTP/1.1";
            problems.push(Problem::at(written, format!("{name} would carry further requests past all policies"), help));
        } else {
            names.push(name.as_str().into());
        }
    }
    names
}

//! `log` as it is written.

use std::sync::Arc;

use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Log;
use crate::model::{Pattern, Redact};
use crate::syntax::{Form, Reader, Text};

/// The bytes of a body that are recorded, if nothing is written.
const DEFAULT_BYTES: u32 = 4096;

/// Writes the request or the response to the access log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LogFile {
    /// A text beside it, a template. Default: none. Example: `"order of ${workload.unit}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub message: Option<Text>,
    /// Whether the record contains the body, if it is not compressed. A request's body is then read whole, up to `max_body`
    /// bytes; of a response's body Egret reads only what it records. Default: false.
    #[serde(default)]
    pub body: bool,
    /// The number of bytes of the body that are recorded. Default: 4096. Example: `1024`.
    #[serde(default)]
    #[schemars(with = "Option<u32>", range(min = 1, max = 1_048_576))]
    pub max_bytes: Option<Spanned<u32>>,
    /// What Egret masks, beside Authorization, Cookie and other headers that it always masks. A body that cannot be masked,
    /// because it is longer than `max_body` or not JSON where `json` is set, is not recorded.
    #[serde(default)]
    #[schemars(with = "Option<RedactFile>")]
    pub redact: Option<Spanned<RedactFile>>,
}

/// What Egret masks in records.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RedactFile {
    /// Names of headers. Default: none. Example: `[X-Customer]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub headers: Vec<Text>,
    /// Places in a JSON body (RFC 6901); `*` stands for each part. Default: none. Example: `[/card/number, /items/*/price]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub json: Vec<Text>,
    /// Regular expressions: what matches is masked in the path, in headers and in the body. Default: none. Example:
    /// `['[0-9]{16}']`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub text: Vec<Text>,
}

impl Form for Log {
    type File = LogFile;
    type Compiled = Self;
    const ABOUT: &'static str =
        "Writes a line with the request (in inbound and backend) or the response to the access log.";

    fn compile(written: &Spanned<LogFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        if !reader.has_access_log() {
            let help = "write telemetry: {access_log: PATH}, or remove `access_log: off`";
            reader.wrong(written, "`log` has no effect: the access log is off", help);
        }
        if let Some(written) = file.max_bytes.as_ref().filter(|_| !file.body) {
            reader.wrong(written, "`max_bytes` has no effect: the body is not recorded", "add body: true");
        }
        let bytes = file.max_bytes.as_ref().map_or(DEFAULT_BYTES, |written| written.value);
        Some(Self {
            message: file.message.as_ref().map(|message| reader.recorded_body(message)),
            body: file.body,
            max_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            redact: file.redact.as_ref().map(|written| redact(&written.value, file.body, reader)).unwrap_or_default(),
        })
    }
}

fn redact(file: &RedactFile, body: bool, reader: &mut dyn Reader) -> Redact {
    let mut redact = Redact::default();
    for written in &file.headers {
        match written.value.trim().parse() {
            Ok(name) => redact.headers.push(name),
            Err(_) => {
                let rule = format!("`{}` is not the name of a header", written.value);
                reader.wrong(written, rule, "write a name like X-Customer");
            }
        }
    }
    if let Some(first) = file.json.first().filter(|_| !body) {
        reader.wrong(first, "`json` has no effect: the body is not recorded", "add body: true");
    }
    for written in &file.json {
        match written.value.strip_prefix('/').and_then(pointer) {
            Some(place) => redact.json.push(place),
            None => {
                let help = "write a JSON pointer like /card/number; in a name, write ~ as ~0 and / as ~1 (RFC 6901)";
                reader.wrong(written, format!("`{}` is not a JSON pointer", written.value), help);
            }
        }
    }
    for written in &file.text {
        match Regex::new(&written.value) {
            Ok(regex) => redact.text.push(Pattern(regex)),
            Err(error) => {
                let error = error.to_string();
                let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let help = "use the syntax of RE2 (the Rust crate regex), without look-around and back-references";
                reader.wrong(written, format!("this is not a regular expression: {why}"), help);
            }
        }
    }
    redact
}

/// The names of a place in JSON, without the slash before the first (RFC 6901 §3).
fn pointer(text: &str) -> Option<Vec<Arc<str>>> {
    let name = |escaped: &str| {
        let mut escapes = escaped.split('~').skip(1);
        let fits = escapes.all(|after| after.starts_with(['0', '1']));
        fits.then(|| escaped.replace("~1", "/").replace("~0", "~").into())
    };
    text.split('/').map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::pointer;

    #[test]
    fn places_are_read() {
        let read = |text| pointer(text).map(|names| names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        assert_eq!(read("card/number").unwrap(), ["card", "number"]);
        assert_eq!(read("a~1b/m~0n/~01").unwrap(), ["a/b", "m~n", "~1"]);
        assert_eq!(read("").unwrap(), [""]);
        assert_eq!(read("a~2"), None);
        assert_eq!(read("a~"), None);
    }
}

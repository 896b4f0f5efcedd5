//! `authentication-aws-sigv4` as it is written.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::AwsSigv4;
use crate::syntax::{Form, Reader, Text};

/// An AWS signature, version 4, in `Authorization`. It covers the method, the path, the query, the host, `Content-Type`,
/// `Content-MD5`, all `X-Amz-*` headers and the body.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AwsSigv4File {
    /// The AWS region. Example: `eu-central-1`.
    #[schemars(with = "String")]
    pub region: Text,
    /// The AWS service. For `s3`, the path is signed as it is, and the request carries the hash of its body. Example:
    /// `execute-api`.
    #[schemars(with = "String")]
    pub service: Text,
    /// The id of the access key, usually a `{{named value}}`. Example: `"{{aws-access-key}}"`.
    #[schemars(with = "String")]
    pub access_key: Text,
    /// The secret access key, usually a `{{named value}}`. Egret never sends it. Example: `"{{aws-secret-key}}"`.
    #[schemars(with = "String")]
    pub secret_key: Text,
    /// The session token of temporary credentials, usually a `{{named value}}`. Default: none. Example:
    /// `"{{aws-session-token}}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub session_token: Option<Text>,
    /// Whether the body is not signed and is streamed, where the service allows it (s3 does). If false, Egret reads the whole
    /// body, up to `max_body`. Default: false.
    #[serde(default)]
    pub unsigned_payload: bool,
}

impl Form for AwsSigv4 {
    type File = AwsSigv4File;
    type Compiled = Self;
    const ABOUT: &'static str =
        "Signs the request with AWS Signature Version 4. Policies that change the request must run before it.";

    fn compile(written: &Spanned<AwsSigv4File>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        Some(Self {
            region: word(&file.region, "write a name like eu-central-1", reader),
            service: word(&file.service, "write a name like s3", reader),
            access_key: reader.template(&file.access_key),
            secret_key: reader.template(&file.secret_key),
            session_token: file.session_token.as_ref().map(|token| reader.template(token)),
            unsigned_payload: file.unsigned_payload,
        })
    }
}

fn word(written: &Text, help: &str, reader: &mut dyn Reader) -> Arc<str> {
    let text = written.value.trim();
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        let rule = format!("`{}` is not the name of an AWS region or service", written.value);
        reader.wrong(written, rule, help);
    }
    text.into()
}

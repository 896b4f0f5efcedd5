//! `send-request` and `send-one-way-request` as they are written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::SendRequest;
use crate::model::Template;
use crate::syntax::{Form, Reader, Text, TlsFile, content_type};

/// Sends a request to a server.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SendRequestFile {
    /// The URL. Scheme, name and port are literal: no request decides where Egret connects. Path and query are a template, whose
    /// values are encoded as those of `rewrite-uri`. Example: `"https://hooks.example/calls/${request.id}"`.
    #[schemars(with = "String")]
    pub url: Text,
    /// The method. Default: GET. Example: `POST`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub method: Option<Text>,
    /// Names and values (templates) of headers. Default: none. Example: `{Content-Type: application/json}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<String, Text>,
    /// The body, a template. Values are encoded as those of `set-body`, for the `Content-Type` in `headers` if that is JSON, XML or
    /// a form. Default: empty. Example: `'{"unit": "${workload.unit}"}'`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub body: Option<Text>,
    /// Whether the request has the method, the headers (except secrets) and, without `body`, the body of the caller's request.
    /// Default: false.
    #[serde(default)]
    pub copy: bool,
    /// The longest time to wait for the whole response. Default: 60s. Example: `5s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Text>,
    /// A variable that receives the response: expressions refer to `variables.NAME.status`, `.headers` and `.body`, and to
    /// `json(variables.NAME.body)`. Default: none. Example: `reply`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub variable: Option<Text>,
    /// Whether the response is a secret. A secret is masked wherever people read it, and never goes to a caller, to a record
    /// or to a server without TLS. Default: false.
    #[serde(default)]
    pub secret: bool,
    /// Whether the variable is null, and the request continues, if the server does not respond. Default: false.
    #[serde(default)]
    pub ignore_error: bool,
    /// TLS settings for the server.
    #[serde(default)]
    pub tls: Option<TlsFile>,
}

impl Form for SendRequest {
    type File = SendRequestFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Sends a request and stores the response in a variable.\n\
        Example: `{url: \"https://hooks.example/calls/${request.id}\", variable: reply}`.";

    fn compile(written: &Spanned<SendRequestFile>, reader: &mut dyn Reader) -> Option<Self> {
        answered(&written.value, reader)
    }

    fn variables(file: &SendRequestFile) -> Vec<(&Text, bool)> {
        file.variable.iter().map(|name| (name, file.secret)).collect()
    }
}

/// The key `send-one-way-request`.
#[derive(Debug)]
pub struct SendOneWayRequest;

impl Form for SendOneWayRequest {
    type File = SendRequestFile;
    type Compiled = SendRequest;
    const ABOUT: &'static str = "Sends a request and does not wait for the response, for example to an audit log.";

    fn compile(written: &Spanned<SendRequestFile>, reader: &mut dyn Reader) -> Option<SendRequest> {
        let file = &written.value;
        if let Some(variable) = &file.variable {
            let help = "remove `variable`, or use send-request, which waits for the response";
            reader.wrong(variable, "send-one-way-request does not wait for a response", help);
        }
        if file.secret && file.variable.is_none() {
            let rule = "`secret` has no effect: send-one-way-request does not wait for a response";
            reader.wrong(&file.url, rule, "remove `secret`; Egret masks secrets in the request anyway");
        }
        request(file, reader)
    }
}

/// Compiles a request whose response is stored in a variable.
pub(in crate::policy::kinds) fn answered(file: &SendRequestFile, reader: &mut dyn Reader) -> Option<SendRequest> {
    if file.variable.is_none() {
        let help = "add `variable: NAME`, or use send-one-way-request";
        reader.wrong(&file.url, "this request has no variable for its response", help);
    }
    request(file, reader)
}

fn request(file: &SendRequestFile, reader: &mut dyn Reader) -> Option<SendRequest> {
    let (endpoint, target) = reader.endpoint(&file.url, file.tls.as_ref())?;
    let method =
        match file.method.as_ref().map(|written| (written, Method::from_bytes(written.value.trim().as_bytes()))) {
            None => Method::GET,
            Some((_, Ok(method))) if method != Method::CONNECT => method,
            Some((written, _)) => {
                let rule = format!("`{}` is not an HTTP method", written.value);
                reader.wrong(written, rule, "write a method like GET or POST");
                return None;
            }
        };
    let mut headers: Vec<(Arc<str>, Template)> = Vec::new();
    for (name, value) in &file.headers {
        if let Some(name) = reader.header_named(name, value) {
            headers.push((name, reader.template(value)));
        }
    }
    let body = file.body.as_ref().map(|body| reader.body(body, content_type(&headers))).unwrap_or_default();
    Some(SendRequest {
        endpoint,
        target,
        method,
        headers,
        body,
        copy: file.copy,
        timeout: reader.optional_duration(file.timeout.as_ref()).unwrap_or(Duration::from_secs(60)),
        variable: file.variable.as_ref().map(|variable| reader.variable(variable)),
        ignore_error: file.ignore_error,
    })
}

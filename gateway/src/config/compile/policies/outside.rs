//! What is asked of others than the third party.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_saphyr::Spanned;

use super::list::List;
use super::statement::content_type;
use crate::config::compile::endpoint;
use crate::config::diagnostic::Problem;
use crate::config::document::suggestion;
use crate::config::file::TlsFile;
use crate::config::file::policies::{PolicyFile, SendRequestFile, WaitFile};
use crate::model::{Endpoint, Template};
use crate::policy::{SendRequest, SetBackend, Statement, Wait};

impl<'a> List<'a, '_> {
    /// What is written of it; `None` for what cannot be.
    pub(super) fn outside(&mut self, file: &'a PolicyFile, statements: &mut Vec<Option<Statement>>) {
        if let Some(oauth2) = &file.authentication_oauth2 {
            statements.push(self.oauth2(oauth2).map(Statement::AuthenticationOauth2));
        }
        if let Some(request) = &file.send_one_way_request {
            if let Some(variable) = &request.variable {
                let help = "remove `variable`, or use send-request, which waits for the response";
                self.problems.push(Problem::at(variable, "send-one-way-request does not wait for a response", help));
            }
            if request.secret && request.variable.is_none() {
                let help = "remove `secret`; Egret masks secrets in the request anyway";
                self.problems.push(Problem::at(
                    &request.url,
                    "`secret` has no effect: send-one-way-request does not wait for a response",
                    help,
                ));
            }
            statements.push(self.request(request).map(Statement::SendRequest));
        }
        if let Some(request) = &file.send_request {
            statements.push(self.answered(request).map(Statement::SendRequest));
        }
        if let Some(name) = &file.set_backend {
            let service = self.shared.services.get(name.value.trim());
            if service.is_none() {
                let help = suggestion(name.value.trim(), self.shared.services.keys());
                let rule = format!("no backend is named `{}`", name.value);
                self.problems.push(Problem::at(name, rule, help).lacking(&["backends"]));
            }
            statements.push(service.map(|service| Statement::SetBackend(SetBackend { service: Arc::clone(service) })));
        }
        if let Some(wait) = &file.wait {
            statements.push(self.wait(wait).map(Statement::Wait));
        }
    }

    fn wait(&mut self, file: &WaitFile) -> Option<Wait> {
        let any = match file.r#for.as_ref().map(|written| (written, written.value.as_str())) {
            None | Some((_, "all")) => false,
            Some((_, "any")) => true,
            Some((written, _)) => {
                self.problems.push(Problem::at(
                    written,
                    format!("`{}` is not a value of `for`", written.value),
                    "write all or any",
                ));
                false
            }
        };
        let requests: Vec<_> = file.requests.value.iter().map(|request| self.answered(request)).collect();
        requests.into_iter().collect::<Option<Vec<_>>>().map(|requests| Wait { any, requests })
    }

    fn answered(&mut self, file: &SendRequestFile) -> Option<SendRequest> {
        if file.variable.is_none() {
            let help = "add `variable: NAME`, or use send-one-way-request";
            self.problems.push(Problem::at(&file.url, "this request has no variable for its response", help));
        }
        self.request(file)
    }

    fn request(&mut self, file: &SendRequestFile) -> Option<SendRequest> {
        let (endpoint, target) = self.url(&file.url, file.tls.as_ref())?;
        let method =
            match file.method.as_ref().map(|written| (written, Method::from_bytes(written.value.trim().as_bytes()))) {
                None => Method::GET,
                Some((_, Ok(method))) if method != Method::CONNECT => method,
                Some((written, _)) => {
                    self.problems.push(Problem::at(
                        written,
                        format!("`{}` is not an HTTP method", written.value),
                        "write a method like GET or POST",
                    ));
                    return None;
                }
            };
        let mut headers: Vec<(Arc<str>, Template)> = Vec::new();
        for (name, value) in &file.headers {
            if let Some(name) = self.header_named(name, value) {
                headers.push((name, self.template(value)));
            }
        }
        let kind = content_type(&headers);
        let body = file.body.as_ref().map(|body| self.body(body, kind)).unwrap_or_default();
        Some(SendRequest {
            endpoint,
            target,
            method,
            headers,
            body,
            copy: file.copy,
            timeout: self.duration(file.timeout.as_ref()).unwrap_or(Duration::from_secs(60)),
            variable: file.variable.as_ref().map(|variable| self.variable(variable)),
            ignore_error: file.ignore_error,
        })
    }

    pub(super) fn url(
        &mut self,
        written: &Spanned<String>,
        tls: Option<&TlsFile>,
    ) -> Option<(Arc<Endpoint>, Template)> {
        let template = self.url_text(written);
        endpoint::url(written, template, tls, self.shared.outside, self.problems)
    }
}

//! `authentication-oauth2`: by what right there is a token, and how it is shown who asks.

use std::time::Duration;

use serde_saphyr::Spanned;

use super::list::List;
use crate::config::diagnostic::Problem;
use crate::config::file::policies::Oauth2File;
use crate::model::{SIGNING, Signer};
use crate::policy::{AssertionKey, Grant, Oauth2, Proof};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Right {
    Client,
    Statement,
    User,
}

impl List<'_, '_> {
    pub(super) fn oauth2(&mut self, file: &Oauth2File) -> Option<Oauth2> {
        let places = [("header", false), ("body", true)];
        let in_body = self.one_of(file.credentials_in.as_ref(), "not a place for credentials", &places);
        let grants =
            [("client_credentials", Right::Client), ("jwt_bearer", Right::Statement), ("refresh_token", Right::User)];
        let right = self.one_of(file.grant.as_ref(), "not a grant", &grants);
        let proof = self.proof(file, right);
        let grant = match (right, &file.refresh_token) {
            (Right::Client, _) => Some(Grant::ClientCredentials),
            (Right::Statement, _) => {
                Some(Grant::JwtBearer(file.subject.as_ref().map(|subject| self.template(subject))))
            }
            (Right::User, Some(token)) => Some(Grant::RefreshToken(self.template(token))),
            (Right::User, None) => {
                let help = "add `refresh_token: \"{{named value}}\"`";
                self.problems.push(Problem::at(&file.token_url, "the refresh token is missing", help));
                None
            }
        };
        self.idle(file.refresh_token.as_ref().filter(|_| right != Right::User), "grant: refresh_token");
        self.idle(file.subject.as_ref().filter(|_| right != Right::Statement), "grant: jwt_bearer");
        let (endpoint, target) = self.url(&file.token_url, file.tls.as_ref())?;
        Some(Oauth2 {
            endpoint,
            target,
            client_id: self.template(&file.client_id),
            proof: proof?,
            grant: grant?,
            scope: file.scope.as_ref().map(|scope| self.template(scope)),
            audience: file.audience.as_ref().map(|audience| self.template(audience)),
            in_body,
            timeout: self.duration(file.timeout.as_ref()).unwrap_or(Duration::from_secs(10)),
        })
    }

    fn proof(&mut self, file: &Oauth2File, right: Right) -> Option<Proof> {
        if file.private_key.is_none() {
            self.idle(file.key_id.as_ref(), "private_key");
            self.idle(file.algorithm.as_ref(), "private_key");
        }
        match (&file.client_secret, &file.private_key) {
            (Some(secret), None) if right != Right::Statement => Some(Proof::Secret(self.template(secret))),
            (None, Some(key)) => {
                let algorithm =
                    self.one_of(file.algorithm.as_ref(), "not an algorithm that Egret signs with", &SIGNING);
                let pem = self.template(key);
                // As far as it is known now; a file may hold another one later.
                if self.shared.values.constant(&pem).is_some_and(|pem| Signer::read(&pem, algorithm).is_none()) {
                    let help = "name a private key in PEM (PKCS #8) of the kind that `algorithm` names: RSA, if it is not written";
                    self.problems.push(Problem::at(key, format!("this is not a private key for {algorithm:?}"), help));
                }
                let id = file.key_id.as_ref().map(|id| self.template(id));
                Some(Proof::Key(AssertionKey { pem, id, algorithm }))
            }
            (None, None) if right == Right::User => Some(Proof::None),
            _ => {
                let help = match right {
                    Right::Client => "write exactly one of `client_secret` and `private_key`",
                    Right::Statement => {
                        "write `private_key`, and no `client_secret`: the grant jwt_bearer needs a signature"
                    }
                    Right::User => "write `client_secret`, or `private_key`, or neither",
                };
                let rule = match right {
                    Right::Client => "exactly one of `client_secret` and `private_key` is required",
                    Right::Statement => "grant `jwt_bearer` needs `private_key` alone",
                    Right::User => "`client_secret` and `private_key` exclude each other",
                };
                let problem = Problem::at(&file.client_id, rule, help);
                self.problems.push(problem.lacking(&["client_secret", "private_key"]));
                None
            }
        }
    }

    /// What is written and means nothing.
    fn idle(&mut self, written: Option<&Spanned<String>>, without: &str) {
        if let Some(written) = written {
            let rule = format!("this has no effect without `{without}`");
            self.problems.push(Problem::at(written, rule, format!("add `{without}`, or remove this key")));
        }
    }
}

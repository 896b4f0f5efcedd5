//! What kinds of policies compile themselves with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;
use serde_saphyr::Spanned;

use super::addresses_of;
use super::list::List;
use super::workloads::workloads;
use crate::config::compile::expression::{Kind, Scope};
use crate::config::compile::{duration, endpoint, schema, yaml};
use crate::config::diagnostic::Problem;
use crate::config::document::suggestion;
use crate::model::{
    CounterStore, Discovery, Endpoint, Expression, KeySet, KeySource, LimitId, OfPlace, Part, Schema, Section, Service,
    Template, WorkloadMatch,
};
use crate::syntax::{Reader, Text, TlsFile, Wanted, WorkloadFile};

impl<'a> List<'a, '_> {
    fn scope_and_problems(&mut self) -> (Scope<'a>, &mut Vec<Problem>) {
        (self.shared.scope(self.section), self.problems)
    }
}

impl Reader for List<'_, '_> {
    fn problem(&mut self, place: Spanned<()>, rule: String, help: String) {
        self.problems.push(Problem::at(&place, rule, help));
    }

    fn lacking(&mut self, place: Spanned<()>, rule: String, help: String, keys: &'static [&'static str]) {
        self.problems.push(Problem::at(&place, rule, help).lacking(keys));
    }

    fn section(&self) -> Section {
        self.section
    }

    fn has_access_log(&self) -> bool {
        self.shared.recorded
    }

    fn template(&mut self, written: &Text) -> Template {
        let (scope, problems) = self.scope_and_problems();
        scope.template(written, problems)
    }

    fn url(&mut self, written: &Text) -> Template {
        let (scope, problems) = self.scope_and_problems();
        scope.url(written, problems)
    }

    fn body(&mut self, written: &Text, media_type: Option<&str>) -> Template {
        let (scope, problems) = self.scope_and_problems();
        scope.body(written, media_type, problems)
    }

    fn piece(&mut self, written: &Text) -> Template {
        let (scope, problems) = self.scope_and_problems();
        scope.piece(written, problems)
    }

    fn bytes(&mut self, written: &Text) -> Template {
        let (scope, problems) = self.scope_and_problems();
        scope.bytes(written, problems)
    }

    fn constant(&self, template: &Template) -> Option<Vec<u8>> {
        self.shared.values.constant(template)
    }

    fn expression(&mut self, written: &Text, wanted: Wanted) -> Option<Expression> {
        let (scope, problems) = self.scope_and_problems();
        scope.expression(written, kind(wanted), problems)
    }

    fn response_condition(&mut self, written: &Text) -> Option<Expression> {
        let (scope, problems) = self.scope_and_problems();
        Scope { section: Section::Outbound, ..scope }.expression(written, Kind::Bool, problems)
    }

    fn header_named(&mut self, name: &str, written: &Text) -> Option<Arc<str>> {
        /// What is for one connection only (RFC 9110 §7.6.1), and what says where a message ends.
        const FRAMING: [&str; 7] =
            ["connection", "content-length", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];
        let (rule, help) = match HeaderName::from_bytes(name.trim().as_bytes()) {
            Ok(name) if FRAMING.contains(&name.as_str()) => (
                "Egret sets this header itself: it says how a message is sent",
                "remove it, and set the body with set-body: its length follows",
            ),
            Ok(name) if name == http::header::HOST => {
                ("a policy cannot change the host", "remove it: Egret sends requests to the host that they are for")
            }
            Ok(name) => return Some(name.as_str().into()),
            Err(_) => ("this is not the name of a header", "write a name like X-Api-Key"),
        };
        self.problems.push(Problem::at(written, rule, help));
        None
    }

    fn is_secret(&self, variable: &str) -> bool {
        self.shared.variables.get(variable).is_some_and(|secret| *secret)
    }

    fn duration(&mut self, written: &Text, otherwise: Duration) -> Duration {
        duration(Some(written), otherwise, self.problems)
    }

    /// Policies that differ in nothing else have numbers.
    fn identity(&mut self, name: &str, key: Option<&Expression>) -> OfPlace<LimitId> {
        let numbered = |number| LimitId::new(&self.scope, name, self.id.as_deref(), number, key.map(|key| &key.source));
        let mut number = 1;
        let mut identity = numbered(number);
        while self.identities.contains(&identity) {
            number += 1;
            identity = numbered(number);
        }
        self.identities.push(identity.clone());
        OfPlace(identity)
    }

    fn counters(&mut self, written: &Spanned<bool>) -> Option<Arc<CounterStore>> {
        if !self.shared.has_counters {
            let help = "add counters: {url: \"rediss://counters.example:6380\"} at the top level";
            let rule = "`shared: true` needs a server that counts for all nodes (`counters`)";
            self.problems.push(Problem::at(written, rule, help).lacking(&["counters"]));
        }
        self.shared.counters.clone()
    }

    fn endpoint(&mut self, url: &Text, tls: Option<&TlsFile>) -> Option<(Arc<Endpoint>, Template)> {
        let template = Reader::url(self, url);
        endpoint::url(url, template, tls, self.shared.outside, self.problems)
    }

    fn server(&mut self, name: &str, written: &Text, tls: Option<&TlsFile>) -> Option<Arc<Endpoint>> {
        let template = Template(vec![Part::Text(format!("https://{name}/").into())]);
        endpoint::url(written, template, tls, self.shared.outside, self.problems).map(|(endpoint, _)| endpoint)
    }

    fn backend(&mut self, name: &Text) -> Option<Arc<Service>> {
        let service = self.shared.services.get(name.value.trim());
        if service.is_none() {
            let help = suggestion(name.value.trim(), self.shared.services.keys());
            let rule = format!("no backend is named `{}`", name.value);
            self.problems.push(Problem::at(name, rule, help).lacking(&["backends"]));
        }
        service.map(Arc::clone)
    }

    fn key_set(&mut self, written: &Text, source: &dyn Fn(PathBuf) -> KeySource) -> Option<Arc<KeySet>> {
        let source = source(self.shared.outside.path(&written.value));
        let mut known = self.shared.keys.borrow_mut();
        if let Some(known) = known.iter().find(|known| known.source == source) {
            return Some(Arc::clone(known));
        }
        let document = self.shared.outside.contents(written).map_err(|error| error.to_string());
        let keys = document.and_then(|document| KeySet::new(source, document).map_err(|error| error.to_string()));
        match keys {
            Ok(keys) => {
                let keys = Arc::new(keys);
                known.push(Arc::clone(&keys));
                Some(keys)
            }
            Err(error) => {
                let help = "name a JWK set, or for `public_key` a PEM file (-----BEGIN PUBLIC KEY-----)";
                self.problems.push(Problem::at(written, format!("`{}` cannot be used: {error}", written.value), help));
                None
            }
        }
    }

    fn remote_keys(&mut self, endpoint: Arc<Endpoint>, target: Arc<str>, discovery: Option<Discovery>) -> Arc<KeySet> {
        let keys = KeySet::remote(endpoint, target, discovery);
        let mut known = self.shared.keys.borrow_mut();
        if let Some(known) = known.iter().find(|known| known.source == keys.source) {
            return Arc::clone(known);
        }
        let keys = Arc::new(keys);
        known.push(Arc::clone(&keys));
        keys
    }

    fn schema(&mut self, path: &Text) -> Option<Schema> {
        let contents = self.shared.outside.contents(path).map_err(|error| error.to_string());
        let document = contents.and_then(|bytes| yaml::read(&bytes));
        let unread = |error| {
            let rule = format!("this schema cannot be read: {error}");
            Problem::at(path, rule, "name a JSON Schema, in JSON or YAML, that Egret can read")
        };
        let unusable = |error| {
            let rule = format!("this schema cannot be used: {error}");
            Problem::at(path, rule, format!("correct the JSON Schema in {}", path.value.trim()))
        };
        let schema = document.map_err(unread).and_then(|document| schema::compile(&document).map_err(unusable));
        schema.map_err(|problem| self.problems.push(problem)).ok()
    }

    fn addresses(&mut self, written: &Text) -> Option<IpNet> {
        let parsed = addresses_of(&written.value);
        parsed.map_err(|(rule, help)| self.problems.push(Problem::at(written, rule, help))).ok()
    }

    fn workloads(&mut self, written: &[WorkloadFile]) -> Vec<WorkloadMatch> {
        workloads(written, self.problems)
    }
}

const fn kind(wanted: Wanted) -> Kind {
    match wanted {
        Wanted::Any => Kind::Any,
        Wanted::Bool => Kind::Bool,
        Wanted::Int => Kind::Int,
        Wanted::Number => Kind::Number,
    }
}

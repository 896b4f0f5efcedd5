//! Products and who has subscribed to them.

use std::collections::HashMap;

use serde_saphyr::Spanned;

use super::workloads::workloads;
use super::{Scoped, Shared};
use crate::config::diagnostic::Problem;
use crate::config::document::suggestion;
use crate::config::file::{File, ProductFile, SubscriptionFile};
use crate::model::{Product, Section, Subscription};

/// A product, the APIs in it, and what is done with its requests.
pub(super) struct Offered {
    pub(super) product: Product,
    apis: Vec<String>,
    pub(super) scoped: Option<Scoped>,
}

impl Offered {
    pub(super) fn has(&self, api: &str) -> bool {
        self.apis.iter().any(|name| name == api)
    }
}

/// Names that must differ, and where they are.
type Seen<'a> = HashMap<&'a str, &'a Spanned<String>>;

impl Shared<'_> {
    pub(super) fn offered(&self, file: &File, problems: &mut Vec<Problem>) -> Vec<Offered> {
        let (mut products, mut subscriptions) = (Seen::new(), Seen::new());
        let known: Vec<_> = file.apis.iter().map(|api| api.name.value.trim().to_owned()).collect();
        let mut offered = Vec::new();
        for written in &file.products {
            unique(&mut products, &written.name, problems);
            for subscription in &written.subscriptions {
                unique(&mut subscriptions, &subscription.name, problems);
            }
            for api in written.apis.iter().filter(|api| known.iter().all(|name| name != api.value.trim())) {
                let help = suggestion(api.value.trim(), known.iter());
                problems.push(Problem::at(api, format!("no API is named `{}`", api.value), help));
            }
            offered.push(self.product(written, problems));
        }
        offered
    }

    fn product(&self, file: &ProductFile, problems: &mut Vec<Problem>) -> Offered {
        let name = file.name.value.trim();
        let subscription_required = file.subscription_required.unwrap_or(true);
        if subscription_required && file.subscriptions.is_empty() {
            let help = "add `subscriptions`, or write `subscription_required: false`";
            let rule = "this product has no subscriptions: nobody could call its APIs";
            problems.push(Problem::at(&file.name, rule, help).lacking(&["subscriptions", "subscription_required"]));
        }
        let subscriptions = file.subscriptions.iter().map(|file| self.subscription(file, problems)).collect();
        Offered {
            product: Product { name: name.into(), subscription_required, subscriptions },
            apis: file.apis.iter().map(|api| api.value.trim().to_owned()).collect(),
            scoped: file.policies.as_ref().map(|policies| self.scoped(policies, &format!("product {name}"), problems)),
        }
    }

    fn subscription(&self, file: &SubscriptionFile, problems: &mut Vec<Problem>) -> Subscription {
        if file.workloads.is_empty() && file.key.is_none() {
            let help = "add `workloads: [{unit: billing.service}]`, `key: \"{{named value}}\"`, or both";
            let problem = Problem::at(&file.name, "this subscription has neither `workloads` nor `key`", help);
            problems.push(problem.lacking(&["workloads", "key"]));
        }
        let scope = self.scope(Section::Inbound);
        let key = file.key.as_ref().map(|written| {
            let key = scope.template(written, problems);
            if key.expressions().next().is_some() {
                let help = "write a named value: key: \"{{team-a}}\"";
                problems.push(Problem::at(written, "a subscription's key cannot be an expression", help));
            }
            key
        });
        let workloads = workloads(&file.workloads, problems);
        Subscription { name: file.name.value.trim().into(), workloads, key }
    }
}

fn unique<'a>(seen: &mut Seen<'a>, name: &'a Spanned<String>, problems: &mut Vec<Problem>) {
    if name.value.trim().is_empty() {
        problems.push(Problem::at(name, "the name is empty", "write a short name: logs show it"));
    } else if let Some(other) = seen.insert(name.value.trim(), name) {
        problems.push(Problem::at(name, "this name is used twice", "rename one of them").with(other));
    }
}

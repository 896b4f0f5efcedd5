//! Who sees what a policy is written with: some of them must never see a secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Reader, Text, Wanted};
use crate::model::{Expression, Section, Template};

impl dyn Reader + '_ {
    /// Compiles a template for something that the message of this section carries: to the caller, if it is the response.
    pub fn shown(&mut self, written: &Text) -> Template {
        let template = self.template(written);
        self.is_for_section(&template, written);
        template
    }

    /// Compiles a template for something that the caller receives.
    pub fn for_caller(&mut self, written: &Text) -> Template {
        let template = self.template(written);
        self.is_for_caller(&template, written);
        template
    }

    /// Checks that a template has no secret, if the section is about the response.
    pub fn is_for_section(&mut self, template: &Template, written: &Text) {
        if matches!(self.section(), Section::Outbound | Section::OnError) {
            self.is_for_caller(template, written);
        }
    }

    /// Checks that a template has no secret, because the caller receives it.
    pub fn is_for_caller(&mut self, template: &Template, written: &Text) {
        if template.is_secret() {
            let help = "use a value that is not a secret: {value: ...}";
            self.wrong(written, "a secret would go to the caller", help);
        }
    }

    /// Compiles a template for something that people read, which has no secret.
    pub fn recorded(&mut self, written: &Text) -> Template {
        let template = self.template(written);
        self.is_for_record(template.is_secret(), written);
        template
    }

    /// Compiles the same of a text that may be JSON or XML, as it begins.
    pub fn recorded_body(&mut self, written: &Text) -> Template {
        let template = self.body(written, None);
        self.is_for_record(template.is_secret(), written);
        template
    }

    /// Compiles the same for each of these names.
    pub fn recorded_by_name(&mut self, written: &BTreeMap<String, Text>) -> Vec<(Arc<str>, Template)> {
        written.iter().map(|(name, value)| (name.as_str().into(), self.recorded(value))).collect()
    }

    /// Compiles an expression for something that people read, which is not a secret.
    pub fn recorded_expression(&mut self, written: &Text, wanted: Wanted) -> Option<Expression> {
        let expression = self.expression(written, wanted)?;
        self.is_for_record(expression.is_secret, written);
        Some(expression)
    }

    /// Compiles an expression by which something is counted or stored apart. `inspect` and `explain` show its values.
    pub fn key(&mut self, written: &Text) -> Option<Expression> {
        self.recorded_expression(written, Wanted::Any)
    }

    fn is_for_record(&mut self, is_secret: bool, written: &Text) {
        if is_secret {
            let help = "use a value that is not a secret: {value: ...}";
            self.wrong(written, "a secret would be recorded", help);
        }
    }

    /// Compiles an expression for a variable, which is declared as a secret if the value is one.
    pub fn stored(&mut self, written: &Text, is_declared_secret: bool) -> Option<Expression> {
        let value = self.expression(written, Wanted::Any)?;
        if value.is_secret && !is_declared_secret {
            let help = "add `secret: true`: a value made of a secret is a secret, too";
            self.wrong(written, "a secret is assigned to a variable that is not declared `secret: true`", help);
        }
        Some(value)
    }
}

use serde_saphyr::Spanned;

use super::list::List;
use crate::config::diagnostic::Problem;
use crate::config::file::policies::PolicyFile;
use crate::model::{Converted, Section, XmlName};
use crate::policy::{JsonKind, JsonToXml, Statement, XmlToJson};

impl List<'_, '_> {
    /// What is written of these.
    pub(super) fn conversion(&mut self, file: &PolicyFile, statements: &mut Vec<Option<Statement>>) {
        if let Some(convert) = &file.json_to_xml {
            let when = self.converted(convert.apply.as_ref(), convert.consider_accept_header.as_ref());
            let name = convert.root.as_ref().map_or("Document", |root| root.value.trim());
            let root = XmlName::parse(name);
            if let (None, Some(written)) = (&root, &convert.root) {
                self.problems.push(Problem::at(
                    written,
                    format!("`{}` is not the name of an element", written.value),
                    "write a name like Order or s:Order",
                ));
            }
            statements.push(root.map(|root| Statement::JsonToXml(JsonToXml { when, root })));
        }
        if let Some(convert) = &file.xml_to_json {
            let when = self.converted(convert.apply.as_ref(), convert.consider_accept_header.as_ref());
            let kind = match convert.kind.as_ref().map(|written| (written, written.value.trim())) {
                None | Some((_, "direct")) => JsonKind::Direct,
                Some((_, "javascript-friendly")) => JsonKind::JavascriptFriendly,
                Some((written, _)) => {
                    let help = "write direct or javascript-friendly";
                    self.problems.push(Problem::at(
                        written,
                        format!("`{}` is not a value of `kind`", written.value),
                        help,
                    ));
                    JsonKind::Direct
                }
            };
            statements.push(Some(Statement::XmlToJson(XmlToJson { when, kind })));
        }
    }

    fn converted(&mut self, apply: Option<&Spanned<String>>, accept: Option<&Spanned<bool>>) -> Converted {
        let always = match apply.map(|written| (written, written.value.trim())) {
            None | Some((_, "content-type")) => false,
            Some((_, "always")) => true,
            Some((written, _)) => {
                self.problems.push(Problem::at(
                    written,
                    format!("`{}` is not a value of `apply`", written.value),
                    "write content-type or always",
                ));
                false
            }
        };
        let is_request = self.section == Section::Inbound;
        if let Some(written) = accept.filter(|accept| accept.value && is_request) {
            let rule = "`consider_accept_header` has no effect on a request: Accept is about the response";
            self.problems.push(Problem::at(written, rule, "remove it, or move the policy to outbound"));
        }
        let consider_accept = !is_request && accept.is_none_or(|accept| accept.value);
        Converted { always, consider_accept }
    }
}

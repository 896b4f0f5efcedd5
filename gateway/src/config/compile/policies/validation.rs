use std::sync::Arc;

use serde_saphyr::Spanned;

use super::list::List;
use crate::config::compile::{schema, yaml};
use crate::config::diagnostic::Problem;
use crate::config::file::policies::{
    ContentFile, DescribedFile, PolicyFile, ValidateContentFile, ValidateHeadersFile, ValidateParametersFile,
};
use crate::model::{Described, OnInvalid, Schema};
use crate::policy::{ContentRule, Statement, ValidateContent, ValidateHeaders, ValidateParameters, ValidateStatusCode};

impl List<'_, '_> {
    /// What is written of these.
    pub(super) fn validation(&mut self, file: &PolicyFile, statements: &mut Vec<Option<Statement>>) {
        if let Some(validate) = &file.validate_content {
            statements.push(Some(Statement::ValidateContent(self.validate_content(validate))));
        }
        if let Some(validate) = &file.validate_headers {
            statements.push(Some(Statement::ValidateHeaders(self.validate_headers(validate))));
        }
        if let Some(validate) = &file.validate_parameters {
            statements.push(Some(Statement::ValidateParameters(self.validate_parameters(validate))));
        }
        if let Some(validate) = &file.validate_status_code {
            statements.push(Some(Statement::ValidateStatusCode(ValidateStatusCode {
                unspecified: self.action(validate.unspecified.as_ref(), OnInvalid::Prevent),
                except: validate.except.clone(),
                errors_variable: self.errors_variable(validate.errors_variable.as_ref()),
            })));
        }
    }

    fn validate_content(&mut self, file: &ValidateContentFile) -> ValidateContent {
        ValidateContent {
            max_size: file.max_size.as_ref().map(|size| usize::try_from(size.value).unwrap_or(usize::MAX)),
            size_exceeded: self.action(file.size_exceeded.as_ref(), OnInvalid::Prevent),
            unspecified_content_type: self.action(file.unspecified_content_type.as_ref(), OnInvalid::Prevent),
            content: file.content.iter().filter_map(|content| self.content(content)).collect(),
            errors_variable: self.errors_variable(file.errors_variable.as_ref()),
        }
    }

    fn content(&mut self, file: &ContentFile) -> Option<ContentRule> {
        let ContentFile { kind, schema, openapi, action } = file;
        let text = kind.value.trim().to_ascii_lowercase();
        if text != "*" && !text.contains('/') || text.contains([';', ',', ' ']) {
            let help = "write a type like application/json, application/*+json or *, without parameters";
            self.problems.push(Problem::at(kind, format!("`{}` is not a media type", kind.value), help));
        }
        let schema = match (schema, openapi) {
            (Some(path), false) => Some(self.schema(path)?),
            (None, true) => None,
            _ => {
                let help = "write `schema: PATH` for a JSON Schema, or `openapi: true` for the API's document";
                self.problems.push(Problem::at(kind, "exactly one of `schema` and `openapi: true` is required", help));
                return None;
            }
        };
        Some(ContentRule { kind: text.into(), schema, action: self.action(action.as_ref(), OnInvalid::Prevent) })
    }

    fn schema(&mut self, path: &Spanned<String>) -> Option<Schema> {
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

    fn validate_headers(&mut self, file: &ValidateHeadersFile) -> ValidateHeaders {
        ValidateHeaders {
            headers: Described {
                specified: self.action(file.specified.as_ref(), OnInvalid::Prevent),
                unspecified: self.action(file.unspecified.as_ref(), OnInvalid::Prevent),
                except: file.except.iter().map(|name| name.trim().to_ascii_lowercase().into()).collect(),
            },
            errors_variable: self.errors_variable(file.errors_variable.as_ref()),
        }
    }

    fn validate_parameters(&mut self, file: &ValidateParametersFile) -> ValidateParameters {
        let all = Described {
            specified: self.action(file.specified.as_ref(), OnInvalid::Prevent),
            unspecified: self.action(file.unspecified.as_ref(), OnInvalid::Ignore),
            except: Vec::new(),
        };
        let mut headers = self.described(file.headers.as_ref(), &all);
        headers.except.iter_mut().for_each(|name| *name = name.to_ascii_lowercase().into());
        ValidateParameters {
            headers,
            query: self.described(file.query.as_ref(), &all),
            path: self.described(file.path.as_ref(), &all),
            errors_variable: self.errors_variable(file.errors_variable.as_ref()),
        }
    }

    fn described(&mut self, file: Option<&DescribedFile>, all: &Described) -> Described {
        let Some(file) = file else { return all.clone() };
        Described {
            specified: self.action(file.specified.as_ref(), all.specified),
            unspecified: self.action(file.unspecified.as_ref(), all.unspecified),
            except: file.except.iter().map(|name| name.trim().into()).collect(),
        }
    }

    fn action(&mut self, written: Option<&Spanned<String>>, default: OnInvalid) -> OnInvalid {
        match written.map(|written| (written, written.value.trim())) {
            None => default,
            Some((_, "detect")) => OnInvalid::Detect,
            Some((_, "ignore")) => OnInvalid::Ignore,
            Some((_, "prevent")) => OnInvalid::Prevent,
            Some((written, _)) => {
                self.problems.push(Problem::at(
                    written,
                    format!("`{}` is not an action", written.value),
                    "write prevent, detect or ignore",
                ));
                default
            }
        }
    }

    fn errors_variable(&mut self, written: Option<&Spanned<String>>) -> Option<Arc<str>> {
        written.map(|written| self.variable(written))
    }
}

//! Named values, as they are now.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, NaiveDate, NaiveTime};
use serde_saphyr::Spanned;

use super::Outside;
use super::expression::Scope;
use crate::config::Secrets;
use crate::config::diagnostic::Problem;
use crate::config::file::NamedValueFile;
use crate::model::{NamedValue, Part, Secret, Section, Template, ValueSource};

/// Where systemd keeps credentials (systemd.exec(5)).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The named values of a configuration.
#[derive(Debug, Default)]
pub(super) struct Values {
    by_name: BTreeMap<String, Arc<NamedValue>>,
    /// The names whose value cannot be read, or is not to be. That is reported where they are defined, and not again where they are used.
    unread: BTreeSet<String>,
}

impl Values {
    /// Returns the value of a name. It is empty if it cannot be read.
    pub(super) fn find(&self, name: &str) -> Option<&Arc<NamedValue>> {
        self.by_name.get(name)
    }

    /// Returns the names of all values.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.by_name.keys()
    }

    /// Returns all values, in the order of their names.
    pub(super) fn all(&self) -> Vec<Arc<NamedValue>> {
        self.by_name.values().cloned().collect()
    }

    /// Returns the current text of a template, where it has no expressions and each of its values can be read.
    pub(super) fn constant(&self, template: &Template) -> Option<Vec<u8>> {
        let is_unread = |part: &Part| matches!(part, Part::Named(value) if self.unread.contains(&*value.name));
        if template.0.iter().any(is_unread) { None } else { template.constant() }
    }
}

pub(super) fn compile(
    files: &BTreeMap<String, Spanned<NamedValueFile>>,
    outside: &Outside<'_>,
    problems: &mut Vec<Problem>,
) -> Values {
    let mut values = Values::default();
    let mut add = |name: &str, source: ValueSource, expires: Option<SystemTime>, current: Secret| {
        values.by_name.insert(name.to_owned(), Arc::new(NamedValue::new(name.into(), source, expires, current)));
    };
    let mut unread = BTreeSet::new();
    for (name, written) in files {
        let NamedValueFile { file, env, credential, value, expires } = &written.value;
        let expires = expires.as_ref().and_then(|written| time(written, problems));
        if [file, env, credential, value].into_iter().flatten().count() != 1 {
            let help = "write exactly one of `file`, `env`, `credential` and `value`";
            let problem = Problem::at(written, format!("the value `{name}` has no source, or several"), help);
            problems.push(problem.lacking_here(&["file", "env", "credential", "value"]));
            unread.insert(name.clone());
            continue;
        }
        if outside.secrets == Secrets::Assumed && value.is_none() {
            unread.insert(name.clone());
            continue;
        }
        let credential = credential.as_ref().map(|credential| {
            let directory = (outside.environment)(CREDENTIALS).ok_or_else(|| {
                Problem::at(
                    credential,
                    "systemd has passed no credentials to this process",
                    "add LoadCredential= to the unit",
                )
            });
            directory.map(|directory| (credential, Path::new(&directory).join(credential.value.trim())))
        });
        let found = match (file, env, credential, value) {
            (Some(file), ..) => of_file(file, outside.path(&file.value), outside),
            (_, Some(env), ..) => (outside.environment)(env.value.trim())
                .map(|value| (ValueSource::Environment(env.value.trim().into()), Secret::new(value.into_bytes())))
                .ok_or_else(|| {
                    Problem::at(
                        env,
                        format!("the environment variable `{}` is not set", env.value),
                        "set it where Egret is started",
                    )
                }),
            (_, _, Some(credential), _) => credential.and_then(|(written, path)| of_file(written, path, outside)),
            (.., Some(value)) => {
                Ok((ValueSource::Text(value.value.as_str().into()), Secret::new(value.value.clone().into_bytes())))
            }
            (None, None, None, None) => continue,
        };
        match found {
            Ok((source, current)) => add(name, source, expires, current),
            Err(problem) => {
                problems.push(problem);
                unread.insert(name.clone());
            }
        }
    }
    for name in &unread {
        add(name, ValueSource::Environment(name.as_str().into()), None, Secret::new(Vec::new()));
    }
    Values { unread, ..values }
}

fn of_file(written: &Spanned<String>, path: PathBuf, outside: &Outside<'_>) -> Result<(ValueSource, Secret), Problem> {
    match (outside.read)(&path) {
        Ok(bytes) => Ok((ValueSource::File(path), Secret::of_file(bytes))),
        Err(error) => {
            let rule = format!("{} cannot be read: {error}", path.display());
            Err(Problem::at(written, rule, "name a file that has the value and nothing else"))
        }
    }
}

/// A day, which begins at midnight in UTC, or a time (RFC 3339).
fn time(written: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<SystemTime> {
    let text = written.value.trim();
    let day = || text.parse::<NaiveDate>().ok().map(|day| day.and_time(NaiveTime::MIN).and_utc());
    let time = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc()).or_else(day);
    if time.is_none() {
        let rule = format!("`{}` is neither a date nor a time", written.value);
        problems.push(Problem::at(written, rule, "write it like 2027-01-31 or 2027-01-31T12:00:00Z"));
    }
    time.map(SystemTime::from)
}

/// A text that is about no request: named values, no expressions.
pub(super) fn constant(written: &Spanned<String>, values: &Values, problems: &mut Vec<Problem>) -> Template {
    let scope = Scope { section: Section::Inbound, variables: &BTreeMap::new(), values, has_api_server: true };
    let template = scope.template(written, problems);
    if template.expressions().next().is_some() {
        problems.push(Problem::at(
            written,
            "an expression cannot stand here: there is no request yet",
            "write a `{{named value}}`",
        ));
    }
    template
}

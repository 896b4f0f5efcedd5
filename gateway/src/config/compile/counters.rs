//! The server in which nodes count together.

use std::sync::Arc;
use std::time::Duration;

use super::values::{Values, constant};
use super::{Outside, duration, endpoint};
use crate::config::diagnostic::Problem;
use crate::config::file::CountersFile;
use crate::model::{CounterStore, Part, Template};

/// Longest that a request may wait for a count.
const LONGEST: Duration = Duration::from_secs(5);

pub(super) fn compile(
    file: &CountersFile,
    values: &Values,
    outside: &Outside<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Arc<CounterStore>> {
    let written = &file.url;
    let template = Template(vec![Part::Text(written.value.trim().into())]);
    let found = endpoint::server(endpoint::REDIS, written, template, file.tls.as_ref(), outside, problems);
    let timeout = duration(file.timeout.as_ref(), Duration::from_millis(100), problems);
    if let Some(written) = file.timeout.as_ref().filter(|_| timeout.is_zero() || timeout > LONGEST) {
        problems.push(Problem::at(
            written,
            "this timeout is not from 1ms to 5s",
            "write 1ms to 5s: requests wait that long",
        ));
    }
    let refuse = match file.on_failure.as_ref().map(|written| (written, written.value.trim())) {
        None | Some((_, "count_here")) => false,
        Some((_, "refuse")) => true,
        Some((written, _)) => {
            problems.push(Problem::at(
                written,
                format!("`{}` is not an action for a failure", written.value),
                "write count_here or refuse",
            ));
            false
        }
    };
    let password = file.password.as_ref().map(|written| constant(written, values, problems));
    let (endpoint, target) = found?;
    if password.is_some() && endpoint.tls.is_none() {
        let help = "write rediss://: otherwise everybody on the way can read the password";
        problems.push(Problem::at(written, "a password would be sent without TLS", help));
    }
    let database = target.literal().unwrap_or_default().trim_start_matches('/');
    let database = if database.is_empty() { Ok(0) } else { database.parse() };
    let Ok(database) = database else {
        problems.push(Problem::at(
            written,
            "the path of this URL is not the number of a database",
            "write a URL like rediss://counters.example:6380/0",
        ));
        return None;
    };
    Some(Arc::new(CounterStore {
        endpoint,
        database,
        username: file.username.as_deref().map(Arc::from),
        password,
        timeout,
        refuse,
    }))
}

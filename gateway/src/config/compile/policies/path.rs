//! Path templates, as operations and OpenAPI documents write them.

use std::sync::Arc;

use serde_saphyr::Spanned;

use crate::config::compile::schema::Fault;
use crate::config::diagnostic::Problem;
use crate::config::file::ApiFile;
use crate::model::{PathTemplate, Rules, Segment, spelled};
use crate::policy::{Policies, Policy};

/// Returns whether requests are refused whose paths servers read in different ways: as written, else where the path decides which
/// policies run.
pub(super) fn strict(file: &ApiFile, rules: &Rules, problems: &mut Vec<Problem>) -> bool {
    let looks_at_path = |policy: &Policy| {
        policy
            .statement
            .any(&|statement| statement.properties().conditions.iter().any(|when| when.reads_field("request", "path")))
    };
    let decides = || super::each(rules).flat_map(Policies::sections).flatten().any(|policy| looks_at_path(policy));
    match file.paths.as_ref().map(|written| (written, written.value.trim())) {
        Some((_, "strict")) => true,
        Some((_, "lenient")) => false,
        Some((written, _)) => {
            let rule = format!("`{}` is not a value of `paths`", written.value);
            problems.push(Problem::at(written, rule, "write strict or lenient"));
            true
        }
        None => {
            rules.only_operations || file.operations.iter().any(|operation| operation.policies.is_some()) || decides()
        }
    }
}

/// Returns the template that stands at this place.
pub(super) fn template(written: &Spanned<String>, problems: &mut Vec<Problem>) -> PathTemplate {
    parse(&written.value).unwrap_or_else(|fault| {
        problems.push(Problem::at(written, fault, "write a path like /prices/{id}, or /files/* for all below"));
        PathTemplate { segments: Vec::new(), open: true }
    })
}

/// Reads a template: `/prices/{id}`, `/reports/{year}-{month}.csv`, `/files/*`.
///
/// # Errors
/// The path does not begin with a slash, or a brace has no partner or no name between.
pub(in crate::config::compile) fn parse(text: &str) -> Result<PathTemplate, Fault> {
    let Some(rest) = text.trim().strip_prefix('/') else {
        return Err("this path does not begin with a slash".to_owned());
    };
    let (rest, open) = match rest.strip_suffix('*') {
        Some(rest) if rest.is_empty() || rest.ends_with('/') => (rest.trim_end_matches('/'), true),
        _ => (rest, false),
    };
    let all = if rest.is_empty() && open { Vec::new() } else { rest.split('/').collect() };
    let segments = all.into_iter().map(segment).collect::<Result<_, _>>()?;
    Ok(PathTemplate { segments, open })
}

fn segment(text: &str) -> Result<Segment, Fault> {
    let odd = || format!("`{text}` is neither a text nor a text with parameters in braces");
    let literal = |text: &str| -> Result<Arc<str>, Fault> {
        if text.contains(['{', '}', '*', '?', '#']) { Err(odd()) } else { Ok(spelled(text).into()) }
    };
    let mut pieces = text.split('{');
    let before = literal(pieces.next().unwrap_or_default())?;
    let parameters = pieces.map(|piece| {
        let (name, after) = piece.split_once('}').filter(|(name, _)| !name.is_empty()).ok_or_else(odd)?;
        if name.contains(['?', '#']) { Err(odd()) } else { Ok((name.into(), literal(after)?)) }
    });
    let parameters = parameters.collect::<Result<Vec<_>, _>>()?;
    Ok(if parameters.is_empty() { Segment::Literal(before) } else { Segment::Template { before, parameters } })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_segment_may_have_several_parameters_and_texts_between() {
        for path in
            ["/", "/a", "/a/{id}", "/reports/{id}.json", "/compare/{base}...{head}", "/v1/{name}:cancel", "/a/*", "/*"]
        {
            assert_eq!(parse(path).unwrap().to_string(), path);
        }
    }

    #[test]
    fn a_template_with_an_odd_brace_is_refused() {
        for path in ["a", "", "/{", "/}", "/{}", "/{a", "/a}", "/{a}{", "/{a?b}", "/a?b", "/a*b", "/{a}b*"] {
            parse(path).unwrap_err();
        }
    }
}

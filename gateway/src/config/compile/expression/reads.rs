//! The fields that an expression reads.

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};

use super::vocabulary::ROOTS;
use crate::model::FieldRead;

/// Returns the fields that an expression reads, each once.
pub(super) fn of(expression: &IdedExpr) -> Vec<FieldRead> {
    let mut found = Vec::new();
    add(expression, &mut found);
    found
}

fn add(expression: &IdedExpr, found: &mut Vec<FieldRead>) {
    let read = entry(expression).or_else(|| field(expression).map(|(root, field)| (root, field, None)));
    if let Some((root, field, entry)) = read {
        let entry = entry.map(|entry| if field == "headers" { entry.to_lowercase() } else { entry.to_owned() });
        let read = FieldRead { root: root.into(), field: field.into(), entry: entry.map(Into::into) };
        if !found.contains(&read) {
            found.push(read);
        }
        return;
    }
    match &expression.expr {
        Expr::Select(select) => add(&select.operand, found),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(|part| add(part, found)),
        Expr::List(list) => list.elements.iter().for_each(|part| add(part, found)),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    add(&entry.key, found);
                    add(&entry.value, found);
                }
            }
        }
        Expr::Comprehension(each) => {
            let parts = [&each.iter_range, &each.accu_init, &each.loop_cond, &each.loop_step, &each.result];
            parts.into_iter().for_each(|part| add(part, found));
        }
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => {}
    }
}

/// Returns a field and a fixed key in it: `request.headers["x-a"]`, `request.headers.x`, `"x-a" in request.headers`.
fn entry(expression: &IdedExpr) -> Option<(&str, &str, Option<&str>)> {
    let (of, key) = match &expression.expr {
        Expr::Select(select) => (&*select.operand, select.field.as_str()),
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            ("_[_]", [of, key]) | ("@in", [key, of]) => (of, text(key)?),
            _ => return None,
        },
        _ => return None,
    };
    field(of).map(|(root, field)| (root, field, Some(key)))
}

/// Returns a field of what expressions can name: `request.path`, `request["path"]`.
fn field(expression: &IdedExpr) -> Option<(&str, &str)> {
    let (of, field) = match &expression.expr {
        Expr::Select(select) => (&*select.operand, select.field.as_str()),
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            ("_[_]", [of, field]) => (of, text(field)?),
            _ => return None,
        },
        _ => return None,
    };
    match &of.expr {
        Expr::Ident(root) if ROOTS.iter().any(|(known, _)| known == root) => Some((root, field)),
        _ => None,
    }
}

fn text(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_however_they_are_written() {
        let reads = |source: &str| {
            let program = cel::Program::compile(source).unwrap();
            let all = of(program.expression()).into_iter();
            all.map(|read| format!("{}.{} {}", read.root, read.field, read.entry.unwrap_or_default()))
                .collect::<Vec<_>>()
        };
        for (source, expected) in [
            ("request.path.startsWith('/a')", vec!["request.path "]),
            ("request['path'] == '/request.body'", vec!["request.path "]),
            (
                "'X-A' in request.headers && request.headers['x-b'] == ''",
                vec!["request.headers x-a", "request.headers x-b"],
            ),
            ("request.headers[request.method]", vec!["request.headers ", "request.method "]),
            ("[1, 2].exists(x, x == response.status)", vec!["response.status "]),
            ("{'a': variables.b}['a'] + request.headers.host", vec!["variables.b ", "request.headers host"]),
            ("1 + 1 == 2", vec![]),
        ] {
            assert_eq!(reads(source), expected, "{source}");
        }
    }
}

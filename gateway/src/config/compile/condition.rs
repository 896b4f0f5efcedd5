//! Expressions that are what most conditions are: comparisons of texts, which need no interpreter.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};
use http::HeaderName;

use crate::model::{Condition, Fact, Field, HeadersOf, Like, Order};

/// The same without an interpreter, if it is one of those.
pub(super) fn of(expression: &IdedExpr) -> Option<Condition> {
    let Expr::Call(call) = &expression.expr else { return None };
    match (call.func_name.as_str(), call.target.as_deref(), call.args.as_slice()) {
        ("_&&_", None, [left, right]) => Some(Condition::All(vec![of(left)?, of(right)?])),
        ("_||_", None, [left, right]) => Some(Condition::Any(vec![of(left)?, of(right)?])),
        ("!_", None, [inner]) => Some(Condition::Not(Box::new(of(inner)?))),
        ("_!=_", None, [left, right]) => Some(Condition::Not(Box::new(equal(left, right)?))),
        ("_==_", None, [left, right]) => equal(left, right),
        ("_>_", None, [left, right]) => status(left, Order::Greater, right),
        ("_>=_", None, [left, right]) => status(left, Order::GreaterOrEqual, right),
        ("_<_", None, [left, right]) => status(left, Order::Less, right),
        ("_<=_", None, [left, right]) => status(left, Order::LessOrEqual, right),
        ("startsWith", Some(target), [text]) => like(target, Like::Begins, text),
        ("endsWith", Some(target), [text]) => like(target, Like::Ends, text),
        ("contains", Some(target), [text]) => like(target, Like::Contains, text),
        ("@in", None, [name, headers]) => {
            Some(Condition::Has(headers_of(headers)?, HeaderName::from_bytes(literal(name)?.as_bytes()).ok()?))
        }
        _ => None,
    }
}

fn equal(left: &IdedExpr, right: &IdedExpr) -> Option<Condition> {
    like(left, Like::Is, right).or_else(|| like(right, Like::Is, left)).or_else(|| status(left, Order::Equal, right))
}

fn like(field: &IdedExpr, like: Like, text: &IdedExpr) -> Option<Condition> {
    Some(Condition::Text(self::field(field)?, like, literal(text)?.into()))
}

fn status(left: &IdedExpr, order: Order, right: &IdedExpr) -> Option<Condition> {
    let Expr::Literal(LiteralValue::Int(number)) = &right.expr else { return None };
    (selected(left)? == ("response", "status")).then(|| Condition::Status(order, *number.inner()))
}

fn field(expression: &IdedExpr) -> Option<Field> {
    if let Expr::Call(CallExpr { func_name, target: None, args }) = &expression.expr {
        let ("_[_]", [headers, name]) = (func_name.as_str(), args.as_slice()) else { return None };
        let name = HeaderName::from_bytes(literal(name)?.as_bytes()).ok()?;
        return Some(Field::Header(headers_of(headers)?, name));
    }
    Some(match selected(expression)? {
        ("api", "name") => Field::ApiName,
        ("operation", "name") => Field::OperationName,
        ("product", "name") => Field::ProductName,
        ("request", "host") => Field::Host,
        ("request", "method") => Field::Method,
        ("request", "path") => Field::Path,
        ("request", "scheme") => Field::Scheme,
        ("subscription", "name") => Field::SubscriptionName,
        ("workload", label) => Field::Workload(Fact::parse(label)?),
        _ => return None,
    })
}

fn headers_of(expression: &IdedExpr) -> Option<HeadersOf> {
    match selected(expression)? {
        ("request", "headers") => Some(HeadersOf::Request),
        ("response", "headers") => Some(HeadersOf::Response),
        _ => None,
    }
}

/// `root.field`, and no test of whether it is there.
fn selected(expression: &IdedExpr) -> Option<(&str, &str)> {
    let Expr::Select(select) = &expression.expr else { return None };
    let Expr::Ident(root) = &select.operand.expr else { return None };
    (!select.test).then_some((root.as_str(), select.field.as_str()))
}

fn literal(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

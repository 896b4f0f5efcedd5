//! Expressions and templates: names and kinds are checked when they are read, not when a request comes.

mod reads;
mod template;
mod vocabulary;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cel::Program;
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use serde_saphyr::Spanned;

pub(super) use self::vocabulary::Kind;
use self::vocabulary::{FUNCTIONS, Function, NAMESPACES, ROOTS, TYPES, arithmetic};
use super::condition;
use super::values::Values;
use crate::config::diagnostic::Problem;
use crate::config::document::suggestion;
use crate::model::{Expression, Fact, Section, with_stack};

/// Longest expression, in bytes: what it costs is bounded by its length and by what it looks at.
const MOST_BYTES: usize = 4096;

/// Where an expression stands, and what it may name there.
pub(super) struct Scope<'a> {
    /// There is no answer before outbound, and no error but in on-error.
    pub(super) section: Section,
    /// What some policy sets, and whether it is a secret.
    pub(super) variables: &'a BTreeMap<String, bool>,
    /// The named values, by name.
    pub(super) values: &'a Values,
    /// Whether Egret asks the Kubernetes API server.
    pub(super) has_api_server: bool,
}

impl Scope<'_> {
    /// An expression that comes to a value of this kind.
    pub(super) fn expression(
        &self,
        written: &Spanned<String>,
        kind: Kind,
        problems: &mut Vec<Problem>,
    ) -> Option<Expression> {
        let compiled = self.compile(&written.value, kind);
        compiled.map_err(|fault| problems.push(fault.at(written, 0))).ok()
    }

    fn compile(&self, source: &str, kind: Kind) -> Result<Expression, Fault> {
        let (expression, found) = self.compiled(source)?;
        if !found.fits(kind) {
            let rule = format!("this is {}, not {}", found.label(), kind.label());
            let help = match kind {
                Kind::Int => "convert a text with int(...): int(request.headers[\"x-count\"])",
                Kind::Number => "convert a text with double(...): double(request.headers[\"x-amount\"])",
                _ => "compare it with something: request.method == \"POST\"",
            };
            return Err(Fault::whole(rule, help.to_owned()));
        }
        Ok(expression)
    }

    fn compiled(&self, source: &str) -> Result<(Expression, Kind), Fault> {
        with_stack(|| self.checked(source))
    }

    fn checked(&self, source: &str) -> Result<(Expression, Kind), Fault> {
        if source.len() > MOST_BYTES {
            return Err(Fault::whole("this expression is too long", format!("write at most {MOST_BYTES} bytes")));
        }
        let program = Program::compile(source).map_err(|errors| {
            let error = errors.errors.first();
            let column = error.and_then(|error| usize::try_from(error.pos.1 - 1).ok()).unwrap_or(0);
            let message = error.map(|error| error.msg.as_str()).unwrap_or_default();
            let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
            // What could stand there instead is a list of the grammar's words.
            let message = message.split(" expecting ").next().unwrap_or(message);
            let message = match message.rsplit_once(' ') {
                Some((_, "'<EOF>'")) => "it ends too early".to_owned(),
                _ => message.replace("mismatched input", "unexpected").replace("extraneous input", "unexpected"),
            };
            let help = "write an expression in CEL, like request.method == \"POST\"";
            let rule = format!("this is not an expression: {message}");
            Fault { place: Some((column, column + 1)), ..Fault::whole(rule, help.into()) }
        })?;
        if is_too_deep(program.expression()) {
            let rule = format!("this expression has more than {} operations in one another", Expression::DEEPEST);
            return Err(Fault::whole(rule, "compute a part of it before, with set-variable".to_owned()));
        }
        let mut check = Check {
            scope: self,
            program: &program,
            bound: Vec::new(),
            bodies: [false; 2],
            bytes: false,
            secret: false,
            said: 0,
            named: 0,
        };
        let found = check.kind(program.expression())?;
        if found == Kind::Type {
            let help = "compare it: type(...) == string".to_owned();
            return Err(Fault::whole("a type cannot be the value of an expression", help));
        }
        if let Kind::Root(index) = found {
            let (name, fields) = ROOTS[index];
            let help = format!("name one of its fields: {}", list(name, fields));
            return Err(Fault::whole(format!("`{name}` cannot be the value of an expression"), help));
        }
        let ([reads_request_body, reads_response_body], reads_request_bytes) = (check.bodies, check.bytes);
        // Which variable it is may be known only when a request comes.
        let any = check.said > check.named && self.variables.values().any(|secret| *secret);
        let is_secret = check.secret || any;
        let expression = Expression {
            source: source.trim().into(),
            condition: condition::of(program.expression()),
            reads: reads::of(program.expression()).into(),
            program: Arc::new(program),
            reads_request_body,
            reads_request_bytes,
            reads_response_body,
            is_secret,
        };
        Ok((expression, found))
    }
}

/// Returns whether more operations are in one another than are evaluated. It does not call itself.
fn is_too_deep(whole: &IdedExpr) -> bool {
    let mut open = vec![(whole, 1)];
    while let Some((expression, depth)) = open.pop() {
        if depth > Expression::DEEPEST {
            return true;
        }
        let mut add = |part| open.push((part, depth + 1));
        match &expression.expr {
            Expr::Select(select) => add(&select.operand),
            Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(add),
            Expr::List(list) => list.elements.iter().for_each(add),
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        add(&entry.key);
                        add(&entry.value);
                    }
                }
            }
            Expr::Comprehension(each) => {
                [&each.iter_range, &each.accu_init, &each.loop_cond, &each.loop_step, &each.result]
                    .into_iter()
                    .for_each(add);
            }
            Expr::Literal(_) | Expr::Ident(_) | Expr::Struct(_) | Expr::Unspecified => {}
        }
    }
    false
}

/// What is wrong with an expression.
struct Fault {
    /// Where in it, in bytes.
    place: Option<(usize, usize)>,
    rule: String,
    help: String,
    /// The keys without which it arises.
    lacks: &'static [&'static str],
}

/// The keys that set variables, or lead to such keys.
const SETS_VARIABLES: &[&str] = &[
    "cache-lookup-value",
    "errors_variable",
    "name",
    "output_variable",
    "remaining_variable",
    "send-request",
    "set-variable",
    "variable",
    "wait",
];

impl Fault {
    fn whole(rule: impl Into<String>, help: String) -> Self {
        Self { place: None, rule: rule.into(), help, lacks: &[] }
    }

    /// In a text in which the expression begins here.
    fn at(self, written: &Spanned<String>, offset: usize) -> Problem {
        let problem = Problem::at(written, self.rule, self.help).lacking(self.lacks);
        match self.place {
            Some((start, end)) => problem.within(written, offset + start..offset + end),
            None => problem,
        }
    }
}

struct Check<'a> {
    scope: &'a Scope<'a>,
    program: &'a Program,
    /// The names that macros bind.
    bound: Vec<&'a str>,
    /// Whether the request's and the answer's are looked at.
    bodies: [bool; 2],
    /// Whether the request's is taken as it is.
    bytes: bool,
    /// Whether a variable that is a secret is named.
    secret: bool,
    /// How often `variables` is said, and how often with a name.
    said: u32,
    named: u32,
}

impl<'a> Check<'a> {
    fn fault(&self, at: &IdedExpr, rule: impl Into<String>, help: impl Into<String>) -> Fault {
        let place = self.program.source_info().offset_for(at.id);
        let place = place.map(|(start, end)| (start as usize, (end as usize).max(start as usize) + 1));
        Fault { place, ..Fault::whole(rule, help.into()) }
    }

    fn kind(&mut self, expression: &'a IdedExpr) -> Result<Kind, Fault> {
        match &expression.expr {
            Expr::Literal(literal) => Ok(match literal {
                LiteralValue::Boolean(_) => Kind::Bool,
                LiteralValue::Double(_) => Kind::Double,
                LiteralValue::Int(_) => Kind::Int,
                LiteralValue::String(_) => Kind::Text,
                LiteralValue::Bytes(_) => Kind::Bytes,
                LiteralValue::UInt(_) => Kind::UInt,
                LiteralValue::Null => Kind::Any,
            }),
            Expr::Ident(name) => self.ident(expression, name),
            Expr::Select(select) => {
                let operand = self.kind(&select.operand)?;
                let kind = self.field(expression, operand, &select.field)?;
                Ok(if select.test { Kind::Bool } else { kind })
            }
            Expr::Call(call) => self.call(expression, call),
            Expr::List(list) => {
                list.elements.iter().try_for_each(|element| self.kind(element).map(drop))?;
                Ok(Kind::List)
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.kind(&entry.key)?;
                        self.kind(&entry.value)?;
                    }
                }
                Ok(Kind::Any)
            }
            Expr::Comprehension(each) => {
                self.kind(&each.iter_range)?;
                let before = self.bound.len();
                self.bound.extend([each.iter_var.as_str(), each.accu_var.as_str()]);
                self.bound.extend(each.iter_var2.as_deref());
                let parts = [&each.accu_init, &each.loop_cond, &each.loop_step, &each.result];
                let outcome = parts.into_iter().try_for_each(|part| self.kind(part).map(drop));
                self.bound.truncate(before);
                outcome.map(|()| Kind::Any)
            }
            Expr::Struct(_) | Expr::Unspecified => {
                Err(self.fault(expression, "messages are not supported", "use a text, a number, a list or a map"))
            }
        }
    }

    fn ident(&mut self, at: &IdedExpr, name: &str) -> Result<Kind, Fault> {
        if self.bound.contains(&name) || name.starts_with('@') {
            return Ok(Kind::Any);
        }
        if name == "now" {
            return Ok(Kind::Time);
        }
        if TYPES.contains(&name) {
            return Ok(Kind::Type);
        }
        let Some(index) = ROOTS.iter().position(|(root, _)| *root == name) else {
            let names: Vec<_> = ROOTS.iter().map(|(root, _)| (*root).to_owned()).chain(["now".to_owned()]).collect();
            return Err(self.fault(at, format!("`{name}` is not known"), suggestion(name, names.iter())));
        };
        self.said += u32::from(name == "variables");
        let section = self.scope.section;
        match name {
            "response" if matches!(section, Section::Inbound) => {
                Err(self.fault(at, "there is no response yet in inbound", "move the policy to outbound"))
            }
            "error" if section != Section::OnError => {
                Err(self.fault(at, "`error` exists only in on-error", "move the policy to on-error"))
            }
            _ => Ok(Kind::Root(index)),
        }
    }

    fn field(&mut self, at: &IdedExpr, operand: Kind, field: &str) -> Result<Kind, Fault> {
        let index = match operand {
            Kind::Root(index) => index,
            Kind::Map => return Ok(Kind::Text),
            Kind::Any => return Ok(Kind::Any),
            other => {
                return Err(self.fault(
                    at,
                    format!("{} has no `{field}`", other.label()),
                    "use a value that has fields, like request",
                ));
            }
        };
        let (root, fields) = ROOTS[index];
        if root == "variables" {
            if let Some(secret) = self.scope.variables.get(field) {
                self.named += 1;
                self.secret |= secret;
                return Ok(Kind::Any);
            }
            let rule = format!("no policy sets the variable `{field}`");
            let help = match self.scope.variables.is_empty() {
                true => format!("set it before: set-variable: {{name: {field}, value: EXPRESSION}}"),
                false => suggestion(field, self.scope.variables.keys()),
            };
            return Err(Fault { lacks: SETS_VARIABLES, ..self.fault(at, rule, help) });
        }
        let needs_api_server = match Fact::parse(field) {
            Some(fact) => fact.needs_api_server(),
            None => matches!(field, "labels" | "annotations"),
        };
        if root == "workload" && needs_api_server && !self.scope.has_api_server {
            let rule = format!(
                "`workload.{field}` is always empty: only the Kubernetes API server says it, and Egret does not ask it"
            );
            let help = "add kubernetes: {api: true}".to_owned();
            return Err(Fault { lacks: &["kubernetes"], ..self.fault(at, rule, help) });
        }
        match field {
            "body" => self.bodies[usize::from(root == "response")] = true,
            "body_bytes" => self.bytes = true,
            _ => {}
        }
        let found = fields.iter().find(|(name, _)| *name == field);
        found.map(|(_, kind)| *kind).ok_or_else(|| {
            let names: Vec<_> = fields.iter().map(|(name, _)| (*name).to_owned()).collect();
            let help = match (root, field) {
                ("workload", "name") => {
                    "write `workload.owner`, which no caller can choose; `workload.claimed_name` is what it calls itself"
                        .to_owned()
                }
                _ => suggestion(field, names.iter()),
            };
            self.fault(at, format!("`{root}` has no `{field}`"), help)
        })
    }

    fn call(&mut self, at: &'a IdedExpr, call: &'a CallExpr) -> Result<Kind, Fault> {
        let space = call.target.as_ref().and_then(|target| match &target.expr {
            Expr::Ident(name) if NAMESPACES.contains(&name.as_str()) && !self.bound.contains(&name.as_str()) => {
                Some(name)
            }
            _ => None,
        });
        if let Some(space) = space {
            let kinds = call.args.iter().map(|argument| self.kind(argument)).collect::<Result<Vec<_>, _>>()?;
            return self.function(at, &format!("{space}.{}", call.func_name), None, &kinds, call);
        }
        let name = call.func_name.as_str();
        let target = call.target.as_ref().map(|target| self.kind(target)).transpose()?;
        let kinds = call.args.iter().map(|argument| self.kind(argument)).collect::<Result<Vec<_>, _>>()?;
        match (name, kinds.as_slice()) {
            ("_&&_" | "_||_" | "!_", _) => {
                if let Some((kind, argument)) = kinds.iter().zip(&call.args).find(|(kind, _)| !kind.fits(Kind::Bool)) {
                    let rule = format!("this is {}, not true or false", kind.label());
                    return Err(self.fault(argument, rule, "compare it with something: ... == \"value\""));
                }
                Ok(Kind::Bool)
            }
            ("_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_", [left, right]) => {
                let comparable = left.fits(*right) || (left.is_number() && right.is_number());
                if !comparable {
                    let rule = format!("{} is compared with {}", left.label(), right.label());
                    return Err(self.fault(at, rule, "convert one of them: int(...), string(...)"));
                }
                Ok(Kind::Bool)
            }
            ("@in", [_, Kind::Text | Kind::Int | Kind::Bool]) => Err(self.fault(
                at,
                "`in` needs a list or a map on its right",
                "write x in [\"a\", \"b\"], or \"x-name\" in request.headers",
            )),
            ("@in", _) => Ok(Kind::Bool),
            ("_?_:_", [condition, yes, no]) => {
                if !condition.fits(Kind::Bool) {
                    return Err(self.fault(
                        at,
                        "the condition before `?` is not true or false",
                        "compare it with something: ... == \"value\"",
                    ));
                }
                Ok(if yes == no { *yes } else { Kind::Any })
            }
            ("_[_]", [Kind::Root(_), _]) => {
                let (Kind::Root(index), Expr::Literal(LiteralValue::String(field))) = (kinds[0], &call.args[1].expr)
                else {
                    return Err(self.fault(at, "the name of this field must be literal", "write it in quotes"));
                };
                self.field(at, Kind::Root(index), field.inner())
            }
            ("_[_]", [Kind::Map, key]) if key.fits(Kind::Text) => Ok(Kind::Text),
            ("_[_]", [Kind::Any | Kind::List, _]) => Ok(Kind::Any),
            ("_[_]", [kind, _]) => Err(self.fault(at, format!("{} has no items", kind.label()), "use a list or a map")),
            ("_+_" | "_-_" | "_*_" | "_/_" | "_%_", [left, right]) => {
                arithmetic(name, *left, *right).ok_or_else(|| {
                    let sign = name.trim_matches('_');
                    let rule = format!("`{sign}` does not take {} and {}", left.label(), right.label());
                    let help = match [left, right].contains(&&Kind::Text) {
                        true => "convert it to a text: string(...)",
                        false => "convert one of them: int(...), double(...), duration(...)",
                    };
                    self.fault(at, rule, help)
                })
            }
            ("-_" | "@not_strictly_false", [kind]) => Ok(*kind),
            _ => self.function(at, name, target, &kinds, call),
        }
    }

    fn function(
        &self,
        at: &IdedExpr,
        name: &str,
        target: Option<Kind>,
        kinds: &[Kind],
        call: &CallExpr,
    ) -> Result<Kind, Fault> {
        let named: Vec<_> = FUNCTIONS.iter().filter(|(function, ..)| *function == name).collect();
        if name == "raw" {
            return Err(self.fault(
                at,
                "raw(...) works only around the whole expression of a ${...}",
                "write ${raw(request.path)}",
            ));
        }
        if named.is_empty() {
            let names: BTreeSet<_> = FUNCTIONS.iter().map(|(function, ..)| (*function).to_owned()).collect();
            return Err(self.fault(at, format!("there is no function `{name}`"), suggestion(name, names.iter())));
        }
        let fits = |(_, on, takes, _): &&&Function| {
            let target = match (on, target) {
                (None, None) => true,
                (Some(on), Some(target)) => on.fits(target),
                _ => false,
            };
            target && takes.len() == kinds.len() && takes.iter().zip(kinds).all(|(takes, kind)| takes.fits(*kind))
        };
        let Some((.., comes_to)) = named.iter().find(fits) else {
            let forms: Vec<_> = named.iter().map(|(name, on, takes, _)| form(name, *on, takes)).collect();
            return Err(self.fault(
                at,
                format!("`{name}` does not take these arguments"),
                format!("call {}", forms.join(", or ")),
            ));
        };
        if matches!(name, "base64.encode" | "sha256" | "sha512")
            && let Some(argument) = call.args.first().filter(|argument| is_body(argument))
        {
            return Err(self.fault(argument, BODY_AS_TEXT, "use request.body_bytes"));
        }
        if name == "matches"
            && let Some(Expr::Literal(LiteralValue::String(pattern))) = call.args.last().map(|argument| &argument.expr)
            && let Err(error) = regex::Regex::new(pattern.inner())
        {
            let error = error.to_string();
            let rule = format!(
                "not a regular expression: {}",
                error.lines().last().unwrap_or_default().trim_start_matches("error: ")
            );
            let pattern = call.args.last().unwrap_or(at);
            return Err(self.fault(
                pattern,
                rule,
                "use the syntax of RE2 (the Rust crate regex), without look-around and back-references",
            ));
        }
        if let (Some(Kind::Time), [zone]) = (target, call.args.as_slice())
            && let Expr::Literal(LiteralValue::String(name)) = &zone.expr
            && !is_time_zone(name.inner())
        {
            let rule = format!("`{}` is not a time zone", name.inner());
            return Err(self.fault(zone, rule, "write a name like \"Europe/Berlin\", or an offset like \"+01:00\""));
        }
        Ok(*comes_to)
    }
}

fn is_time_zone(name: &str) -> bool {
    let program = Program::compile("timestamp(0).getHours(zone)");
    let mut context = cel::Context::default();
    context.add_variable_from_value("zone", name);
    program.is_ok_and(|program| program.execute(&context).is_ok())
}

/// What signatures and digests are not made of.
const BODY_AS_TEXT: &str = "this is the body as a text, which loses bytes that are not UTF-8";

/// Whether it is the request's body, as a text.
fn is_body(expression: &IdedExpr) -> bool {
    let Expr::Select(select) = &expression.expr else { return false };
    select.field == "body" && matches!(&select.operand.expr, Expr::Ident(root) if root == "request")
}

fn form(name: &str, on: Option<Kind>, takes: &[Kind]) -> String {
    let takes = takes.iter().map(|kind| kind.label()).collect::<Vec<_>>().join(", ");
    on.map_or_else(|| format!("{name}({takes})"), |on| format!("{name}({takes}) on {}", on.label()))
}

fn list(root: &str, fields: &[(&str, Kind)]) -> String {
    fields.iter().map(|(field, _)| format!("{root}.{field}")).collect::<Vec<_>>().join(", ")
}

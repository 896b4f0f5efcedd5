use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use cel::common::traits::{Container, Indexer, Sizer};
use cel::common::types::{CelBytes, CelInt, CelString, MAP_TYPE, Type};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{ExecutionError, Value};
use chrono::{DateTime, Utc};
use http::HeaderMap;

use super::condition;
use crate::model::{Fact, Known};
use crate::policy::engine::call::Call;
use crate::policy::engine::query::parameters;
use crate::policy::engine::secrecy::MASK;

/// A part of a call as expressions see it: nothing is copied that they do not look at.
#[derive(Clone, Copy, Debug)]
enum View<'a> {
    Annotations(Seen<'a>),
    Api(&'a Call<'a>),
    Error(&'a Call<'a>),
    Headers(&'a Call<'a>, Option<&'a HeaderMap>),
    Labels(Seen<'a>),
    Operation(&'a Call<'a>),
    Parameters(&'a [(Arc<str>, String)]),
    Product(&'a Call<'a>),
    Query(&'a Call<'a>),
    Request(&'a Call<'a>),
    Response(&'a Call<'a>),
    Subscription(&'a Call<'a>),
    Variables(&'a [(Arc<str>, Value)]),
    Workload(Seen<'a>),
}

/// A call as one expression sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) call: &'a Call<'a>,
    /// Whether the expression decides something, so that a fact which is not known makes it fail.
    pub(super) decides: bool,
}

impl VariableResolver for Seen<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let call = self.call;
        Some(CowVal::owned(match name {
            "request" => View::Request(call),
            "response" => View::Response(call),
            "workload" => View::Workload(*self),
            "api" => View::Api(call),
            "operation" => View::Operation(call),
            "product" => View::Product(call),
            "subscription" => View::Subscription(call),
            "error" => View::Error(call),
            "variables" => View::Variables(&call.message.variables),
            "now" => {
                let now: DateTime<Utc> = call.context.time.into();
                return Some(CowVal::owned(cel::common::types::CelTimestamp::from(now.fixed_offset())));
            }
            _ => return None,
        }))
    }
}

impl<'a> View<'a> {
    fn field<'b, 'v>(&self, name: &str) -> Option<CowVal<'b, 'v>>
    where
        'a: 'v,
    {
        let text = |text: &'a str| CowVal::owned(CelString::from(text));
        let number = |number: i64| CowVal::owned(CelInt::from(number));
        Some(match (*self, name) {
            (Self::Request(call), "method") => text(call.message.request.method.as_str()),
            (Self::Request(call), "scheme") => text(call.context.scheme),
            (Self::Request(call), "host") => text(call.context.host.as_str()),
            (Self::Request(call), "path") => CowVal::owned(CelString::from(call.path().into_owned())),
            (Self::Request(call), "query") => CowVal::owned(View::Query(call)),
            (Self::Request(call), "headers") => CowVal::owned(View::Headers(call, Some(&call.message.request.headers))),
            (Self::Request(call), "parameters") => CowVal::owned(View::Parameters(&call.context.parameters)),
            (Self::Request(call), "id") => CowVal::owned(CelString::from(call.request_id())),
            (Self::Request(call), "body") if call.message.secrecy.body && !call.message.secrecy.unmasked => text(MASK),
            (Self::Request(call), "body") => body(call.message.request_body.as_deref()),
            // A digest of a mask is of no use to anybody: there are no bytes to see then.
            (Self::Request(call), "body_bytes") if call.message.secrecy.body && !call.message.secrecy.unmasked => {
                return None;
            }
            (Self::Request(call), "body_bytes") => {
                CowVal::owned(CelBytes::from(call.message.request_body.as_deref().unwrap_or_default()))
            }
            (Self::Request(call), "query_string")
                if call.message.secrecy.parameters.is_empty() || call.message.secrecy.unmasked =>
            {
                text(query(call))
            }
            (Self::Request(call), "query_string") => {
                let target = call.message.shown_target();
                CowVal::owned(CelString::from(target.split_once('?').map_or("", |(_, query)| query).to_owned()))
            }
            (Self::Response(call), "status") => {
                number(call.message.response.as_ref().map_or(0, |response| i64::from(response.status.as_u16())))
            }
            (Self::Response(call), "headers") => {
                CowVal::owned(View::Headers(call, call.message.response.as_ref().map(|response| &response.headers)))
            }
            (Self::Response(call), "body") => body(call.message.response_body.as_deref()),
            (Self::Workload(Seen { call, .. }), "pid") => number(call.context.workload.pid.into()),
            (Self::Workload(Seen { call, .. }), "uid") => number(call.context.workload.uid.into()),
            (Self::Workload(seen), "labels") => CowVal::owned(View::Labels(seen)),
            (Self::Workload(seen), "annotations") => CowVal::owned(View::Annotations(seen)),
            (Self::Workload(Seen { call, .. }), "unknown") => {
                let fields = call.context.workload.unknown_fields().map(|field| Value::from(field.to_owned()));
                let value: Box<dyn Val> = Value::List(Arc::new(fields.collect())).try_into().ok()?;
                CowVal::Owned(value)
            }
            (Self::Workload(Seen { call, .. }), label) => text(call.context.workload.text(Fact::parse(label)?)),
            (Self::Api(call), "name") => text(&call.context.api.name),
            (Self::Product(call), "name") => text(call.context.product),
            (Self::Subscription(call), "name") => text(call.context.subscription),
            (Self::Operation(call), field) => {
                let operation = call.context.operation;
                match field {
                    "name" => text(operation.map_or("", |operation| &operation.name)),
                    "method" => text(operation.and_then(|operation| operation.method.as_deref()).unwrap_or_default()),
                    "path" => CowVal::owned(CelString::from(
                        operation.map(|operation| operation.path.to_string()).unwrap_or_default(),
                    )),
                    _ => return None,
                }
            }
            (Self::Error(call), field) => {
                let error = call.context.error.as_ref();
                let source = error.and_then(|error| error.source.as_ref());
                match field {
                    "reason" => text(error.map_or("", |error| error.reason.label())),
                    "message" => text(error.map_or("", |error| error.message.as_str())),
                    "status" => number(error.map_or(0, |error| i64::from(error.status))),
                    "source" => text(source.map_or("", |source| source.policy)),
                    "policy" => text(source.and_then(|source| source.id.as_deref()).unwrap_or_default()),
                    "section" => text(source.map_or("", |source| source.section.label())),
                    _ => return None,
                }
            }
            (Self::Variables(variables), name) => {
                let (_, value) = variables.iter().rev().find(|(known, _)| **known == *name)?;
                let value: Box<dyn Val> = value.clone().try_into().ok()?;
                CowVal::Owned(value)
            }
            // What is not there is empty.
            _ => CowVal::owned(CelString::from(self.entry(name).unwrap_or_default())),
        })
    }

    /// Returns the entry with a name that an outside party has chosen; several of one name are joined with commas, as RFC 9110
    /// §5.3 does for header fields.
    fn entry(&self, name: &str) -> Option<String> {
        match *self {
            Self::Headers(call, headers) => {
                condition::one(headers?, name, call.message.secrecy.unmasked).map(Cow::into_owned)
            }
            Self::Query(call) => {
                // The third party may take any of several.
                let values = parameters(query(call)).filter(|(known, _)| *known == name).map(|(_, value)| value);
                let value = values.reduce(|all, value| all + "," + value)?;
                let secret = !call.message.secrecy.unmasked
                    && (call.message.secrecy.target
                        || call.message.secrecy.parameters.iter().any(|known| **known == *name));
                Some(if secret { MASK.to_owned() } else { value.into_owned() })
            }
            Self::Parameters(parameters) => {
                let (_, value) = parameters.iter().find(|(known, _)| **known == *name)?;
                Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
            }
            Self::Labels(_) | Self::Annotations(_) => match self.fact(name)? {
                Known::Is(text) => Some(text.to_owned()),
                Known::Absent | Known::Unknown => None,
            },
            _ => None,
        }
    }

    /// Returns what is known of a fact about the workload; nothing for what is no such fact.
    fn fact(&self, name: &str) -> Option<Known<'a>> {
        match *self {
            Self::Workload(Seen { call, .. }) => Some(call.context.workload.fact(Fact::parse(name)?)),
            Self::Labels(Seen { call, .. }) => Some(call.context.workload.label(name)),
            Self::Annotations(Seen { call, .. }) => Some(call.context.workload.annotation(name)),
            _ => None,
        }
    }

    /// Fails for a fact that is not known, where something is decided by it.
    fn known(&self, name: &str) -> Result<(), ExecutionError> {
        let (Self::Workload(seen) | Self::Labels(seen) | Self::Annotations(seen)) = self else { return Ok(()) };
        let is_unknown = seen.decides && self.fact(name) == Some(Known::Unknown);
        if is_unknown { Err(ExecutionError::no_such_key(name)) } else { Ok(()) }
    }
}

fn query<'a>(call: &'a Call<'_>) -> &'a str {
    call.message.request.uri.query().unwrap_or_default()
}

fn body<'b, 'v>(bytes: Option<&[u8]>) -> CowVal<'b, 'v> {
    CowVal::owned(CelString::from(String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()))
}

impl Val for View<'_> {
    fn get_type(&self) -> &Type {
        &MAP_TYPE
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn into_indexer<'v>(self: Box<Self>) -> Option<Box<dyn Indexer + 'v>>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

impl Indexer for View<'_> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = name(index)?;
        self.known(name)?;
        self.field(name).ok_or_else(|| ExecutionError::no_such_key(name))
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = name(index)?;
        self.known(name)?;
        self.field(name).map(CowVal::into_owned).ok_or_else(|| ExecutionError::no_such_key(name))
    }
}

impl Container for View<'_> {
    fn contains(&self, index: &dyn Val) -> Result<bool, ExecutionError> {
        let name = name(index)?;
        self.known(name)?;
        Ok(match self {
            Self::Headers(..) | Self::Parameters(_) | Self::Query(_) | Self::Labels(_) | Self::Annotations(_) => {
                self.entry(name).is_some()
            }
            Self::Workload(_) => match self.fact(name) {
                Some(known) => matches!(known, Known::Is(_)),
                None => self.field(name).is_some(),
            },
            _ => self.field(name).is_some(),
        })
    }
}

impl Sizer for View<'_> {
    fn size(&self) -> CelInt {
        let size = match self {
            Self::Headers(_, headers) => headers.map_or(0, HeaderMap::len),
            Self::Parameters(parameters) => parameters.len(),
            Self::Query(call) => parameters(query(call)).count(),
            Self::Labels(seen) => seen.call.context.workload.identity.labels.len(),
            Self::Annotations(seen) => seen.call.context.workload.identity.annotations.len(),
            Self::Variables(variables) => variables.len(),
            _ => 0,
        };
        i64::try_from(size).unwrap_or(i64::MAX).into()
    }
}

fn name(index: &dyn Val) -> Result<&str, ExecutionError> {
    let name = index.downcast_ref::<CelString>().map(CelString::inner);
    name.ok_or_else(|| ExecutionError::UnexpectedType {
        got: index.get_type().name().to_owned(),
        want: "string".to_owned(),
    })
}

//! What expressions can say, and of which kind that is.

/// What an expression comes to, as far as is known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config::compile) enum Kind {
    Any,
    Bool,
    Bytes,
    Double,
    Duration,
    Int,
    List,
    /// Of texts; what is missing is an empty one.
    Map,
    /// With a point or without.
    Number,
    Text,
    Time,
    /// A type, like `int`.
    Type,
    UInt,
    /// One of the roots, by its index.
    Root(usize),
}

impl Kind {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::Bool => "true or false",
            Self::Bytes => "bytes",
            Self::Double => "a number with a point",
            Self::Duration => "a duration",
            Self::Int => "a whole number",
            Self::List => "a list",
            Self::Map | Self::Root(_) => "keys and values",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Time => "a time",
            Self::Type => "a type",
            Self::UInt => "an unsigned whole number",
        }
    }

    pub(super) fn fits(self, other: Self) -> bool {
        let any = self == Self::Any || other == Self::Any;
        self == other || any || (other == Self::Number && self.is_number())
    }

    /// Returns whether it can be compared with any number.
    pub(super) const fn is_number(self) -> bool {
        matches!(self, Self::Double | Self::Int | Self::Number | Self::UInt)
    }
}

/// What expressions may look at.
pub(super) const ROOTS: &[(&str, &[(&str, Kind)])] = &[
    (
        "request",
        &[
            ("body", Kind::Text),
            ("body_bytes", Kind::Bytes),
            ("headers", Kind::Map),
            ("host", Kind::Text),
            ("id", Kind::Text),
            ("method", Kind::Text),
            ("parameters", Kind::Map),
            ("path", Kind::Text),
            ("query", Kind::Map),
            ("query_string", Kind::Text),
            ("scheme", Kind::Text),
        ],
    ),
    ("response", &[("body", Kind::Text), ("headers", Kind::Map), ("status", Kind::Int)]),
    (
        "workload",
        &[
            ("annotations", Kind::Map),
            ("cgroup", Kind::Text),
            ("claimed_name", Kind::Text),
            ("command", Kind::Text),
            ("container", Kind::Text),
            ("container_name", Kind::Text),
            ("controller", Kind::Text),
            ("executable", Kind::Text),
            ("image", Kind::Text),
            ("labels", Kind::Map),
            ("namespace", Kind::Text),
            ("owner", Kind::Text),
            ("pid", Kind::Int),
            ("pod", Kind::Text),
            ("pod_name", Kind::Text),
            ("service_account", Kind::Text),
            ("uid", Kind::Int),
            ("unit", Kind::Text),
            ("unknown", Kind::List),
            ("user", Kind::Text),
        ],
    ),
    ("api", &[("name", Kind::Text)]),
    ("product", &[("name", Kind::Text)]),
    ("subscription", &[("name", Kind::Text)]),
    ("operation", &[("method", Kind::Text), ("name", Kind::Text), ("path", Kind::Text)]),
    (
        "error",
        &[
            ("message", Kind::Text),
            ("policy", Kind::Text),
            ("reason", Kind::Text),
            ("section", Kind::Text),
            ("source", Kind::Text),
            ("status", Kind::Int),
        ],
    ),
    ("variables", &[]),
];

/// Names of types, for `type(…) == int`.
pub(super) const TYPES: &[&str] =
    &["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// A function: its name, what it is called on, what it takes, and what it returns.
pub(super) type Function = (&'static str, Option<Kind>, &'static [Kind], Kind);

/// Functions. The first that fits is meant. They are CEL's standard functions (cel-spec, `doc/langdef.md`), its strings extension
/// (`ext/strings` of cel-go) and Egret's own: `base64`, `hex`, `json`, `random`, `sha256` and `sha512`.
pub(super) const FUNCTIONS: &[Function] = &[
    ("base64.decode", None, &[Kind::Text], Kind::Bytes),
    ("base64.encode", None, &[Kind::Text], Kind::Text),
    ("base64.encode", None, &[Kind::Bytes], Kind::Text),
    ("bool", None, &[Kind::Any], Kind::Bool),
    ("bytes", None, &[Kind::Text], Kind::Bytes),
    ("bytes", None, &[Kind::Bytes], Kind::Bytes),
    ("charAt", Some(Kind::Text), &[Kind::Int], Kind::Text),
    ("contains", Some(Kind::Text), &[Kind::Text], Kind::Bool),
    ("double", None, &[Kind::Any], Kind::Double),
    ("duration", None, &[Kind::Text], Kind::Duration),
    ("duration", None, &[Kind::Duration], Kind::Duration),
    ("dyn", None, &[Kind::Any], Kind::Any),
    ("endsWith", Some(Kind::Text), &[Kind::Text], Kind::Bool),
    ("format", Some(Kind::Text), &[Kind::List], Kind::Text),
    ("getDate", Some(Kind::Time), &[], Kind::Int),
    ("getDate", Some(Kind::Time), &[Kind::Text], Kind::Int),
    ("getDayOfMonth", Some(Kind::Time), &[], Kind::Int),
    ("getDayOfMonth", Some(Kind::Time), &[Kind::Text], Kind::Int),
    ("getDayOfWeek", Some(Kind::Time), &[], Kind::Int),
    ("getDayOfWeek", Some(Kind::Time), &[Kind::Text], Kind::Int),
    ("getDayOfYear", Some(Kind::Time), &[], Kind::Int),
    ("getDayOfYear", Some(Kind::Time), &[Kind::Text], Kind::Int),
    ("getFullYear", Some(Kind::Time), &[], Kind::Int),
    ("getFullYear", Some(Kind::Time), &[Kind::Text], Kind::Int),
    ("getHours", Some(Kind::Time), &[], Kind::Int),
    ("getHours", Some(Kind::Time), &[Kind::Text], Kind::Int),
    ("getHours", Some(Kind::Duration), &[], Kind::Int),
    ("getMilliseconds", Some(Kind::Time), &[], Kind::Int),
    ("getMilliseconds", Some(Kind::Time), &[Kind::Text], Kind::Int),
    ("getMilliseconds", Some(Kind::Duration), &[], Kind::Int),
    ("getMinutes", Some(Kind::Time), &[], Kind::Int),
    ("getMinutes", Some(Kind::Time), &[Kind::Text], Kind::Int),
    ("getMinutes", Some(Kind::Duration), &[], Kind::Int),
    ("getMonth", Some(Kind::Time), &[], Kind::Int),
    ("getMonth", Some(Kind::Time), &[Kind::Text], Kind::Int),
    ("getSeconds", Some(Kind::Time), &[], Kind::Int),
    ("getSeconds", Some(Kind::Time), &[Kind::Text], Kind::Int),
    ("getSeconds", Some(Kind::Duration), &[], Kind::Int),
    ("hex", None, &[Kind::Bytes], Kind::Text),
    ("indexOf", Some(Kind::Text), &[Kind::Text], Kind::Int),
    ("indexOf", Some(Kind::Text), &[Kind::Text, Kind::Int], Kind::Int),
    ("int", None, &[Kind::Any], Kind::Int),
    ("join", Some(Kind::List), &[Kind::Text], Kind::Text),
    ("join", Some(Kind::List), &[], Kind::Text),
    ("json", None, &[Kind::Text], Kind::Any),
    ("lastIndexOf", Some(Kind::Text), &[Kind::Text], Kind::Int),
    ("lastIndexOf", Some(Kind::Text), &[Kind::Text, Kind::Int], Kind::Int),
    ("lowerAscii", Some(Kind::Text), &[], Kind::Text),
    ("matches", Some(Kind::Text), &[Kind::Text], Kind::Bool),
    ("matches", None, &[Kind::Text, Kind::Text], Kind::Bool),
    ("random", None, &[], Kind::Double),
    ("replace", Some(Kind::Text), &[Kind::Text, Kind::Text], Kind::Text),
    ("replace", Some(Kind::Text), &[Kind::Text, Kind::Text, Kind::Int], Kind::Text),
    ("reverse", Some(Kind::Text), &[], Kind::Text),
    ("sha256", None, &[Kind::Bytes], Kind::Bytes),
    ("sha256", None, &[Kind::Text], Kind::Bytes),
    ("sha512", None, &[Kind::Bytes], Kind::Bytes),
    ("sha512", None, &[Kind::Text], Kind::Bytes),
    ("size", None, &[Kind::Any], Kind::Int),
    ("size", Some(Kind::Any), &[], Kind::Int),
    ("split", Some(Kind::Text), &[Kind::Text], Kind::List),
    ("split", Some(Kind::Text), &[Kind::Text, Kind::Int], Kind::List),
    ("startsWith", Some(Kind::Text), &[Kind::Text], Kind::Bool),
    ("string", None, &[Kind::Any], Kind::Text),
    ("strings.quote", None, &[Kind::Text], Kind::Text),
    ("substring", Some(Kind::Text), &[Kind::Int], Kind::Text),
    ("substring", Some(Kind::Text), &[Kind::Int, Kind::Int], Kind::Text),
    ("timestamp", None, &[Kind::Any], Kind::Time),
    ("trim", Some(Kind::Text), &[], Kind::Text),
    ("type", None, &[Kind::Any], Kind::Type),
    ("uint", None, &[Kind::Any], Kind::UInt),
    ("upperAscii", Some(Kind::Text), &[], Kind::Text),
];

/// Functions that have a name before theirs.
pub(super) const NAMESPACES: &[&str] = &["base64", "strings"];

/// Returns what an arithmetic operator returns, if it takes values of these kinds.
pub(super) fn arithmetic(operator: &str, left: Kind, right: Kind) -> Option<Kind> {
    use Kind::{Any, Duration, Time};
    match (operator, left, right) {
        (_, Any, _) | (_, _, Any) => Some(Any),
        ("_-_", Time, Time) => Some(Duration),
        ("_+_" | "_-_", Time, Duration) | ("_+_", Duration, Time) => Some(Time),
        ("_+_" | "_-_", Duration, Duration) => Some(Duration),
        ("_+_", Kind::Text | Kind::Bytes | Kind::List, _) if left == right => Some(left),
        _ if left.is_number() && right.is_number() => Some(if left == right { left } else { Any }),
        _ => None,
    }
}

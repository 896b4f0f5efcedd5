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
        }
    }

    pub(super) fn fits(self, other: Self) -> bool {
        let any = self == Self::Any || other == Self::Any;
        self == other || any || (other == Self::Number && matches!(self, Self::Double | Self::Int))
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
            ("cgroup", Kind::Text),
            ("claimed_name", Kind::Text),
            ("command", Kind::Text),
            ("container", Kind::Text),
            ("executable", Kind::Text),
            ("name", Kind::Text),
            ("namespace", Kind::Text),
            ("owner", Kind::Text),
            ("pid", Kind::Int),
            ("pod", Kind::Text),
            ("pod_name", Kind::Text),
            ("service_account", Kind::Text),
            ("uid", Kind::Int),
            ("unit", Kind::Text),
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

/// Functions: what they are called on, what they take, what they come to. The first that fits is meant.
pub(super) const FUNCTIONS: &[(&str, Option<Kind>, &[Kind], Kind)] = &[
    ("base64.decode", None, &[Kind::Text], Kind::Bytes),
    ("base64.encode", None, &[Kind::Text], Kind::Text),
    ("base64.encode", None, &[Kind::Bytes], Kind::Text),
    ("bool", None, &[Kind::Any], Kind::Bool),
    ("bytes", None, &[Kind::Text], Kind::Bytes),
    ("charAt", Some(Kind::Text), &[Kind::Int], Kind::Text),
    ("contains", Some(Kind::Text), &[Kind::Text], Kind::Bool),
    ("double", None, &[Kind::Any], Kind::Double),
    ("duration", None, &[Kind::Text], Kind::Duration),
    ("endsWith", Some(Kind::Text), &[Kind::Text], Kind::Bool),
    ("format", Some(Kind::Text), &[Kind::List], Kind::Text),
    ("getDayOfWeek", Some(Kind::Time), &[], Kind::Int),
    ("getFullYear", Some(Kind::Time), &[], Kind::Int),
    ("getHours", Some(Kind::Time), &[], Kind::Int),
    ("getMinutes", Some(Kind::Time), &[], Kind::Int),
    ("getMonth", Some(Kind::Time), &[], Kind::Int),
    ("hex", None, &[Kind::Bytes], Kind::Text),
    ("indexOf", Some(Kind::Text), &[Kind::Text], Kind::Int),
    ("int", None, &[Kind::Any], Kind::Int),
    ("join", Some(Kind::List), &[Kind::Text], Kind::Text),
    ("join", Some(Kind::List), &[], Kind::Text),
    ("json", None, &[Kind::Text], Kind::Any),
    ("lastIndexOf", Some(Kind::Text), &[Kind::Text], Kind::Int),
    ("lowerAscii", Some(Kind::Text), &[], Kind::Text),
    ("matches", Some(Kind::Text), &[Kind::Text], Kind::Bool),
    ("random", None, &[], Kind::Double),
    ("replace", Some(Kind::Text), &[Kind::Text, Kind::Text], Kind::Text),
    ("sha256", None, &[Kind::Bytes], Kind::Bytes),
    ("sha256", None, &[Kind::Text], Kind::Bytes),
    ("sha512", None, &[Kind::Bytes], Kind::Bytes),
    ("sha512", None, &[Kind::Text], Kind::Bytes),
    ("size", None, &[Kind::Any], Kind::Int),
    ("size", Some(Kind::Any), &[], Kind::Int),
    ("split", Some(Kind::Text), &[Kind::Text], Kind::List),
    ("startsWith", Some(Kind::Text), &[Kind::Text], Kind::Bool),
    ("string", None, &[Kind::Any], Kind::Text),
    ("substring", Some(Kind::Text), &[Kind::Int], Kind::Text),
    ("substring", Some(Kind::Text), &[Kind::Int, Kind::Int], Kind::Text),
    ("timestamp", None, &[Kind::Any], Kind::Time),
    ("trim", Some(Kind::Text), &[], Kind::Text),
    ("upperAscii", Some(Kind::Text), &[], Kind::Text),
];

/// Functions that have a name before theirs.
pub(super) const NAMESPACES: &[&str] = &["base64"];

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Which limit of the configuration it is. Counts are stored under its text, across reloads and restarts.
#[derive(Clone, Debug)]
pub struct LimitId(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    scope: Arc<str>,
    id: Option<Arc<str>>,
    by: Option<Arc<str>>,
    counted: CountedPart,
    text: Arc<str>,
}

/// What of a limit is counted, where it counts several things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedPart {
    /// Calls, or what the limit counts alone.
    Calls,
    /// The bytes of a `quota`.
    Bytes,
    /// The tokens of an `llm-token-limit` in its long period.
    Tokens,
}

impl CountedPart {
    /// The end of the text under which it is counted.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Calls => "",
            Self::Bytes => "/bytes",
            Self::Tokens => "/tokens",
        }
    }

    /// The policy whose counts are saved that counts it.
    const fn saved_policy(self) -> &'static str {
        match self {
            Self::Calls | Self::Bytes => "quota",
            Self::Tokens => "llm-token-limit",
        }
    }
}

impl LimitId {
    /// Returns the limit of a policy: its scope, its name, its `id`, a number where others of the scope are like it, and the
    /// expression by which it counts.
    pub fn new(scope: &Arc<str>, policy: &str, id: Option<&str>, number: u32, by: Option<&Arc<str>>) -> Self {
        let id = match (id.unwrap_or_default(), number) {
            (id, 0 | 1) => id.to_owned(),
            (id, number) => format!("{id}#{number}"),
        };
        let text = format!("{scope}/{policy}/{id}/{}", by.map_or("", |by| by)).into();
        let id = (!id.is_empty()).then(|| id.into());
        let (scope, by) = (Arc::clone(scope), by.cloned());
        Self(Arc::new(Parts { scope, id, by, counted: CountedPart::Calls, text }))
    }

    /// Reads the text under which a count was saved.
    pub fn saved(text: &str) -> Self {
        let parts = [CountedPart::Bytes, CountedPart::Tokens].into_iter();
        let counted = parts.into_iter().find(|part| text.ends_with(part.suffix())).unwrap_or(CountedPart::Calls);
        let limit = text.strip_suffix(counted.suffix()).unwrap_or(text);
        let (scope, rest) = limit.split_once(&format!("/{}/", counted.saved_policy())).unwrap_or((limit, "/"));
        let (id, by) = rest.split_once('/').unwrap_or((rest, ""));
        let part = |text: &str| (!text.is_empty()).then(|| text.into());
        Self(Arc::new(Parts { scope: scope.into(), id: part(id), by: part(by), counted, text: text.into() }))
    }

    /// Returns the count of a part of the limit.
    pub fn part(&self, counted: CountedPart) -> Self {
        let Parts { scope, id, by, text, .. } = &*self.0;
        let text = format!("{text}{}", counted.suffix()).into();
        Self(Arc::new(Parts { scope: Arc::clone(scope), id: id.clone(), by: by.clone(), counted, text }))
    }

    /// Returns the scope in which the policy is written.
    pub fn scope(&self) -> &str {
        &self.0.scope
    }

    /// Returns the `id` of the policy, with a number where others are like it.
    pub fn id(&self) -> Option<&str> {
        self.0.id.as_deref()
    }

    /// Returns the expression by which it counts.
    pub fn by(&self) -> Option<&str> {
        self.0.by.as_deref()
    }

    /// Returns what of the limit is counted.
    pub fn counted(&self) -> CountedPart {
        self.0.counted
    }
}

/// Shows the text under which counts are stored.
impl fmt::Display for LimitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl PartialEq for LimitId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.text == other.0.text
    }
}

impl Eq for LimitId {}

impl Hash for LimitId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

/// A fact that follows from the place of a policy in the configuration: it makes no difference between policies.
#[derive(Clone, Debug)]
pub struct OfPlace<T>(pub T);

impl<T> PartialEq for OfPlace<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for OfPlace<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(id: &LimitId) -> (&str, &str, &str, CountedPart) {
        (id.scope(), id.id().unwrap_or_default(), id.by().unwrap_or_default(), id.counted())
    }

    #[test]
    fn a_saved_count_is_one_of_the_limit_that_it_was_counted_for() {
        use CountedPart::{Bytes, Calls, Tokens};
        let scope = Arc::from("api partner");
        for (id, text, expected) in [
            (LimitId::new(&scope, "quota", None, 1, None), "api partner/quota//", ("api partner", "", "", Calls)),
            (
                LimitId::new(&scope, "quota", Some("mine"), 2, Some(&Arc::from("a / b"))).part(Bytes),
                "api partner/quota/mine#2/a / b/bytes",
                ("api partner", "mine#2", "a / b", Bytes),
            ),
            (
                LimitId::new(&scope, "llm-token-limit", None, 1, None).part(Tokens),
                "api partner/llm-token-limit///tokens",
                ("api partner", "", "", Tokens),
            ),
        ] {
            assert_eq!(id.to_string(), text);
            assert_eq!(parts(&id), expected);
            let saved = LimitId::saved(text);
            assert_eq!((parts(&saved), &saved), (expected, &id));
        }
        assert_eq!(parts(&LimitId::saved("of a file that is older")), ("of a file that is older", "", "", Calls));
    }
}

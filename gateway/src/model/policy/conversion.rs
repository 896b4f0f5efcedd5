use std::sync::Arc;

/// When a body is converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Converted {
    /// Whether it is, whatever its Content-Type says.
    pub always: bool,
    /// Whether an answer is only where the caller's Accept names what comes of it.
    pub consider_accept: bool,
}

/// The name of an element (XML 1.0 §2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XmlName(Arc<str>);

impl XmlName {
    /// If it is one; with a prefix perhaps.
    pub fn parse(text: &str) -> Option<Self> {
        let is_local = |text: &str| text.starts_with(Self::begins) && text.chars().all(Self::has);
        let (prefix, local) = text.split_once(':').unwrap_or(("_", text));
        (is_local(prefix) && is_local(local)).then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it may be first in a name; a colon parts names.
    pub fn begins(c: char) -> bool {
        matches!(c, 'A'..='Z' | '_' | 'a'..='z'
            | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}' | '\u{370}'..='\u{37D}'
            | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}'
            | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}')
    }

    /// Whether it may be in a name.
    pub fn has(c: char) -> bool {
        let more = matches!(c, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}');
        more || Self::begins(c)
    }
}

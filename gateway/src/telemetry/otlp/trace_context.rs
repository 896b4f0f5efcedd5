//! The trace that a request belongs to: W3C Trace Context, level 1 (<https://www.w3.org/TR/trace-context-1/>).

use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The place of a request in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The number of the trace.
    pub trace: [u8; 16],
    /// The span of Egret.
    pub span: [u8; 8],
    /// The span of the caller, if it began the trace.
    pub parent: Option<[u8; 8]>,
    /// Whether the span is recorded.
    pub is_sampled: bool,
    /// What vendors keep in the trace (`tracestate`).
    pub state: String,
}

/// Maximum number of characters of `tracestate` that are kept (§3.3.1.5).
const STATE: usize = 512;

impl TraceContext {
    /// Continues the trace of a request's header fields, if these are valid; otherwise begins one that is sampled with this share of a
    /// million.
    pub(super) fn of<'a>(
        mut parents: impl Iterator<Item = &'a [u8]>,
        states: impl Iterator<Item = &'a [u8]>,
        sampling: u32,
    ) -> Self {
        let span = random().to_be_bytes();
        // More than one is invalid, as `tracestate` is without it (§3.2, §3.3).
        let parent = parents.next().filter(|_| parents.next().is_none()).and_then(parent);
        if let Some((trace, parent, is_sampled)) = parent {
            return Self { trace, span, parent: Some(parent), is_sampled, state: joined(states) };
        }
        let (high, low) = (random(), random());
        let trace = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        let is_sampled = low % 1_000_000 < u64::from(sampling);
        Self { trace, span, parent: None, is_sampled, state: String::new() }
    }

    /// Returns the value of `traceparent` for whoever the request is sent to.
    pub fn header(&self) -> String {
        format!("00-{}-{}-{:02x}", hex(&self.trace), hex(&self.span), u8::from(self.is_sampled))
    }
}

/// Reads a `traceparent`: the trace, the span of the caller, and whether it is sampled (§3.2.2, §4.3).
fn parent(value: &[u8]) -> Option<([u8; 16], [u8; 8], bool)> {
    /// Version, trace, parent and flags of version 00, with the dashes between them.
    const LENGTH: usize = 55;
    let (known, rest) = value.split_at_checked(LENGTH)?;
    let [version] = bytes::<1>(&known[..2])?;
    let may_go_on = version != 0 && rest.first().is_none_or(|next| *next == b'-');
    let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
    if version == 0xff || !dashes || !(rest.is_empty() || may_go_on) {
        return None;
    }
    let (trace, span, [flags]) = (bytes(&known[3..35])?, bytes(&known[36..52])?, bytes::<1>(&known[53..])?);
    (trace != [0; 16] && span != [0; 8]).then_some((trace, span, flags & 1 == 1))
}

/// Reads lower-case hexadecimal digits.
fn bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut read = [0; N];
    for (byte, pair) in read.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    (digits.len() == 2 * N).then_some(read)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Joins the fields of `tracestate`; too long or unprintable, it is dropped.
fn joined<'a>(states: impl Iterator<Item = &'a [u8]>) -> String {
    let states: Vec<_> = states.collect();
    let joined = states.join(&b","[..]);
    let is_printable = joined.iter().all(|byte| (b' '..=b'~').contains(byte));
    if joined.len() > STATE || !is_printable { String::new() } else { String::from_utf8(joined).unwrap_or_default() }
}

/// Returns a number that is not zero and that nobody can guess.
fn random() -> u64 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    KEYS.hash_one(NEXT.fetch_add(1, Ordering::Relaxed)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn of(parents: &[&str], states: &[&str], sampling: u32) -> TraceContext {
        let bytes = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
        let (parents, states) = (bytes(parents), bytes(states));
        TraceContext::of(parents.iter().map(Vec::as_slice), states.iter().map(Vec::as_slice), sampling)
    }

    #[test]
    fn a_valid_trace_is_continued_with_a_span_of_its_own() {
        for (flags, is_sampled) in [("01", true), ("00", false), ("03", true), ("fe", false)] {
            let context = of(&[&format!("00-{TRACE}-{SPAN}-{flags}")], &["a=1", "b=2"], 0);
            assert_eq!((hex(&context.trace), context.is_sampled), (TRACE.to_owned(), is_sampled), "{flags}");
            assert_eq!((context.parent.map(|span| hex(&span)), &*context.state), (Some(SPAN.to_owned()), "a=1,b=2"));
            let header = context.header();
            assert!(header.starts_with(&format!("00-{TRACE}-")) && !header.contains(SPAN), "{header}");
            assert_eq!(of(&[&header], &[], 0).parent, Some(context.span));
        }
        let later = of(&[&format!("cc-{TRACE}-{SPAN}-01-what-the-future-brings")], &[], 0);
        assert!(later.parent.is_some() && later.header().starts_with("00-"));
    }

    #[test]
    fn an_invalid_trace_is_begun_anew() {
        let valid = format!("00-{TRACE}-{SPAN}-01");
        let zeros = (format!("00-{}-{SPAN}-01", "0".repeat(32)), format!("00-{TRACE}-{}-01", "0".repeat(16)));
        let invalid = [
            "".to_owned(),
            format!("{valid}-"),
            format!("{valid}-x"),
            format!(" {valid}"),
            valid.to_uppercase(),
            valid.replacen("00-", "ff-", 1),
            valid.replacen("00-", "0g-", 1),
            format!("01-{TRACE}-{SPAN}-01x"),
            valid.replace('-', "_"),
            valid[..54].to_owned(),
            zeros.0,
            zeros.1,
        ];
        for text in &invalid {
            let context = of(&[text], &["a=1"], 0);
            assert!(context.parent.is_none() && hex(&context.trace) != TRACE && context.state.is_empty(), "{text}");
        }
        assert!(of(&[&valid, &valid], &[], 0).parent.is_none());
        assert!(of(&[], &[], 0).parent.is_none());
    }

    #[test]
    fn a_share_of_the_traces_that_begin_here_is_sampled() {
        let sampled = |sampling| (0..10_000).filter(|_| of(&[], &[], sampling).is_sampled).count();
        assert_eq!((sampled(0), sampled(1_000_000)), (0, 10_000));
        let tenth = sampled(100_000);
        assert!((800..1200).contains(&tenth), "{tenth}");
    }

    #[test]
    fn a_state_that_is_long_or_unprintable_is_dropped() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(of(&[&parent], &[&"a".repeat(513)], 0).state, "");
        assert_eq!(of(&[&parent], &["a=\u{1}"], 0).state, "");
    }
}

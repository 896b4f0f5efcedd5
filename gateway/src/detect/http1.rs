use super::Detection;
use crate::model::{Host, Protocol};

/// Reads a request of HTTP/1 (RFC 9112): the host of its absolute target, which goes before Host (§3.2.2), or its first Host
/// field. Malformed requests are requests, too: the HTTP server that reads them later refuses them.
pub(super) fn request(prefix: &[u8]) -> Detection {
    let Some((line, mut rest)) = split(prefix) else {
        return if may_be(prefix) { Detection::Incomplete } else { Detection::Done(Protocol::Opaque) };
    };
    let Some(target) = target(line) else { return Detection::Done(Protocol::Opaque) };
    if let Some(rest) = absolute(target) {
        return found(Some(authority(rest)));
    }
    while let Some((line, after)) = split(rest) {
        rest = after;
        match cut(line, b':') {
            _ if line.is_empty() => return found(None),
            Some((name, value)) if name.eq_ignore_ascii_case(b"host") => return found(std::str::from_utf8(value).ok()),
            _ => {}
        }
    }
    if prefix.len() < super::MAX_PREFIX { Detection::Incomplete } else { found(None) }
}

fn found(authority: Option<&str>) -> Detection {
    let host = authority.and_then(|authority| Host::parse(without_port(authority)).ok());
    Detection::Done(Protocol::Http1 { host })
}

/// Returns the first line without its end, and what follows it. A bare LF ends a line (RFC 9112 §2.2).
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (line, rest) = cut(bytes, b'\n')?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest))
}

fn cut(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = bytes.iter().position(|byte| *byte == at)?;
    Some((&bytes[..position], &bytes[position + 1..]))
}

/// Returns the target of a line that a server may take for a request line.
fn target(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let (method, target, last) = (words.next()?, words.next()?, words.next_back()?);
    let is_request = may_be(line.as_bytes()) && !method.is_empty() && last.starts_with("HTTP/");
    is_request.then_some(target)
}

/// Returns whether the first line may still become a request line.
fn may_be(prefix: &[u8]) -> bool {
    const LONGEST_METHOD: usize = 24;
    match prefix.iter().position(|byte| !byte.is_ascii_uppercase() && *byte != b'-') {
        None => prefix.len() <= LONGEST_METHOD,
        Some(end) => (1..=LONGEST_METHOD).contains(&end) && matches!(prefix[end], b' ' | b'\t'),
    }
}

/// Returns what follows `://` in a target that begins with a scheme (RFC 3986 §3.1). Any other target may have a URL in its query.
fn absolute(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(is_part);
    is_scheme.then_some(rest)
}

fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

fn without_port(authority: &str) -> &str {
    authority.trim().rsplit_once(':').map_or(authority.trim(), |(host, _)| host)
}

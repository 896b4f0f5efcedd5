use super::Detection;
use crate::model::{Host, Protocol};

const MAX_HEADERS: usize = 128;

/// An HTTP/1 request head (RFC 9112): its Host, or the host of its absolute target.
pub(super) fn request(prefix: &[u8]) -> Detection {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(prefix) {
        Ok(httparse::Status::Complete(_)) => {
            let absolute = request.path.and_then(|target| target.split_once("://")).map(|(_, rest)| authority(rest));
            let header = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("host"));
            let header = header.and_then(|header| std::str::from_utf8(header.value).ok());
            let host = absolute.or(header).and_then(|authority| Host::parse(without_port(authority)).ok());
            Detection::Done(Protocol::Http1 { host })
        }
        Ok(httparse::Status::Partial) if may_be(prefix) => Detection::Incomplete,
        Ok(httparse::Status::Partial) | Err(_) => Detection::Done(Protocol::Opaque),
    }
}

/// Whether the first line may still become a request line: httparse takes any token for a method.
fn may_be(prefix: &[u8]) -> bool {
    const LONGEST_METHOD: usize = 24;
    match prefix.iter().position(|byte| !byte.is_ascii_uppercase() && *byte != b'-') {
        None => prefix.len() <= LONGEST_METHOD,
        Some(end) => end > 0 && prefix[end] == b' ',
    }
}

fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

fn without_port(authority: &str) -> &str {
    authority.trim().rsplit_once(':').map_or(authority.trim(), |(host, _)| host)
}

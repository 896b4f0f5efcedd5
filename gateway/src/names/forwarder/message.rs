//! The parts of a DNS message that the forwarder looks at in each of them (RFC 1035 §4.1). Nothing is copied that is not needed, and
//! no message makes it fail: what it does not understand it does not look at.

const HEADER: usize = 12;

/// `QR` in the third byte: the message is a response.
const RESPONSE: u8 = 0x80;

/// The response code in the fourth byte (RFC 1035 §4.1.1).
const CODE: u8 = 0x0f;

/// The type of records that name a service's parameters (RFC 9460).
const SVCB: u16 = 64;
const HTTPS: u16 = 65;

/// The only question of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// Lower case, no trailing dot.
    name: String,
    kind: u16,
    class: u16,
}

impl Question {
    /// Returns the name of the host that it is about: `_8443._https.host` asks for the parameters of `host`.
    pub(super) fn host(&self) -> &str {
        let mut host = self.name.as_str();
        while matches!(self.kind, SVCB | HTTPS)
            && host.starts_with('_')
            && let Some((_, rest)) = host.split_once('.')
        {
            host = rest;
        }
        host
    }
}

/// Returns the question of a message that has exactly one.
pub(super) fn question(message: &[u8]) -> Option<Question> {
    if half(message, 4)? != 1 {
        return None;
    }
    let (mut name, mut at) = (String::new(), HEADER);
    loop {
        let length = usize::from(*message.get(at)?);
        let label = message.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if length == 0 {
            break;
        }
        // A pointer has nothing to point to here.
        if length > 63 || name.len() + length > 253 {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        // A byte that no host name has; a dot in a label must not look like the end of one.
        name.extend(label.iter().map(|byte| match byte {
            b'.' => '\u{fffd}',
            byte if byte.is_ascii() => char::from(byte.to_ascii_lowercase()),
            _ => '\u{fffd}',
        }));
    }
    Some(Question { name, kind: half(message, at)?, class: half(message, at + 2)? })
}

/// Returns whether a message is a response to a query: the identifier is its, and so is the question. A server that did not
/// understand the query may leave the question out.
pub(super) fn responds(query: &[u8], response: &[u8]) -> bool {
    let Some(identifier) = query.first_chunk::<2>() else { return true };
    if !response.starts_with(identifier) {
        return false;
    }
    let Some(asked) = question(query) else { return true };
    let (Some(flags), Some(code)) = (response.get(2), response.get(3)) else { return false };
    let is_echoed = || match half(response, 4) {
        Some(0) => code & CODE != 0,
        _ => question(response).is_some_and(|echo| echo == asked),
    };
    flags & RESPONSE != 0 && response.len() >= HEADER && is_echoed()
}

fn half(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*message.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend(label.as_bytes());
        }
        message.push(0);
        message.extend([kind.to_be_bytes(), 1u16.to_be_bytes()].concat());
        message
    }

    fn response(to: &[u8]) -> Vec<u8> {
        let mut response = to.to_vec();
        response[2] |= RESPONSE;
        response
    }

    #[test]
    fn a_question_is_read_in_lower_case() {
        assert_eq!(question(&query("aPi.Partner.EXAMPLE", 1)).unwrap().host(), "api.partner.example");
        assert_eq!(question(&query("_8443._https.api.example", HTTPS)).unwrap().host(), "api.example");
        assert_eq!(question(&query("_dmarc.api.example", 16)).unwrap().host(), "_dmarc.api.example");
        assert_eq!(question(&query("", 2)).unwrap().host(), "");
    }

    #[test]
    fn a_label_with_a_dot_is_no_host() {
        let mut message = query("api", 1);
        message[14] = b'.';
        assert!(!question(&message).unwrap().host().contains('.'));
    }

    #[test]
    fn only_a_response_with_the_same_identifier_and_question_responds() {
        let asked = query("api.partner.example", 1);
        assert!(responds(&asked, &response(&asked)));
        assert!(responds(&asked, &response(&query("API.partner.example", 1))), "a server may change the case");
        assert!(!responds(&asked, &asked), "it is a query");
        for other in [query("other.partner.example", 1), query("api.partner.example", 28)] {
            assert!(!responds(&asked, &response(&other)));
        }
        let mut wrong = response(&asked);
        wrong[0] ^= 1;
        assert!(!responds(&asked, &wrong));
        let not_understood = [7, 8, RESPONSE, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(responds(&asked, &not_understood));
        assert!(!responds(&asked, &[7, 8, RESPONSE, 0, 0, 0, 0, 0, 0, 0, 0, 0]), "a success has its question");
        assert!(responds(&[7, 8, 9], &[7, 8, 1]), "what nobody understands is relayed");
    }

    #[test]
    fn no_message_makes_it_fail() {
        let whole = response(&query("api.partner.example", 1));
        for cut in 0..whole.len() {
            let _ = (question(&whole[..cut]), responds(&whole, &whole[..cut]));
        }
        for byte in 0..=u8::MAX {
            let mut broken = whole.clone();
            broken[12] = byte;
            let _ = (question(&broken), responds(&broken, &broken));
        }
    }
}

//! HTTP/1.1 as a strict reader reads it (RFC 9112): what this refuses, two readers may read in two ways.

/// A request or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its first line.
    pub start: String,
    /// Names in lower case, and values.
    pub fields: Vec<(String, String)>,
    /// Without chunks.
    pub body: Vec<u8>,
}

impl Message {
    /// The values of a field.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Of an answer.
    pub fn status(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }
}

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They end too early.
    Cut,
    /// This is not allowed, or can be read in two ways.
    Wrong(String),
}

/// The requests that these bytes are, and what is wrong with the bytes that follow.
pub fn requests(mut bytes: &[u8]) -> (Vec<Message>, Option<Fault>) {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        match request(&mut bytes) {
            Ok(message) => found.push(message),
            Err(fault) => return (found, Some(fault)),
        }
    }
    (found, None)
}

fn request(bytes: &mut &[u8]) -> Result<Message, Fault> {
    let mut message = head(bytes)?;
    let words: Vec<_> = message.start.split(' ').collect();
    let &[method, target, "HTTP/1.1" | "HTTP/1.0"] = &words[..] else {
        return wrong("request line", &message.start);
    };
    if !is_token(method) || target.is_empty() || target.contains(|c: char| !c.is_ascii_graphic()) {
        return wrong("request line", &message.start);
    }
    if message.values("host").len() != 1 {
        return wrong("Host", &message.fields);
    }
    message.body = body(&message, bytes, Some(0))?;
    Ok(message)
}

/// The one answer that these bytes are, to a request of this method; without those of 1xx before it.
///
/// # Errors
/// What is wrong with them.
pub fn answer(mut bytes: &[u8], method: &str) -> Result<Message, Fault> {
    loop {
        let mut message = head(&mut bytes)?;
        let status = message.status();
        if !message.start.starts_with("HTTP/1.") || status.len() != 3 {
            return wrong("status line", &message.start);
        }
        if status.starts_with('1') && status != "101" {
            continue;
        }
        if method != "HEAD" && !["204", "304"].contains(&status) {
            message.body = body(&message, &mut bytes, None)?;
        } else if message.values("transfer-encoding").len() + message.values("content-length").len() > 1 {
            return wrong("length", &message.fields);
        }
        return if bytes.is_empty() { Ok(message) } else { wrong("second answer", &String::from_utf8_lossy(bytes)) };
    }
}

fn head(bytes: &mut &[u8]) -> Result<Message, Fault> {
    let mut lines = Vec::new();
    loop {
        match line(bytes)? {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut lines = lines.into_iter();
    let start = lines.next().unwrap_or_default();
    let fields = lines.map(|line| match line.split_once(':') {
        Some((name, value)) if is_token(name) => {
            Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
        }
        _ => wrong("field", &line),
    });
    Ok(Message { start, fields: fields.collect::<Result<_, _>>()?, body: Vec::new() })
}

/// Without any length the body has this many bytes, or all that are left.
fn body(message: &Message, bytes: &mut &[u8], otherwise: Option<usize>) -> Result<Vec<u8>, Fault> {
    match (&message.values("content-length")[..], &message.values("transfer-encoding")[..]) {
        ([], []) => take(bytes, otherwise.unwrap_or(bytes.len())),
        ([length], []) => take(bytes, number(length, 10)?),
        ([], [encoding]) if encoding.eq_ignore_ascii_case("chunked") => chunks(bytes),
        _ => wrong("length", &message.fields),
    }
}

fn chunks(bytes: &mut &[u8]) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    loop {
        let line = line(bytes)?;
        let size = number(line.split(';').next().unwrap_or_default(), 16)?;
        if size == 0 {
            break;
        }
        body.extend(take(bytes, size)?);
        if !take(bytes, 2)?.eq(b"\r\n") {
            return wrong("end of a chunk", &body);
        }
    }
    while !line(bytes)?.is_empty() {}
    Ok(body)
}

fn line<'a>(bytes: &mut &'a [u8]) -> Result<&'a str, Fault> {
    let end = bytes.windows(2).position(|window| window == b"\r\n");
    let end = end.ok_or(Fault::Cut)?;
    let line = &bytes[..end];
    *bytes = &bytes[end + 2..];
    match std::str::from_utf8(line) {
        Ok(text) if !text.contains(|c: char| c.is_ascii_control() && c != '\t') => Ok(text),
        _ => wrong("line", &String::from_utf8_lossy(line)),
    }
}

fn take(bytes: &mut &[u8], count: usize) -> Result<Vec<u8>, Fault> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or(Fault::Cut)?;
    *bytes = rest;
    Ok(taken.to_vec())
}

fn number(digits: &str, radix: u32) -> Result<usize, Fault> {
    match usize::from_str_radix(digits, radix) {
        Ok(number) if digits.chars().all(|c| c.is_digit(radix)) => Ok(number),
        _ => wrong("number", &digits),
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn wrong<T>(what: &str, found: &dyn std::fmt::Debug) -> Result<T, Fault> {
    Err(Fault::Wrong(format!("{what}: {found:?}")))
}

/// RFC 4648 §5, without padding.
pub fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = |group: &[u8]| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | group.get(at).copied().map_or(0, u32::from));
        (0..=group.len()).map(move |at| char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63])).collect::<Vec<_>>()
    };
    bytes.chunks(3).flat_map(digits).collect()
}

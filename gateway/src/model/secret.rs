use std::fmt;

use zeroize::Zeroizing;

/// Bytes that no log, dump or message shows, and that are wiped from memory when nobody needs them any more.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Hides them.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// What a file holds, without the newline that editors add.
    pub fn of_file(mut bytes: Vec<u8>) -> Self {
        let length = bytes.strip_suffix(b"\r\n").or_else(|| bytes.strip_suffix(b"\n")).map_or(bytes.len(), <[u8]>::len);
        bytes.truncate(length);
        Self::new(bytes)
    }

    /// The bytes: for what needs them, and nothing that is read by people.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

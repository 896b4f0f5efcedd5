use std::fmt;

use zeroize::Zeroizing;

/// Secret bytes: no log, dump or message shows them, and they are erased from memory when the last owner drops them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Creates a secret of these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Creates a secret of a file's content, without the newline that editors add.
    pub fn of_file(mut bytes: Vec<u8>) -> Self {
        let length = bytes.strip_suffix(b"\r\n").or_else(|| bytes.strip_suffix(b"\n")).map_or(bytes.len(), <[u8]>::len);
        bytes.truncate(length);
        Self::new(bytes)
    }

    /// Returns the bytes, for code that needs them; never pass them to anything that people read.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

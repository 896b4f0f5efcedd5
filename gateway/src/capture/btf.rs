//! Where this kernel keeps members of its structs, as its type information says (BTF, Documentation/bpf/btf.rst).

use std::fs;
use std::path::Path;

const KERNEL: &str = "/sys/kernel/btf/vmlinux";

/// Says how much the kernel hides (kernel_lockdown(7)). With `confidentiality`, no program may read its memory.
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
const MAGIC: u16 = 0xeb9f;

/// Kinds of types (`BTF_KIND_*`).
const INT: u32 = 1;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FUNCTION_TYPE: u32 = 13;
const VARIABLE: u32 = 14;
const SECTION: u32 = 15;
const DECLARATION_TAG: u32 = 17;
const ENUM64: u32 = 19;

/// Where the kernel's sockets keep the devices that datagrams leave from, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnicastOffsets {
    /// Where the device of IP_UNICAST_IF is: `inet_sock.uc_index`.
    pub(super) v4: u32,
    /// Where the pointer to what a socket has of IPv6 is: `inet_sock.pinet6`.
    pub(super) pointer_v6: u32,
    /// Where the device of IPV6_UNICAST_IF is, from there: `ipv6_pinfo.ucast_oif`.
    pub(super) v6: u32,
}

/// Returns the offsets of this kernel, if it says them and the hooks may look there.
pub(super) fn unicast_offsets() -> Option<UnicastOffsets> {
    if fs::read_to_string(LOCKDOWN).is_ok_and(|level| level.contains("[confidentiality]")) {
        return None;
    }
    let types = fs::read(Path::new(KERNEL)).ok()?;
    offsets_in(&types)
}

fn offsets_in(types: &[u8]) -> Option<UnicastOffsets> {
    Some(UnicastOffsets {
        v4: member(types, "inet_sock", "uc_index")?,
        pointer_v6: member(types, "inet_sock", "pinet6")?,
        v6: member(types, "ipv6_pinfo", "ucast_oif")?,
    })
}

/// Returns the offset of a member of a struct, in bytes.
fn member(types: &[u8], of: &str, name: &str) -> Option<u32> {
    if types.first_chunk().copied().map(u16::from_ne_bytes)? != MAGIC {
        return None;
    }
    let [header, type_start, type_length, text_start, text_length] = [4, 8, 12, 16, 20].map(|at| word(types, at));
    let header = header? as usize;
    let part = |start: Option<u32>, length: Option<u32>| {
        let start = header.checked_add(start? as usize)?;
        types.get(start..start.checked_add(length? as usize)?)
    };
    let (mut rest, texts) = (part(type_start, type_length)?, part(text_start, text_length)?);
    let is_called = |at: u32, name: &str| {
        let text = texts.get(at as usize..).unwrap_or_default();
        text.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    };
    while !rest.is_empty() {
        let (text, info) = (word(rest, 0)?, word(rest, 4)?);
        let (kind, count) = (info >> 24 & 0x1f, info as usize & 0xffff);
        let behind = rest.get(12..)?;
        let length = match kind {
            INT | VARIABLE | DECLARATION_TAG => 4,
            ARRAY => 12,
            STRUCT | UNION | SECTION | ENUM64 => 12 * count,
            ENUM | FUNCTION_TYPE => 8 * count,
            _ => 0,
        };
        let members = behind.get(..length)?;
        if kind == STRUCT && is_called(text, of) {
            let found =
                members.chunks_exact(12).find(|member| word(member, 0).is_some_and(|text| is_called(text, name)));
            // With bitfields the first byte is the number of bits.
            let bits = word(found?, 8)? & if info >> 31 == 1 { 0x00ff_ffff } else { u32::MAX };
            return bits.is_multiple_of(8).then_some(bits / 8);
        }
        rest = behind.get(length..)?;
    }
    None
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Type information with an integer, and a struct `s` with these members, at these bits.
    fn types(members: &[(&str, u32)], has_bitfields: bool) -> Vec<u8> {
        let mut texts = b"\0int\0s\0".to_vec();
        let mut words = vec![1, INT << 24, 4, 32, 5, STRUCT << 24 | u32::from(has_bitfields) << 31 | 3, 64];
        words[5] = words[5] & !0xffff | u32::try_from(members.len()).unwrap();
        for (name, bits) in members {
            words.extend([u32::try_from(texts.len()).unwrap(), 1, *bits]);
            texts.extend(name.bytes().chain([0]));
        }
        let words: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
        let (types, text) = (u32::try_from(words.len()).unwrap(), u32::try_from(texts.len()).unwrap());
        let head = [24, 0, types, types, text].into_iter().flat_map(u32::to_ne_bytes);
        MAGIC.to_ne_bytes().into_iter().chain([1, 0]).chain(head).chain(words).chain(texts).collect()
    }

    #[test]
    fn a_member_is_found_with_and_without_bitfields() {
        let plain = types(&[("a", 0), ("b", 72)], false);
        assert_eq!((member(&plain, "s", "a"), member(&plain, "s", "b")), (Some(0), Some(9)));
        let with_bitfields = types(&[("flag", 1 << 24 | 3), ("b", 64)], true);
        assert_eq!(member(&with_bitfields, "s", "b"), Some(8));
        assert_eq!(member(&with_bitfields, "s", "flag"), None, "it begins in a byte");
        for (of, name) in [("s", "c"), ("t", "a"), ("int", "a"), ("s", "")] {
            assert_eq!(member(&plain, of, name), None, "{of}.{name}");
        }
    }

    #[test]
    fn broken_type_information_says_nothing() {
        let whole = types(&[("a", 0), ("b", 72)], false);
        for cut in 0..whole.len() {
            let _ = member(&whole[..cut], "s", "b");
        }
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] = 0xff;
            let _ = member(&broken, "s", "b");
        }
    }
}

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use aws_lc_rs::digest;
use cel::common::types::{CelBool, CelBytes, CelDouble, CelString, STRING_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError, add_member_overload, add_overload, extensions};
use regex::Regex;

use super::number::of_json;
use crate::model::Encoding;
use crate::policy::engine::json;

/// The functions that expressions may call; the room `config` knows their names and kinds.
pub(in crate::policy) fn environment() -> Env {
    let mut env = Env::stdlib();
    let added = env
        .add_extension(extensions::strings)
        .and_then(|()| env.add_extension(extensions::encoders))
        .and_then(|()| add_overload!(env, fn base64_of_text: (CelString) -> CelString, name = "base64.encode"))
        .and_then(|()| add_overload!(env, fn hex: (CelBytes) -> CelString))
        .and_then(|()| add_overload!(env, fn sha256: (CelBytes) -> CelBytes))
        .and_then(|()| add_overload!(env, fn sha256_of_text: (CelString) -> CelBytes, name = "sha256"))
        .and_then(|()| add_overload!(env, fn sha512: (CelBytes) -> CelBytes))
        .and_then(|()| add_overload!(env, fn sha512_of_text: (CelString) -> CelBytes, name = "sha512"))
        .and_then(|()| add_member_overload!(env, fn matches: (CelString, CelString) -> Result<CelBool>))
        .and_then(|()| add_overload!(env, fn matches: (CelString, CelString) -> Result<CelBool>, id = "matches_global"))
        .and_then(|()| env.add_overload("json", "json(string)", vec![STRING_TYPE], json))
        .and_then(|()| env.add_overload("random", "random()", vec![], random));
    debug_assert!(added.is_ok(), "{added:?}");
    env
}

thread_local! {
    static PATTERNS: RefCell<HashMap<String, Regex>> = RefCell::default();
}

/// Patterns that each thread keeps: those of a configuration are few, those that are made of requests are without end.
const KEPT: usize = 256;

fn matches(text: &CelString<'_>, pattern: &CelString<'_>) -> Result<CelBool, ExecutionError> {
    PATTERNS.with_borrow_mut(|patterns| {
        if let Some(known) = patterns.get(pattern.inner()) {
            return Ok(known.is_match(text.inner()).into());
        }
        let compiled = Regex::new(pattern.inner()).map_err(|error| ExecutionError::function_error("matches", error))?;
        let found = compiled.is_match(text.inner());
        if patterns.len() >= KEPT {
            patterns.clear();
        }
        patterns.insert(pattern.inner().to_owned(), compiled);
        Ok(found.into())
    })
}

/// CEL's own takes bytes only.
fn base64_of_text(text: &CelString<'_>) -> CelString<'static> {
    Encoding::Base64.encode(text.inner().as_bytes()).into()
}

fn hex(bytes: &CelBytes<'_>) -> CelString<'static> {
    Encoding::Hex.encode(bytes.inner()).into()
}

fn sha256(bytes: &CelBytes<'_>) -> CelBytes<'static> {
    digest_of(&digest::SHA256, bytes.inner())
}

fn sha256_of_text(text: &CelString<'_>) -> CelBytes<'static> {
    digest_of(&digest::SHA256, text.inner().as_bytes())
}

fn sha512(bytes: &CelBytes<'_>) -> CelBytes<'static> {
    digest_of(&digest::SHA512, bytes.inner())
}

fn sha512_of_text(text: &CelString<'_>) -> CelBytes<'static> {
    digest_of(&digest::SHA512, text.inner().as_bytes())
}

fn digest_of(algorithm: &'static digest::Algorithm, bytes: &[u8]) -> CelBytes<'static> {
    digest::digest(algorithm, bytes).as_ref().to_vec().into()
}

/// Returns what a text says in JSON.
fn json<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let failed = |error: String| ExecutionError::function_error("json", error);
    let text = args.first().and_then(|text| text.downcast_ref::<CelString>());
    let text = text.ok_or_else(|| failed("not a text".to_owned()))?;
    let json = json::parse(text.inner().as_bytes()).map_err(failed)?;
    let value: Box<dyn Val> = of_json(json).try_into().map_err(|_| failed("no value".to_owned()))?;
    Ok(CowVal::Owned(value))
}

/// From 0 to below 1; not for secrets.
fn random<'b, 'v>(_: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    // Each `RandomState` of a thread has other keys.
    let bits = u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or_default();
    Ok(CowVal::owned(CelDouble::from(f64::from(bits) / (f64::from(u32::MAX) + 1.0))))
}

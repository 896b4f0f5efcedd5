use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use super::{Reader, Text};

/// A key under which a policy is written. The registry of policies makes the keys of the configuration from it.
pub trait Form {
    /// What stands under the key.
    type File;
    /// What it is compiled to.
    type Compiled;
    /// The description of the key in the reference.
    const ABOUT: &'static str;

    /// Compiles what is written; `None` if it has a mistake and cannot be compiled.
    fn compile(written: &Spanned<Self::File>, reader: &mut dyn Reader) -> Option<Self::Compiled>;

    /// Returns the names of the variables that the policy sets, and whether each is a secret.
    fn variables(_: &Self::File) -> Vec<(&Text, bool)> {
        Vec::new()
    }
}

impl<T: Form> Form for Box<T> {
    type File = T::File;
    type Compiled = Box<T::Compiled>;
    const ABOUT: &'static str = T::ABOUT;

    fn compile(written: &Spanned<Self::File>, reader: &mut dyn Reader) -> Option<Self::Compiled> {
        T::compile(written, reader).map(Box::new)
    }

    fn variables(file: &Self::File) -> Vec<(&Text, bool)> {
        T::variables(file)
    }
}

/// Returns the description of a key in the reference.
pub const fn about<T: Form>() -> &'static str {
    T::ABOUT
}

/// What stands under the key of a policy, and where.
#[derive(Debug)]
pub struct At<T: Form>(pub Spanned<T::File>);

impl<'de, T: Form<File: Deserialize<'de>>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

/// Its schema is that of what stands there.
impl<T: Form<File: JsonSchema>> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::File::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::File::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::File::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::File::json_schema(generator)
    }
}

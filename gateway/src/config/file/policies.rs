//! Policies as they are written. The keys come from the registry of policies.

mod lists;

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, de};
use serde_saphyr::Spanned;

use super::Text;
use crate::model::WorkloadFilter;
use crate::policy::*;
use crate::syntax::{At, Form, Reader, about};

pub(in crate::config) use lists::{BranchFile, RetryFile};

/// Policies of a scope, by section. A section that is not written is that of the wider scope. A section that is written
/// replaces it; `base` in its list stands for the policies of the wider scope.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct PoliciesFile {
    /// `enforce`: the policies apply. `report`: Egret records what the policies would do, and sends the request unchanged.
    /// Default: `enforce`. Example: `report`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) enabled: Option<Text>,
    /// Policies that run before the request is forwarded. Default: those of the wider scope. Example: `[base, {check-header:
    /// {name: X-Team}}]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) inbound: Option<Vec<Spanned<Step>>>,
    /// Policies that forward the request. Default: `forward-request`. Example: `[{retry: {count: 2}}]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) backend: Option<Vec<Spanned<Step>>>,
    /// Policies that run before the response is sent to the caller. Default: those of the wider scope. Example: `[{set-header:
    /// {name: X-Via, value: egret}}]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) outbound: Option<Vec<Spanned<Step>>>,
    /// Policies that run after a failure. If they set no response, the caller receives the error as JSON. Default: those of
    /// the wider scope. Example: `[{return-response: {status: 503}}]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) on_error: Option<Vec<Spanned<Step>>>,
}

/// `base`, or a policy.
#[derive(Debug)]
pub(in crate::config) enum Step {
    Base,
    Policy(Box<PolicyFile>),
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyStep;
        impl<'de> Visitor<'de> for AnyStep {
            type Value = Step;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`base` or a policy")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Step, E> {
                if text == "base" { Ok(Step::Base) } else { Err(E::invalid_value(de::Unexpected::Str(text), &self)) }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Step, A::Error> {
                PolicyFile::deserialize(MapAccessDeserializer::new(map)).map(Box::new).map(Step::Policy)
            }
        }
        deserializer.deserialize_any(AnyStep)
    }
}

impl JsonSchema for Step {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Step".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let policy = generator.subschema_for::<PolicyFile>();
        schemars::json_schema!({"anyOf": [policy, {"const": "base"}]})
    }
}

/// Makes the written form of a policy. What stands under a key is the business of its kind; only policies that contain lists of
/// policies, or stand for one, are written out here.
macro_rules! policy_file {
    ($(
        $kind:ident($type:ty) $(from $($part:ident)::+)? $(as $($key:ident $(by $form:ty)?),+)?: $manner:ident,
    )*) => {
        /// A policy: one of these keys with its settings.
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        #[schemars(deny_unknown_fields)]
        pub(in crate::config) struct PolicyFile {
            /// The name of the policy in records and errors. Default: none. Example: `partner-limit`.
            #[serde(default)]
            #[schemars(with = "Option<String>")]
            pub(in crate::config) id: Option<Text>,
            /// `enforce`: the policy applies. `report`: Egret records what the policy would do, and does not do it. Default:
            /// `enforce`. Example: `report`.
            #[serde(default)]
            #[schemars(with = "Option<String>")]
            pub(in crate::config) enabled: Option<Text>,
            /// Runs the policies of the first branch whose condition holds. Example: `[{when: 'request.method == "POST"', then:
            /// [{set-method: PUT}]}]`.
            #[serde(default)]
            pub(in crate::config) choose: Option<Vec<BranchFile>>,
            /// Runs the policies of a fragment in its place. Example: `limits`.
            #[serde(default)]
            #[schemars(with = "Option<String>")]
            pub(in crate::config) include_fragment: Option<Text>,
            /// Runs its policies again while a condition holds. Only in backend.
            #[serde(default)]
            pub(in crate::config) retry: Option<RetryFile>,
            $($($(
                #[serde(default)]
                #[schemars(description = about::<policy_file!(@form $type $(, $form)?)>())]
                $key: Option<At<policy_file!(@form $type $(, $form)?)>>,
            )+)?)*
        }

        impl PolicyFile {
            /// Compiles each policy that is written here and contains no lists; `None` for one that cannot be compiled.
            pub(in crate::config) fn compile(&self, reader: &mut dyn Reader) -> Vec<Option<Statement>> {
                let mut statements = Vec::new();
                $($($(
                    if let Some(At(written)) = &self.$key {
                        let compiled = <policy_file!(@form $type $(, $form)?)>::compile(written, reader);
                        statements.push(compiled.map(Statement::$kind));
                    }
                )+)?)*
                statements
            }

            /// Returns the variables that the policy sets, and whether each is a secret.
            pub(in crate::config) fn variables(&self) -> Vec<(&Text, bool)> {
                let mut variables = Vec::new();
                $($($(
                    if let Some(At(written)) = &self.$key {
                        variables.extend(<policy_file!(@form $type $(, $form)?)>::variables(&written.value));
                    }
                )+)?)*
                variables
            }
        }
    };
    (@form $type:ty) => { $type };
    (@form $type:ty, $form:ty) => { $form };
}

registry!(policy_file);

impl PolicyFile {
    /// Returns whether it ends its section, wherever it runs.
    pub(in crate::config) fn ends(&self) -> bool {
        self.return_response.is_some() && self.enabled.is_none()
    }
}

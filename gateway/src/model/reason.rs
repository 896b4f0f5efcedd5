use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $label:literal;)+) => {
        /// Why a flow was refused, or ended other than by its two ends. One spelling for the log field, the
        /// metric label and the CLI; the kernel half's decisions have theirs in `KernelReason`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[doc = $doc])+ $name),+ }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// What is said where there is no reason: the flow, or the request, went well.
            pub const OK: &'static str = "ok";

            /// The spelling everywhere.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label),+ }
            }
        }
    };
}

reasons! {
    /// All servers of a backend have failed too often.
    BackendUnavailable = "backend_unavailable";
    /// `ip-filter` does not let calls to this address through.
    AddressNotAllowed = "address_not_allowed";
    /// The caller's request was none: 400, 431, or in HTTP/2 an error of the protocol.
    BadRequest = "bad_request";
    /// A policy looks at a body that is compressed.
    BodyEncoded = "body_encoded";
    /// A policy looks at a body that has more bytes than `max_body`.
    BodyTooLarge = "body_too_large";
    /// Callers hold as many bytes of bodies as `limits.buffered_bytes` allows, or this one's owner holds a quarter of them.
    BuffersFull = "buffers_full";
    /// The client went away or reset the connection.
    ClientReset = "client_reset";
    /// As many requests are on their way as `limit-concurrency` allows.
    ConcurrencyExceeded = "concurrency_exceeded";
    /// `validate-content`: the body is not as described.
    ContentNotValid = "content_not_valid";
    /// `validate-content`: the body has more bytes than `max_size`.
    ContentTooLarge = "content_too_large";
    /// `validate-content`: the body is of none of the types that are listed.
    ContentTypeNotAllowed = "content_type_not_allowed";
    /// The server of `counters` gives no count.
    CountersUnavailable = "counters_unavailable";
    /// The API's mode is `deny`.
    Denied = "denied";
    /// Egret has as many open descriptors as it may, but for those that are reserved.
    DescriptorsExhausted = "descriptors_exhausted";
    /// No TLS with the caller, for another reason than that it does not trust the CA.
    DownstreamTls = "downstream_tls";
    /// The egress address is not on the node any more.
    EgressAddressGone = "egress_address_gone";
    /// The API has no egress address of the third party's family.
    EgressFamilyMissing = "egress_family_missing";
    /// An expression of a policy could not be said, or what it said cannot be used.
    Expression = "expression";
    /// A flood of frames that ask for work and use none of it (HTTP/2): resets, settings, pings.
    Flood = "flood";
    /// `check-header`: the request lacks it.
    HeaderNotFound = "header_not_found";
    /// `validate-headers`: a header of the answer is not described, or not as described.
    HeaderNotValid = "header_not_valid";
    /// `check-header`: it says something else.
    HeaderValueNotAllowed = "header_value_not_allowed";
    /// Nothing was said for longer than `limits.idle`.
    Idle = "idle";
    /// The caller does not trust the CA: it ended the handshake with an alert that says so.
    LeafRefused = "leaf_refused";
    /// A request on this connection named another host than the flow's.
    Misdirected = "misdirected";
    /// The caller named a host that no API lists, and Egret's own resolution of that name does not contain the address that the
    /// caller connected to.
    NameMismatch = "name_mismatch";
    /// The caller sent nothing within `limits.first_byte`, where Egret waits for what it says.
    NoFirstByte = "no_first_byte";
    /// The caller named no host (no SNI, no Host), and the API, or one of the APIs that share the address, needs a name.
    NoName = "no_name";
    /// The peer has no origin record: it was not redirected by the kernel.
    NoOrigin = "no_origin";
    /// `authentication-oauth2` got no token.
    NoToken = "no_token";
    /// `json-to-xml`, `xml-to-json`: the body is not what it is converted from.
    NotConverted = "not_converted";
    /// The API has policies, and the caller speaks what they cannot see.
    NotHttp = "not_http";
    /// No policy has sent the request.
    NotSent = "not_sent";
    /// The request is none of the API's operations, and no others are allowed.
    OperationNotFound = "operation_not_found";
    /// `validate-parameters`: a parameter of the request is not described, or not as described.
    ParameterNotValid = "parameter_not_valid";
    /// The path can be read in more than one way (`paths: strict`), would leave the path of a backend, or was made into one of
    /// another operation.
    PathNotAllowed = "path_not_allowed";
    /// No source port is left between the egress address and the third party.
    PortsExhausted = "ports_exhausted";
    /// The proxy on the way to the third party wants to know who Egret is, and what it was told is not enough.
    ProxyAuthentication = "proxy_authentication";
    /// The proxy on the way to the third party does not let Egret through.
    ProxyRefused = "proxy_refused";
    /// The proxy on the way to the third party cannot be reached.
    ProxyUnreachable = "proxy_unreachable";
    /// As many calls as a quota allows were made in its period.
    QuotaExceeded = "quota_exceeded";
    /// More calls than a rate limit allows.
    RateLimitExceeded = "rate_limit_exceeded";
    /// A policy would have sent a secret without TLS.
    SecretInClear = "secret_in_clear";
    /// Egret would carry bytes that it cannot look at, and each address of their host belongs to an API, too, that is looked at and
    /// has `strangers: refuse`.
    SharedAddress = "shared_address";
    /// The process ended before the flow did.
    Shutdown = "shutdown";
    /// The caller began a request and did not come to the end of its head in time.
    SlowRequest = "slow_request";
    /// The caller named a host that no API lists, and an API at that address has `strangers: refuse`.
    StrangerRefused = "stranger_refused";
    /// The API is in a product, and the caller has not subscribed to it.
    SubscriptionRequired = "subscription_required";
    /// `validate-status-code`: the answer's status is none that is described.
    StatusNotAllowed = "status_not_allowed";
    /// The owner of the caller has as many connections as `limits.connections_per_workload` allows.
    TooManyConnections = "too_many_connections";
    /// `validate-jwt`: the token is for somebody else.
    TokenAudienceNotAllowed = "token_audience_not_allowed";
    /// `validate-jwt`: the token lacks a claim.
    TokenClaimNotFound = "token_claim_not_found";
    /// `validate-jwt`: a claim of the token says something else.
    TokenClaimValueNotAllowed = "token_claim_value_not_allowed";
    /// `validate-jwt`: the token was valid until some time ago.
    TokenExpired = "token_expired";
    /// `validate-jwt`: what was sent is no token.
    TokenInvalid = "token_invalid";
    /// `validate-jwt`: the token was made by somebody else.
    TokenIssuerNotAllowed = "token_issuer_not_allowed";
    /// `validate-jwt`: there is no key for the token's `kid` and `alg`.
    TokenKeyNotFound = "token_key_not_found";
    /// `validate-jwt`: the request has no token.
    TokenNotPresent = "token_not_present";
    /// `validate-jwt`: the token will be valid some time later.
    TokenNotYetValid = "token_not_yet_valid";
    /// `validate-jwt`: the token was not signed with the key.
    TokenSignatureInvalid = "token_signature_invalid";
    /// It has lived for as long as `limits.total`.
    TooOld = "too_old";
    /// The name has no address.
    Unresolved = "unresolved";
    /// The caller wanted to change its connection to another protocol, past policies that need to see every request.
    UpgradeNotAllowed = "upgrade_not_allowed";
    /// The third party refused the connection.
    UpstreamRefused = "upstream_refused";
    /// The third party reset the connection.
    UpstreamReset = "upstream_reset";
    /// The third party's answer is an error, which `forward-request` does not let through.
    UpstreamStatus = "upstream_status";
    /// The third party did not answer in time.
    UpstreamTimeout = "upstream_timeout";
    /// No TLS with the third party: its certificate is not valid for its name, or nothing could be agreed on.
    UpstreamTls = "upstream_tls";
    /// The third party cannot be reached.
    UpstreamUnreachable = "upstream_unreachable";
    /// `workload-filter` does not let this workload through.
    WorkloadNotAllowed = "workload_not_allowed";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl std::error::Error for Reason {}

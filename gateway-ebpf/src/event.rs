use crate::{Address, Origin, Port};

/// One decision of the kernel half about a connection that the listener never sees.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The caller and what it asked for.
    pub origin: Origin,
    /// Source address that a `bind` set; zero otherwise.
    pub source: Address,
    /// A [`KernelReason`] code.
    pub reason: u32,
    /// IP protocol: 6 (TCP) or 17 (UDP).
    pub protocol: u32,
}

impl Event {
    /// Address and port the caller asked for.
    pub fn destination(&self) -> (Address, Port) {
        (self.origin.address, self.origin.port)
    }
}

const _: () = assert!(size_of::<Event>() == 96);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, every bit pattern valid, no padding.
unsafe impl aya::Pod for Event {}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $label:literal;)+) => {
        /// Why the kernel half decided as it did: counter index, event code and metric label in one.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum KernelReason { $($(#[doc = $doc])+ $name = $code),+ }

        impl KernelReason {
            /// All of them, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The spelling in logs, metrics and the CLI.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label),+ }
            }

            /// The reason with this code.
            pub const fn from_code(code: u32) -> Option<Self> {
                match code { $($code => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

reasons! {
    /// Sent to Egret's listener.
    Redirected = 0, "redirected";
    /// Left directly, with the source address set in the kernel.
    Bound = 1, "bound";
    /// Refused: the API's mode is `deny`.
    Denied = 2, "denied";
    /// UDP to port 443 of a captured address refused, so that the client falls back to TCP.
    QuicRefused = 3, "quic_refused";
    /// A socket of Egret's own: left alone.
    Exempt = 4, "exempt";
    /// Egret is not there and the API fails closed: refused.
    GatewayGoneClosed = 5, "gateway_gone_closed";
    /// Egret is not there and the API fails open: left directly.
    GatewayGoneOpen = 6, "gateway_gone_open";
    /// The caller is in a network namespace without a listener and the API fails closed: refused.
    ForeignNamespaceClosed = 7, "foreign_namespace_closed";
    /// The caller is in a network namespace without a listener and the API fails open: left directly.
    ForeignNamespaceOpen = 8, "foreign_namespace_open";
    /// The source address could not be set: refused.
    BindFailed = 9, "bind_failed";
    /// The caller could not be recorded (no memory): refused.
    RecordFailed = 10, "record_failed";
    /// The table of origins is full: the connection will be refused by the listener.
    OriginsFull = 11, "origins_full";
}

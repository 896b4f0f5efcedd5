//! Connections to captured destinations that do not go through Egret, in all network namespaces of the node.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use egret_kernel::KernelReason;

use super::sockets::{self, Connection, Transport};
use super::{Capture, Error, everywhere, rows};
use crate::model::{Action, Bypass, BypassCause, Origin, OriginalDst, Redirect, Scope};

/// Most connections whose age is remembered.
const MOST: usize = 1 << 20;

/// The connections that were open when this process started, as hashes. A wrong match would only show another cause.
#[derive(Debug, Default)]
pub(super) struct OpenAtStart {
    hasher: RandomState,
    connections: Mutex<HashSet<u64>>,
}

impl OpenAtStart {
    fn hash(&self, namespace: u64, connection: &Connection) -> u64 {
        self.hasher.hash_one((namespace, connection.transport, connection.local, connection.remote))
    }

    fn has(&self, namespace: u64, connection: &Connection) -> bool {
        let hash = self.hash(namespace, connection);
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).contains(&hash)
    }
}

impl Capture {
    /// Remembers which connections are open, in all namespaces. It blocks.
    ///
    /// # Errors
    /// The kernel does not list connections.
    pub fn remember_open(&self) -> Result<(), Error> {
        let mut open = HashSet::new();
        let looked = self.each_connection(|namespace, connection| {
            if open.len() < MOST {
                open.insert(self.open_at_start.hash(namespace, &connection));
            }
        });
        *self.open_at_start.connections.lock().unwrap_or_else(PoisonError::into_inner) = open;
        looked
    }

    /// Lists the connections to captured destinations that do not go through Egret, and closes them if `close` says so. It asks the
    /// kernel for every connection of every network namespace, and blocks meanwhile.
    ///
    /// # Errors
    /// The kernel does not list connections.
    pub fn bypasses(&self, close: bool) -> Result<Vec<Bypass>, Error> {
        let mut rules: HashMap<SocketAddr, Vec<Redirect>> = HashMap::new();
        for (rule, _) in self.maps.table.rows()? {
            rules.entry(rule.destination).or_default().push(rule);
        }
        let mut found = Vec::new();
        if rules.is_empty() {
            return Ok(found);
        }
        self.each_connection(|namespace, connection| {
            let rules = rules.get(&connection.remote).into_iter().flatten();
            if let Some(rule) = rules.into_iter().find(|rule| self.is_bypass(rule, &connection)) {
                let closed = close.then(|| sockets::destroy(&connection).map_err(|error| error.to_string()));
                found.push(self.bypass(namespace, rule, &connection, closed));
            }
        })?;
        Ok(found)
    }

    fn each_connection(&self, on_connection: impl FnMut(u64, Connection) + Send) -> Result<(), Error> {
        let failed = |error: io::Error| Error::Map { map: "sock_diag", cause: error.to_string() };
        let mut on_connection = on_connection;
        everywhere::each(|namespace| {
            for transport in [Transport::Tcp, Transport::Udp] {
                self.maps
                    .connections((transport, sockets::CONNECTED), |connection| on_connection(namespace, connection))?;
            }
            Ok(())
        })
        .map_err(failed)
    }

    /// Egret's own connections are marked; those of mode `bind` have left from their address; others are outside of the captured
    /// cgroup, or the rule is for other callers.
    fn is_bypass(&self, rule: &Redirect, connection: &Connection) -> bool {
        let is_right = connection.is_marked
            || matches!(rule.action, Action::Scoped)
            || rule.action == Action::Bind(connection.local.ip());
        let is_concerned = || match rule.scope {
            Scope::Everybody => true,
            Scope::Owner(owner) => self.paths.is_in(connection.cgroup, owner),
        };
        let is_captured = || self.tree.below.is_none_or(|captured| self.paths.is_in(connection.cgroup, captured));
        !is_right && is_concerned() && is_captured()
    }

    fn bypass(
        &self,
        namespace: u64,
        rule: &Redirect,
        connection: &Connection,
        closed: Option<Result<(), String>>,
    ) -> Bypass {
        let passed = connection.passed.as_ref().map(|passed| (passed.reason, rows::origin(&passed.origin)));
        let passed = passed.filter(|(_, origin)| origin.original_dst.0 == connection.remote);
        let cause = match &passed {
            Some((reason, _)) if *reason == KernelReason::GatewayGoneOpen as u32 => BypassCause::GatewayGone,
            Some((reason, _)) if *reason == KernelReason::ForeignNamespaceOpen as u32 => BypassCause::ForeignNamespace,
            Some((reason, _)) if *reason == KernelReason::BoundDeviceOpen as u32 => BypassCause::BoundDevice,
            _ if self.open_at_start.has(namespace, connection) => BypassCause::Older,
            _ => BypassCause::NotKnown,
        };
        let unseen = || Origin {
            original_dst: OriginalDst(connection.remote),
            cgroup: connection.cgroup,
            scope: rule.scope,
            pid: 0,
            uid: connection.uid,
            command: "".into(),
            time: Duration::ZERO,
            generation: rule.generation,
            api: rule.api,
        };
        Bypass {
            api: rule.api,
            generation: rule.generation,
            cause,
            origin: passed.map_or_else(unseen, |(_, origin)| origin),
            namespace,
            udp: connection.transport == Transport::Udp,
            local: connection.local,
            cookie: connection.cookie,
            closed,
        }
    }
}

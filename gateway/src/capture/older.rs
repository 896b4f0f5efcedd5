//! Connections that are older than their capture: opened before Egret started, or before their destination was listed.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use super::sockets::{self, Connection};
use super::{Capture, Error};
use crate::model::{Action, ApiId, Generation, Scope};

/// A connection to a captured destination that does not go through Egret.
#[derive(Debug)]
pub struct Older {
    /// The API whose rule captures new connections to this destination.
    pub api: ApiId,
    /// Configuration version of that rule.
    pub generation: Generation,
    connection: Connection,
}

impl Older {
    /// The address it leaves from.
    pub fn local(&self) -> SocketAddr {
        self.connection.local
    }

    /// The third party.
    pub fn remote(&self) -> SocketAddr {
        self.connection.remote
    }

    /// User id of the socket's owner.
    pub fn uid(&self) -> u32 {
        self.connection.uid
    }

    /// Closes it. Its owner's next call on the socket fails, and it connects anew, through Egret.
    pub fn close(&self) -> io::Result<()> {
        sockets::destroy(&self.connection)
    }
}

impl Capture {
    /// Lists the connections of this network namespace that are older than their capture. It asks the kernel for every
    /// TCP connection, and blocks meanwhile.
    pub fn older(&self) -> Result<Vec<Older>, Error> {
        let failed = |error: io::Error| Error::Map { map: "sock_diag", cause: error.to_string() };
        // The kernel does not say whose connections these are, so rules of owners are left out.
        let rules = self.maps.table.rows()?.into_iter().map(|(redirect, _)| redirect);
        let of_everybody = rules.filter(|rule| rule.scope == Scope::Everybody);
        let rules: HashMap<_, _> = of_everybody.map(|rule| (rule.destination, rule)).collect();
        let connections = self.maps.connections().map_err(failed)?;
        let older = |connection: Connection| {
            let rule = rules.get(&connection.remote)?;
            // Egret's own are marked; those of mode `bind` have left from their address.
            let is_right = connection.is_marked || rule.action == Action::Bind(connection.local.ip());
            (!is_right).then_some(Older { api: rule.api, generation: rule.generation, connection })
        };
        Ok(connections.into_iter().filter_map(older).collect())
    }
}

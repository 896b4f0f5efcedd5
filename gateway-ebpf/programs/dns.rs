//! DNS of captured workloads: queries go to Egret's forwarder, and responses come from the server that was asked. When
//! anything is missing, the query leaves directly.

use aya_ebpf::bindings::bpf_sock_tuple;
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_sk_lookup_udp, bpf_sk_release, bpf_sk_storage_get};
use aya_ebpf::programs::SockAddrContext;
use egret_kernel::{
    API_DNS, Address, CaptureRule, DNS_PORT, DNS_SLOTS, DnsClient, DnsServer, DnsSettings, EVERYBODY, KernelReason,
    MARK_FORWARDER, Origin, Port, Settings,
};

use crate::caller::{origin_of, owners};
use crate::connect::{Destination, Row, passes, redirect, remember};
use crate::maps::{DNS, DNS_CLIENTS, DNS_DIRECT, DNS_SENDERS, MARKS, SETTINGS};
use crate::namespace::{is_nodes, want};
use crate::owners::have_room;
use crate::presence::{LOCALHOST_V4, LOOPBACK_V6, forwards, is_there, listener};
use crate::socket::{
    address_v4, address_v6, bound_v4, has_device, has_unicast_device, is_connected, local_port, port, set_source_v4,
    set_v4, set_v6, source_v4,
};
use crate::unlisted;
use crate::verdict::{PROCEED, count};

/// The rule of all connections to DNS servers.
const ROW: Row = Row {
    rule: &CaptureRule { generation: 0, api: API_DNS, action: 0, fail: 0, pad: [0; 2], source: Address([0; 4]) },
    scope: EVERYBODY,
};

/// A datagram to a destination that no rule captures.
#[inline(always)]
pub fn datagram(ctx: &SockAddrContext, destination: &Destination) -> i32 {
    if destination.port.0 == DNS_PORT.to_be()
        && let Some((dns, settings)) = forwarder_for(ctx, destination)
        && let Some(reason) = forward(ctx, destination, dns, settings)
    {
        count(reason);
    }
    PROCEED
}

/// A connection to a destination that no rule captures.
#[inline(always)]
pub fn connection(ctx: &SockAddrContext, destination: &Destination) -> i32 {
    if destination.port.0 == DNS_PORT.to_be()
        && let Some((dns, settings)) = forwarder_for(ctx, destination)
    {
        count(forward_connection(ctx, destination, dns, settings));
    }
    PROCEED
}

/// Returns the forwarder, if there is one for this socket and server.
#[inline(always)]
fn forwarder_for(
    ctx: &SockAddrContext,
    destination: &Destination,
) -> Option<(&'static DnsSettings, &'static Settings)> {
    let (dns, settings) = (DNS.get(0)?, SETTINGS.get(0)?);
    // A server that answers, or a socket that is bound to a network, does not reach the forwarder.
    let is_servers_own = local_port(ctx) == DNS_PORT;
    // It gets responses from its peer only. (Datagrams to ::ffff:a.b.c.d pass here though the socket is connected.)
    let has_peer = !destination.connects && is_connected(ctx);
    let is_left_alone =
        dns.v4 == 0 || is_servers_own || has_peer || has_device(ctx) || is_local_scope(destination.address);
    if is_left_alone || passes(ctx) {
        return None;
    }
    Some((dns, settings))
}

/// Whether the address means something else to the forwarder's sockets: the unspecified one, or one of a link.
#[inline(always)]
fn is_local_scope(address: Address) -> bool {
    let Address([first, second, third, fourth]) = address;
    let first = u32::from_be(first);
    if address.is_v4() {
        let fourth = u32::from_be(fourth);
        return fourth == 0 || fourth >> 28 >= 14;
    }
    first >> 22 == 0xfe80 >> 6 || first >> 24 == 0xff || (first | second | third | fourth) == 0
}

#[inline(always)]
fn forward(
    ctx: &SockAddrContext,
    destination: &Destination,
    dns: &DnsSettings,
    settings: &Settings,
) -> Option<KernelReason> {
    let v4 = destination.address.is_v4();
    let first = first_port(dns, v4);
    let origin = origin_of(destination, ROW);
    if !forwards(ctx, dns, v4, Port(first.to_be())) {
        return Some(not_forwarded(ctx, settings, &origin));
    }
    // SAFETY: the storage lives as long as the socket, which is in use.
    let Some(client) = (unsafe { DNS_CLIENTS.get_or_insert_ptr_mut(ctx, None).as_mut() }) else {
        return Some(KernelReason::DnsNoRoom);
    };
    if has_unicast_device(ctx, &mut client.origin.time, v4) {
        return None;
    }
    let server = DnsServer { address: destination.address, port: destination.port, pad: [0; 2] };
    if is_crowded(origin.cgroup) {
        return Some(KernelReason::DnsNoRoom);
    }
    let is_nodes = is_nodes(ctx, settings);
    let slot = if is_nodes {
        slot_for(client, &server, 0)
    } else if is_without_connect_v4(destination) && source_v4(ctx) == 0 {
        slot_for(client, &server, 1)
    } else {
        only_slot(ctx, destination, client, &server)
    };
    let Some(slot) = slot else { return Some(KernelReason::DnsNoRoom) };
    client.owners = owners(origin.cgroup);
    client.origin = origin;
    let port = if is_nodes { first + slot } else { first };
    if !is_nodes && slot != 0 && is_without_connect_v4(destination) {
        set_source_v4(ctx, loopback(slot));
    }
    redirect(ctx, destination, Port(port.to_be()));
    Some(KernelReason::DnsForwarded)
}

/// Returns why a query leaves directly. Egret is told of a network namespace that is new to it.
#[inline(always)]
fn not_forwarded(ctx: &SockAddrContext, settings: &Settings, origin: &Origin) -> KernelReason {
    if is_nodes(ctx, settings) || !want(ctx, settings, origin) {
        return KernelReason::DnsForwarderGone;
    }
    KernelReason::DnsForeignNamespace
}

/// Whether a cgroup has so many queries on their way that further ones leave directly.
#[inline(always)]
fn is_crowded(cgroup: u64) -> bool {
    // SAFETY: a number, read at once; the helper takes nothing and returns a number.
    unsafe { DNS_DIRECT.get(cgroup) }.is_some_and(|until| unsafe { bpf_ktime_get_ns() } < *until)
}

/// Returns the socket's slot for a server, from this one on; none if all are taken by others.
#[inline(always)]
fn slot_for(client: &mut DnsClient, server: &DnsServer, from: u32) -> Option<u16> {
    let count = if client.count < from { from } else { client.count };
    for (slot, there) in client.servers.iter_mut().enumerate() {
        if (slot as u32) < from {
            continue;
        }
        if slot as u32 >= count {
            *there = *server;
            client.count = slot as u32 + 1;
            return Some(slot as u16);
        }
        if there == server {
            return Some(slot as u16);
        }
    }
    None
}

/// Returns the slot of a socket in another network namespace than the node's whose datagrams have a source that the hooks do not choose:
/// it is the only one, for the server that the socket is connected to, or else the first one.
#[inline(always)]
fn only_slot(
    ctx: &SockAddrContext,
    destination: &Destination,
    client: &mut DnsClient,
    server: &DnsServer,
) -> Option<u16> {
    let source = if is_without_connect_v4(destination) { source_v4(ctx) } else { bound_v4(ctx) };
    // Such a source would stand for another slot.
    if destination.address.is_v4() && source != LOCALHOST_V4 && u32::from_be(source) >> 24 == 127 {
        return None;
    }
    let [first, ..] = &mut client.servers;
    if !destination.connects && first.port.0 != 0 && first != server {
        return None;
    }
    *first = *server;
    Some(0)
}

/// Whether this is the hook of datagrams over IPv4 without `connect`, which alone sees and sets their source.
#[inline(always)]
fn is_without_connect_v4(destination: &Destination) -> bool {
    !destination.connects && !destination.socket_v6
}

/// Returns the loopback address that stands for a slot, in network order.
#[inline(always)]
fn loopback(slot: u16) -> u32 {
    (u32::from_be(LOCALHOST_V4) + u32::from(slot)).to_be()
}

/// Returns the slot that a loopback address stands for.
#[inline(always)]
fn slot_at(Address([.., word]): Address) -> usize {
    u32::from_be(word).wrapping_sub(u32::from_be(LOCALHOST_V4)) as usize
}

#[inline(always)]
fn forward_connection(
    ctx: &SockAddrContext,
    destination: &Destination,
    dns: &DnsSettings,
    settings: &Settings,
) -> KernelReason {
    let v4 = destination.address.is_v4();
    // A process that dies closes its newest sockets first: the forwarder's before the listener.
    let origin = origin_of(destination, ROW);
    if !forwards(ctx, dns, v4, Port(first_port(dns, v4).to_be())) || !is_there(ctx, settings, v4) {
        return not_forwarded(ctx, settings, &origin);
    }
    let owners = owners(origin.cgroup);
    if is_crowded(origin.cgroup) || !have_room(&owners) || !remember(ctx, &origin, &owners, false) {
        return KernelReason::DnsNoRoom;
    }
    redirect(ctx, destination, listener(settings, v4));
    KernelReason::DnsForwarded
}

/// A datagram was received over IPv4: by the forwarder, by one who asked it, or by anybody else.
#[inline(always)]
pub fn received_v4(ctx: &SockAddrContext) -> i32 {
    if let Some(slot) = own_slot(ctx, true) {
        note_sender(ctx, address_v4(ctx), slot, true);
    } else {
        unlisted::note_peer(ctx, address_v4(ctx));
        restore_v4(ctx);
    }
    PROCEED
}

/// The same over an IPv6 socket, where the sender may be `::ffff:a.b.c.d`.
#[inline(always)]
pub fn received_v6(ctx: &SockAddrContext) -> i32 {
    if let Some(slot) = own_slot(ctx, false) {
        note_sender(ctx, address_v6(ctx), slot, false);
    } else {
        unlisted::note_peer(ctx, address_v6(ctx));
        restore_v6(ctx);
    }
    PROCEED
}

/// Puts the server in the place of the forwarder, as the peer of this socket.
#[inline(always)]
pub fn restore_v4(ctx: &SockAddrContext) {
    if let Some(DnsServer { address: Address([.., word]), port, .. }) = asked(ctx, address_v4(ctx)) {
        set_v4(ctx, *word, *port);
    }
}

/// The same for an IPv6 socket.
#[inline(always)]
pub fn restore_v6(ctx: &SockAddrContext) {
    if let Some(DnsServer { address, port, .. }) = asked(ctx, address_v6(ctx)) {
        set_v6(ctx, *address, *port);
    }
}

/// Returns the server that this socket asked through the forwarder at this peer address.
#[inline(always)]
fn asked(ctx: &SockAddrContext, peer: Address) -> Option<&'static DnsServer> {
    let v4 = peer.is_v4();
    let by_address = if v4 { slot_at(peer) } else { 0 };
    if by_address >= DNS_SLOTS || (!v4 && peer != LOOPBACK_V6) {
        return None;
    }
    let dns = DNS.get(0)?;
    let by_port = slot_of(dns, v4, u16::from(port(ctx)))?;
    // In the node's network namespace the port stands for the slot, in others the address.
    if by_address != 0 && (by_port != 0 || is_nodes(ctx, SETTINGS.get(0)?)) {
        return None;
    }
    // SAFETY: the storage lives as long as the socket, which is in use.
    let client: &DnsClient = unsafe { DNS_CLIENTS.get_ptr_mut(ctx).as_ref() }?;
    client.servers.get(bounded(by_address + by_port)?).filter(|server| server.port.0 != 0)
}

/// Returns a slot, if it is one, in a way that shows its bound to the verifier.
#[inline(always)]
fn bounded(slot: usize) -> Option<usize> {
    // SAFETY: a local variable. The compiler must not leave the comparison out, whatever it knows of the slot.
    let slot = unsafe { core::ptr::read_volatile(&raw const slot) };
    (slot < DNS_SLOTS).then_some(slot)
}

/// Returns the slot of one of the forwarder's ports, in the host's order.
#[inline(always)]
fn slot_of(dns: &DnsSettings, v4: bool, port: u16) -> Option<usize> {
    let first = first_port(dns, v4);
    let slot = usize::from(port.wrapping_sub(first));
    (first != 0 && slot < DNS_SLOTS).then_some(slot)
}

#[inline(always)]
fn first_port(dns: &DnsSettings, v4: bool) -> u16 {
    if v4 { dns.v4 } else { dns.v6 }
}

/// Returns the port of this socket in network order, if it is one of the forwarder's.
#[inline(always)]
fn own_slot(ctx: &SockAddrContext, v4: bool) -> Option<Port> {
    let dns = DNS.get(0)?;
    let own = local_port(ctx);
    slot_of(dns, v4, own)?;
    // SAFETY: the storage lives as long as the socket, which is in use.
    let is_marked = unsafe { MARKS.get_ptr_mut(ctx).as_ref() }.is_some_and(|mark| *mark == MARK_FORWARDER);
    is_marked.then_some(Port(own.to_be()))
}

/// Tells the forwarder who sent the datagram that it receives. The sender's socket knows; it is found as a response to
/// it would be.
#[inline(always)]
fn note_sender(ctx: &SockAddrContext, address: Address, Port(own): Port, v4: bool) {
    const CURRENT_NETNS: u64 = u64::MAX;
    let Port(port) = port(ctx);
    let (Some(dns), Some(settings)) = (DNS.get(0), SETTINGS.get(0)) else { return };
    // SAFETY: the storage lives as long as the forwarder's socket, whose reader runs this.
    let Some(sender) = (unsafe { DNS_SENDERS.get_or_insert_ptr_mut(ctx, None).as_mut() }) else { return };
    sender.address = Address::default();
    let slot = if is_nodes(ctx, settings) {
        slot_of(dns, v4, u16::from_be(own)).unwrap_or(0)
    } else if v4 {
        // Any other source is the caller's own.
        Some(slot_at(address)).filter(|slot| *slot < DNS_SLOTS).unwrap_or(0)
    } else {
        0
    };
    let (Address(sender_words), Address(own_words)) = (address, LOOPBACK_V6);
    // SAFETY: an all-zero tuple is a valid one; the size says which half of the union the kernel reads.
    let socket = unsafe {
        let mut tuple: bpf_sock_tuple = core::mem::zeroed();
        if v4 {
            tuple.__bindgen_anon_1.ipv4.saddr = LOCALHOST_V4;
            tuple.__bindgen_anon_1.ipv4.sport = own;
            tuple.__bindgen_anon_1.ipv4.daddr = sender_words[3];
            tuple.__bindgen_anon_1.ipv4.dport = port;
            bpf_sk_lookup_udp(ctx.sock_addr.cast(), &raw mut tuple, 12, CURRENT_NETNS, 0)
        } else {
            tuple.__bindgen_anon_1.ipv6.saddr = own_words;
            tuple.__bindgen_anon_1.ipv6.sport = own;
            tuple.__bindgen_anon_1.ipv6.daddr = sender_words;
            tuple.__bindgen_anon_1.ipv6.dport = port;
            bpf_sk_lookup_udp(ctx.sock_addr.cast(), &raw mut tuple, 36, CURRENT_NETNS, 0)
        }
    };
    if socket.is_null() {
        return;
    }
    let clients = (&raw const DNS_CLIENTS).cast_mut().cast();
    // SAFETY: the socket is held by reference until the release below, and its storage with it.
    unsafe {
        let client = bpf_sk_storage_get(clients, socket.cast(), core::ptr::null_mut(), 0).cast::<DnsClient>();
        if let Some(client) = client.as_ref()
            && let Some(server) = bounded(slot).and_then(|slot| client.servers.get(slot))
        {
            copy(server, &mut sender.server);
            sender.owners = client.owners;
            sender.origin = client.origin;
            sender.port = Port(port);
            sender.address = address;
        }
        bpf_sk_release(socket.cast());
    }
}

/// Copies a record word by word: the target has no `memcpy` that the verifier follows.
#[inline(always)]
fn copy(from: &DnsServer, to: &mut DnsServer) {
    let (Address(from_words), Address(to_words)) = (&from.address, &mut to.address);
    for (from, to) in from_words.iter().zip(to_words) {
        // SAFETY: a word of each record.
        unsafe { core::ptr::write_volatile(to, core::ptr::read_volatile(from)) };
    }
    to.port = from.port;
}

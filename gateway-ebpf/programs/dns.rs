//! DNS of captured workloads: queries go to Egret's forwarder, and responses come from the server that was asked. When
//! anything is missing, the query leaves directly.

use aya_ebpf::bindings::bpf_sock_tuple;
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_sk_lookup_udp, bpf_sk_release, bpf_sk_storage_get};
use aya_ebpf::programs::SockAddrContext;
use egret_kernel::{
    API_DNS, Address, CaptureRule, DNS_PORT, DNS_SLOTS, DnsClient, DnsSender, DnsServer, DnsSettings, EVERYBODY,
    KernelReason, MARK_FORWARDER, Port, Settings,
};

use crate::caller::{origin_of, owners};
use crate::connect::{Destination, Row, passes, redirect, remember};
use crate::maps::{DNS, DNS_CLIENTS, DNS_DIRECT, DNS_SENDERS, MARKS, SETTINGS};
use crate::namespace::is_nodes;
use crate::owners::have_room;
use crate::presence::{LOOPBACK_V4, LOOPBACK_V6, forwards, is_there, listener};
use crate::socket::{
    address_v4, address_v6, has_device, has_unicast_device, is_connected, local_port, port, set_v4, set_v6,
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
        && let Some((dns, _)) = forwarder_for(ctx, destination)
        && let Some(reason) = forward(ctx, destination, dns)
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
    if is_left_alone || !is_nodes(ctx, settings) || passes(ctx) {
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
fn forward(ctx: &SockAddrContext, destination: &Destination, dns: &DnsSettings) -> Option<KernelReason> {
    let v4 = destination.address.is_v4();
    let first = first_port(dns, v4);
    if !forwards(ctx, dns, v4, Port(first.to_be())) {
        return Some(KernelReason::DnsForwarderGone);
    }
    let origin = origin_of(destination, ROW);
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
    let Some(slot) = slot_for(client, &server) else { return Some(KernelReason::DnsNoRoom) };
    client.owners = owners(origin.cgroup);
    client.origin = origin;
    redirect(ctx, destination, Port((first + slot).to_be()));
    Some(KernelReason::DnsForwarded)
}

/// Whether a cgroup has so many queries on their way that further ones leave directly.
#[inline(always)]
fn is_crowded(cgroup: u64) -> bool {
    // SAFETY: a number, read at once; the helper takes nothing and returns a number.
    unsafe { DNS_DIRECT.get(cgroup) }.is_some_and(|until| unsafe { bpf_ktime_get_ns() } < *until)
}

/// Returns the socket's slot for a server; none if all are taken by others.
#[inline(always)]
fn slot_for(client: &mut DnsClient, server: &DnsServer) -> Option<u16> {
    let count = client.count;
    for (slot, there) in client.servers.iter_mut().enumerate() {
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

#[inline(always)]
fn forward_connection(
    ctx: &SockAddrContext,
    destination: &Destination,
    dns: &DnsSettings,
    settings: &Settings,
) -> KernelReason {
    let v4 = destination.address.is_v4();
    // A process that dies closes its newest sockets first: the forwarder's before the listener.
    if !forwards(ctx, dns, v4, Port(first_port(dns, v4).to_be())) || !is_there(ctx, settings, v4) {
        return KernelReason::DnsForwarderGone;
    }
    let origin = origin_of(destination, ROW);
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
    let v4 = peer == LOOPBACK_V4;
    if !v4 && peer != LOOPBACK_V6 {
        return None;
    }
    let dns = DNS.get(0)?;
    let slot = slot_of(dns, v4, u16::from(port(ctx)))?;
    // SAFETY: the storage lives as long as the socket, which is in use.
    let client: &DnsClient = unsafe { DNS_CLIENTS.get_ptr_mut(ctx).as_ref() }?;
    client.servers.get(slot).filter(|server| server.port.0 != 0)
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
fn note_sender(ctx: &SockAddrContext, address: Address, Port(slot): Port, v4: bool) {
    const CURRENT_NETNS: u64 = u64::MAX;
    let Port(port) = port(ctx);
    // SAFETY: the storage lives as long as the forwarder's socket, whose reader runs this.
    let Some(sender) = (unsafe { DNS_SENDERS.get_or_insert_ptr_mut(ctx, None).as_mut() }) else { return };
    sender.address = Address::default();
    let (Address(sender_words), Address(own_words)) = (address, LOOPBACK_V6);
    // SAFETY: an all-zero tuple is a valid one; the size says which half of the union the kernel reads.
    let socket = unsafe {
        let mut tuple: bpf_sock_tuple = core::mem::zeroed();
        if v4 {
            let Address([.., own]) = LOOPBACK_V4;
            tuple.__bindgen_anon_1.ipv4.saddr = own;
            tuple.__bindgen_anon_1.ipv4.sport = slot;
            tuple.__bindgen_anon_1.ipv4.daddr = sender_words[3];
            tuple.__bindgen_anon_1.ipv4.dport = port;
            bpf_sk_lookup_udp(ctx.sock_addr.cast(), &raw mut tuple, 12, CURRENT_NETNS, 0)
        } else {
            tuple.__bindgen_anon_1.ipv6.saddr = own_words;
            tuple.__bindgen_anon_1.ipv6.sport = slot;
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
        if !client.is_null() {
            copy(client, &raw mut sender.client);
            sender.port = Port(port);
            sender.address = address;
        }
        bpf_sk_release(socket.cast());
    }
}

/// Copies a record word by word: the target has no `memcpy` for one of this size.
#[inline(always)]
unsafe fn copy(from: *const DnsClient, to: *mut DnsClient) {
    for word in 0..size_of::<DnsClient>() / size_of::<u64>() {
        // SAFETY: both records are whole, aligned, and of this many words.
        unsafe { to.cast::<u64>().add(word).write_volatile(from.cast::<u64>().add(word).read_volatile()) };
    }
}

const _: () = assert!(size_of::<DnsClient>() % size_of::<u64>() == 0);
const _: () = assert!(core::mem::offset_of!(DnsSender, client) == 0);

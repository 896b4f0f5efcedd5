//! A DNS server in the internet, whose records a test changes while it runs.

use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::svcb::{Alpn, EchConfigList, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, HTTPS, SVCB};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::namespace::Namespace;

/// The address of the lab's DNS server, on port 53.
pub const DNS: &str = "203.0.113.16";

/// An answer to a datagram may be this long (RFC 1035 §2.3.4); a longer one is truncated.
const DATAGRAM: usize = 512;

/// The most bytes of a datagram over IPv4.
const LARGEST: usize = 65_507;

/// The server's records.
#[derive(Clone, Debug)]
pub struct Dns {
    zone: Arc<Mutex<Zone>>,
}

#[derive(Debug, Default)]
struct Zone {
    names: HashMap<String, Entry>,
    /// A domain below which every name has an address, and how many have got one.
    below: Option<(String, u16)>,
    mood: Mood,
    asked_by_tcp: u32,
    clients: BTreeSet<IpAddr>,
}

#[derive(Clone, Debug)]
enum Entry {
    Addresses {
        ttl: u32,
        addresses: Vec<IpAddr>,
    },
    Alias(String),
    /// Each response names another address: this many have.
    EverNew(u16),
    /// One HTTPS record with these protocols and an ECH configuration.
    Https(Vec<String>),
}

/// How the server answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// From its records; NXDOMAIN for a name it does not have.
    #[default]
    Well,
    /// SERVFAIL.
    Failing,
    /// Not at all.
    Silent,
    /// To datagrams, after responses that name this address: with another identifier, to another question, without sense, and from
    /// another server.
    Forged(IpAddr),
    /// To datagrams, without so many bytes at the end.
    Cut(usize),
    /// To datagrams, with zeros up to the most bytes that one can have.
    Padded,
}

impl Dns {
    pub(crate) fn start(namespace: &Namespace, address: &str) -> Self {
        let address: SocketAddr = (address.parse::<IpAddr>().expect("an address"), 53).into();
        let tcp = crate::third_party::listen(namespace, address);
        let bind = |address| crate::third_party::datagrams(namespace, address);
        let (udp, other) = (bind(address), bind((address.ip(), 0).into()));
        let dns = Self { zone: Arc::default() };
        let (by_tcp, by_udp) = (dns.clone(), dns.clone());
        thread::spawn(move || by_tcp.serve_tcp(&tcp));
        thread::spawn(move || by_udp.serve_udp(&udp, &other));
        dns
    }

    /// Sets a name's addresses; `ttl` in seconds.
    pub fn set(&self, name: &str, ttl: u32, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
        self.zone().names.insert(name.to_owned(), Entry::Addresses { ttl, addresses });
    }

    /// Makes a name another name for a target (CNAME).
    pub fn alias(&self, name: &str, target: &str) {
        self.zone().names.insert(name.to_owned(), Entry::Alias(target.to_owned()));
    }

    /// Makes each response name an address of 198.18.0.0/16 that no earlier one named; none of them may be cached.
    pub fn ever_new(&self, name: &str) {
        self.zone().names.insert(name.to_owned(), Entry::EverNew(0));
    }

    /// Gives a name an HTTPS record with these protocols and an ECH configuration, in place of addresses.
    pub fn https(&self, name: &str, protocols: &[&str]) {
        let protocols = protocols.iter().map(ToString::to_string).collect();
        self.zone().names.insert(name.to_owned(), Entry::Https(protocols));
    }

    /// Gives every name below a domain an address of 198.19.0.0/16.
    pub fn everything_below(&self, domain: &str) {
        self.zone().below = Some((format!(".{domain}"), 0));
    }

    /// Forgets a name.
    pub fn remove(&self, name: &str) {
        self.zone().names.remove(name);
    }

    /// From now on the server answers so.
    pub fn is(&self, mood: Mood) {
        self.zone().mood = mood;
    }

    /// How many questions came over TCP.
    pub fn asked_by_tcp(&self) -> u32 {
        self.zone().asked_by_tcp
    }

    /// The addresses that questions came from.
    pub fn clients(&self) -> Vec<IpAddr> {
        self.zone().clients.iter().copied().collect()
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().expect("no panic in the DNS server")
    }

    fn serve_udp(&self, socket: &UdpSocket, other: &UdpSocket) {
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            self.zone().clients.insert(client.ip());
            let Some(answer) = self.answer(&buffer[..length]) else { continue };
            let bytes = answer.to_vec().expect("an answer");
            let mut bytes = if bytes.len() > DATAGRAM { answer.truncate().to_vec().expect("an answer") } else { bytes };
            let mood = self.zone().mood;
            match mood {
                Mood::Forged(address) => forge(&answer, address, client, socket, other),
                Mood::Cut(cut) => bytes.truncate(bytes.len() - cut),
                Mood::Padded => bytes.resize(LARGEST, 0),
                Mood::Well | Mood::Failing | Mood::Silent => {}
            }
            // A resolver that has gone is not the server's affair.
            let _ = socket.send_to(&bytes, client);
        }
    }

    fn serve_tcp(&self, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            let dns = self.clone();
            thread::spawn(move || dns.converse(stream));
        }
    }

    fn converse(&self, mut stream: TcpStream) -> std::io::Result<()> {
        self.zone().clients.insert(stream.peer_addr()?.ip());
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut question = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut question)?;
            self.zone().asked_by_tcp += 1;
            let Some(answer) = self.answer(&question) else { return Ok(()) };
            let bytes = answer.to_vec().expect("an answer");
            let length = u16::try_from(bytes.len()).expect("an answer of at most 64 KiB");
            stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat())?;
        }
    }

    fn answer(&self, question: &[u8]) -> Option<Message> {
        let question = Message::from_vec(question).ok()?;
        let mut zone = self.zone();
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        answer.metadata.recursion_desired = question.metadata.recursion_desired;
        answer.metadata.recursion_available = true;
        answer.add_queries(question.queries.iter().cloned());
        match zone.mood {
            Mood::Silent => return None,
            Mood::Failing => answer.metadata.response_code = ResponseCode::ServFail,
            Mood::Well | Mood::Forged(_) | Mood::Cut(_) | Mood::Padded => {
                let query = question.queries.first()?;
                let mut name = query.name().to_string().trim_end_matches('.').to_lowercase();
                // Names of each other are a loop.
                while let Some(Entry::Alias(target)) = zone.names.get(&name)
                    && answer.answers.len() < 16
                {
                    answer.add_answer(Record::from_rdata(to_name(&name), 1, RData::CNAME(CNAME(to_name(target)))));
                    name.clone_from(target);
                }
                match zone.names.get_mut(&name) {
                    Some(Entry::EverNew(number)) if query.query_type() == RecordType::A => {
                        *number += 1;
                        let [high, low] = number.to_be_bytes();
                        let data = RData::A(A([198, 18, high, low].into()));
                        answer.add_answer(Record::from_rdata(to_name(&name), 0, data));
                    }
                    Some(Entry::EverNew(_)) => {}
                    Some(Entry::Https(protocols)) if query.query_type() == RecordType::HTTPS => {
                        answer.add_answer(Record::from_rdata(to_name(&name), 60, https(protocols)));
                    }
                    Some(Entry::Https(_)) => {}
                    Some(Entry::Addresses { ttl, addresses }) => {
                        let matching = addresses.iter().filter_map(|address| rdata(*address, query.query_type()));
                        answer.add_answers(matching.map(|data| Record::from_rdata(to_name(&name), *ttl, data)));
                    }
                    None => match zone.below.as_mut().filter(|(domain, _)| name.ends_with(domain.as_str())) {
                        Some((_, number)) if query.query_type() == RecordType::A => {
                            *number = number.wrapping_add(1);
                            let [high, low] = number.to_be_bytes();
                            answer.add_answer(Record::from_rdata(
                                to_name(&name),
                                60,
                                RData::A(A([198, 19, high, low].into())),
                            ));
                        }
                        Some(_) => {}
                        None => answer.metadata.response_code = ResponseCode::NXDomain,
                    },
                    Some(Entry::Alias(_)) => {}
                }
            }
        }
        Some(answer)
    }
}

/// Sends responses that the client must not believe.
fn forge(answer: &Message, address: IpAddr, client: SocketAddr, socket: &UdpSocket, other: &UdpSocket) {
    let Some(query) = answer.queries.first() else { return };
    let Some(data) = rdata(address, query.query_type()) else { return };
    let mut forged = Message::response(answer.metadata.id, answer.metadata.op_code);
    forged.add_query(query.clone());
    forged.add_answer(Record::from_rdata(query.name().clone(), 60, data));
    let whole = forged.to_vec().expect("an answer");
    let mut other_identifier = whole.clone();
    other_identifier[1] ^= 1;
    let mut other_question = whole.clone();
    // The first letter of the name.
    other_question[13] ^= 1;
    let nonsense = [&whole[..2], &[0xff; 10]].concat();
    for bytes in [other_identifier, other_question, nonsense] {
        let _ = socket.send_to(&bytes, client);
    }
    let _ = other.send_to(&whole, client);
}

fn https(protocols: &[String]) -> RData {
    let parameters = vec![
        (SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(protocols.to_vec()))),
        (SvcParamKey::EchConfigList, SvcParamValue::EchConfigList(EchConfigList(b"outer.example".to_vec()))),
    ];
    RData::HTTPS(HTTPS(SVCB::new(1, Name::root(), parameters)))
}

fn to_name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).expect("a name")
}

fn rdata(address: IpAddr, wanted: RecordType) -> Option<RData> {
    match (address, wanted) {
        (IpAddr::V4(v4), RecordType::A) => Some(RData::A(A(v4))),
        (IpAddr::V6(v6), RecordType::AAAA) => Some(RData::AAAA(AAAA(v6))),
        _ => None,
    }
}

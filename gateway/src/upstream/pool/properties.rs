use std::collections::HashMap;
use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::model::Endpoint;
use crate::permit;

/// What is done with the pool.
#[derive(Clone, Debug)]
enum Step {
    /// A connection of this key, to this of two ports, is leased.
    Lease(usize, usize, Reuse),
    /// A lease ends, and its connection goes back.
    Return(usize),
    /// The third party ends all connections of a port.
    End(usize),
    Sweep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let reuse = prop::sample::select(vec![Reuse::Any, Reuse::Any, Reuse::Fresh, Reuse::Never]);
    let step = prop_oneof![
        6 => (0..KEYS, 0..2usize, reuse).prop_map(|(key, port, reuse)| Step::Lease(key, port, reuse)),
        6 => any::<usize>().prop_map(Step::Return),
        1 => (0..2usize).prop_map(Step::End),
        1 => Just(Step::Sweep),
    ];
    vec(step, 1..60)
}

const KEYS: usize = 6;

/// Maximum number of idle connections of a key.
const IDLE_OF_ONE: usize = 2;

/// Keys that differ in one thing each: API, host, address, workload, windows.
fn keys() -> [Key; KEYS] {
    let key = Key {
        api: "partner".into(),
        host: Host::parse("api.partner.example").unwrap(),
        chosen: "203.0.113.1:80".parse().unwrap(),
        secured: None,
        workload: Some("one".into()),
        windows: Windows::Narrow,
        idle: IDLE_OF_ONE,
    };
    [
        Key { api: "other".into(), ..key.clone() },
        Key { host: Host::parse("www.partner.example").unwrap(), ..key.clone() },
        Key { chosen: "203.0.113.2:80".parse().unwrap(), ..key.clone() },
        Key { workload: Some("two".into()), ..key.clone() },
        Key { windows: Windows::Wide, ..key.clone() },
        key,
    ]
}

/// A third party that keeps connections open, and those that it has accepted.
struct ThirdParty {
    address: SocketAddr,
    accepted: Arc<Mutex<Vec<TcpStream>>>,
}

impl ThirdParty {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, accepted) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let all = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                all.lock().unwrap().push(stream);
            }
        });
        Self { address, accepted }
    }
}

async fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let pool = Pool::new(Arc::new(Dialer::new(Arc::new(|_| Ok(())))));
    let (keys, parties) = (keys(), [ThirdParty::new().await, ThirdParty::new().await]);
    let permit_for = |port: u16| {
        let endpoint = Endpoint { host: Host::parse("api.partner.example").unwrap(), port, tls: None };
        permit::admit_own(&endpoint, |_| vec![IpAddr::from([127, 0, 0, 1])]).unwrap()
    };
    let mut leases: Vec<(usize, Lease)> = Vec::new();
    // The key that each connection, known by its ports, was made for.
    let mut made: HashMap<(u16, u16), usize> = HashMap::new();
    let mut ended: Vec<(u16, u16)> = Vec::new();
    for step in steps {
        match step {
            Step::Lease(key, port, reuse) => {
                let address = parties[port].address;
                let permit = permit_for(address.port());
                let entry = pool.entry(keys[key].clone());
                let idle = entry.pooled().idle.len();
                let lease = pool.lease(&entry, &permit, Alpn::HTTP1, reuse).await.unwrap();
                let (local, remote) = (lease.path().local, lease.path().remote);
                prop_assert_eq!(remote, address, "the permit is for another address");
                let name = (local.port(), remote.port());
                match made.insert(name, key) {
                    // Nobody has noticed yet, perhaps, that it has ended.
                    Some(owner) if ended.contains(&name) => prop_assert_eq!(owner, key, "a connection of another key"),
                    Some(owner) => {
                        prop_assert_eq!(owner, key, "a connection of another key");
                        prop_assert!(reuse != Reuse::Never && idle > 0);
                        let is_leased = |(_, other): &(usize, Lease)| other.path() == lease.path();
                        prop_assert!(!leases.iter().any(is_leased), "a connection that is in use");
                    }
                    None => {}
                }
                leases.push((key, lease));
            }
            Step::Return(index) if !leases.is_empty() => {
                let (key, lease) = leases.remove(index % leases.len());
                drop(lease);
                let idle = pool.entry(keys[key].clone()).pooled().idle.len();
                prop_assert!(idle <= IDLE_OF_ONE, "{idle} idle connections");
            }
            Step::Return(_) => {}
            Step::End(port) => {
                // Those that have come are accepted before.
                tokio::task::yield_now().await;
                for stream in parties[port].accepted.lock().unwrap().drain(..) {
                    ended.push((stream.peer_addr().unwrap().port(), stream.local_addr().unwrap().port()));
                }
            }
            Step::Sweep => pool.sweep(),
        }
    }
    drop(leases);
    let idle = |key: &Key| pool.entry(key.clone()).pooled().idle.len();
    prop_assert!(keys.iter().map(idle).all(|idle| idle <= IDLE_OF_ONE));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, rng_seed: RngSeed::Fixed(19), failure_persistence: None, ..ProptestConfig::default() })]

    /// A connection serves one key and one user at a time, never another, and few wait without one.
    #[test]
    fn a_connection_stays_with_its_key_and_has_one_user(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps))?;
    }
}

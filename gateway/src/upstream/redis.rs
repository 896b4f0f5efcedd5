//! Counts in a server that speaks Redis's protocol. One connection for each server, which all requests share.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex as Lock, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, Script};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::pool::Pool;
use crate::model::{Count, CounterStore, Counters, Host, Left, Pending, Within};
use crate::permit;

/// A server that did not answer is left alone for so long: requests do not wait for it one after the other.
const REST: Duration = Duration::from_secs(1);

/// Calls that were let through, as the memory of one node keeps them: their times, by the server's clock. Gives how many are
/// left, and the microseconds until there is one more.
static ANY_PERIOD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local clock = redis.call('TIME')
local now, most, period, add = clock[1] * 1000000 + clock[2], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local first = redis.call('LINDEX', KEYS[1], 0)
while first and now - first >= period do
  redis.call('LPOP', KEYS[1])
  first = redis.call('LINDEX', KEYS[1], 0)
end
local used = redis.call('LLEN', KEYS[1])
local beyond = used + math.max(add, 1) - most
if beyond <= 0 then
  for _ = 1, add do
    redis.call('RPUSH', KEYS[1], string.format('%.0f', now))
  end
  if add > 0 then
    redis.call('PEXPIRE', KEYS[1], math.ceil(period / 1000))
  end
  return {most - used - add, 0}
end
local last = redis.call('LINDEX', KEYS[1], beyond - 1)
return {-1, last and period - (now - last) or period}
",
    )
});

/// A count of one period, which is forgotten a minute after its end. Gives how many are left, or -1.
static ONE_PERIOD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local used, most = tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[1])
if used + math.max(tonumber(ARGV[2]), 1) > most and ARGV[4] == '0' then
  return {-1, 0}
end
if ARGV[2] ~= '0' then
  used = redis.call('INCRBY', KEYS[1], ARGV[2])
  if ARGV[3] ~= '' then
    redis.call('EXPIREAT', KEYS[1], ARGV[3] + 60)
  end
end
return {math.max(most - used, 0), 0}
",
    )
});

/// The servers that the configuration names.
pub struct Redis {
    lines: Arc<Lines>,
}

struct Lines {
    pool: Arc<Pool>,
    addresses: AddressesOf,
    /// By what the configuration says of them; a server that it names no more is forgotten with its connection.
    known: Lock<HashMap<Key, Arc<Mutex<Line>>>>,
}

type AddressesOf = Box<dyn Fn(&Host) -> Vec<IpAddr> + Send + Sync>;

/// What a connection is known by.
type Key = (String, u32, Option<Arc<str>>);

/// The connection to a server.
#[derive(Default)]
enum Line {
    #[default]
    Down,
    /// Not to be tried before.
    Resting(Instant),
    Up(MultiplexedConnection),
}

impl Redis {
    /// That connects as the pool does, to what names come to.
    pub fn new(pool: Arc<Pool>, addresses: impl Fn(&Host) -> Vec<IpAddr> + Send + Sync + 'static) -> Self {
        Self { lines: Arc::new(Lines { pool, addresses: Box::new(addresses), known: Lock::default() }) }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

impl Counters for Redis {
    fn count<'a>(&'a self, store: &'a Arc<CounterStore>, count: Count) -> Pending<'a, Result<Left, String>> {
        Box::pin(self.lines.count(store, count, false))
    }

    fn add(&self, store: &Arc<CounterStore>, count: Count) {
        let (lines, store) = (Arc::clone(&self.lines), Arc::clone(store));
        tokio::spawn(async move {
            let name = count.name.clone();
            if let Err(error) = lines.count(&store, count, true).await {
                tracing::warn!(name, error, "what an answer has cost is not counted");
            }
        });
    }
}

impl Lines {
    async fn count(&self, store: &CounterStore, count: Count, beyond: bool) -> Result<Left, String> {
        let line = self.line(store);
        let counted = timeout(store.timeout, async {
            let mut connection = self.connection(&line, store).await?;
            asked(&mut connection, &count, beyond).await.map_err(|error| error.to_string())
        });
        let why = match counted.await {
            Ok(Ok(left)) => return Ok(left),
            Ok(Err(why)) => why,
            Err(_) => format!("no answer within {:?}", store.timeout),
        };
        let mut line = line.lock().await;
        if !matches!(*line, Line::Resting(_)) {
            tracing::warn!(server = %store.endpoint.authority(), error = why, "the server of `counters` gives no count");
            *line = Line::Resting(Instant::now() + REST);
        }
        Err(why)
    }

    fn line(&self, store: &CounterStore) -> Arc<Mutex<Line>> {
        let key = (store.endpoint.to_string(), store.database, store.username.clone());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(&key) {
            // There is one at a time; the one before is not asked any more.
            known.clear();
        }
        Arc::clone(known.entry(key).or_default())
    }

    async fn connection(&self, line: &Mutex<Line>, store: &CounterStore) -> Result<MultiplexedConnection, String> {
        let mut line = line.lock().await;
        match &*line {
            Line::Up(connection) => return Ok(connection.clone()),
            Line::Resting(until) if Instant::now() < *until => return Err("it did not answer a moment ago".to_owned()),
            Line::Resting(_) | Line::Down => {}
        }
        let connection = self.connect(store).await?;
        *line = Line::Up(connection.clone());
        Ok(connection)
    }

    async fn connect(&self, store: &CounterStore) -> Result<MultiplexedConnection, String> {
        let endpoint = &store.endpoint;
        let permit = permit::admit_own(endpoint, &self.addresses).map_err(|reason| reason.to_string())?;
        let opened = self.pool.open(&permit, &endpoint.host, endpoint.tls.as_ref()).await;
        let stream = opened.map_err(|reason| reason.to_string())?;
        let mut login = RedisConnectionInfo::default().set_db(store.database.into());
        if let Some(username) = &store.username {
            login = login.set_username(username);
        }
        if let Some(password) = store.password.as_ref().and_then(crate::model::Template::constant) {
            login = login.set_password(String::from_utf8_lossy(&password));
        }
        // Whoever counts has a time of its own.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let made = MultiplexedConnection::new_with_config(&login, stream, config).await;
        let (connection, driver) = made.map_err(|error| error.to_string())?;
        tokio::spawn(driver);
        Ok(connection)
    }
}

/// Asks; `beyond` what there may be, if that is said.
async fn asked(connection: &mut MultiplexedConnection, count: &Count, beyond: bool) -> redis::RedisResult<Left> {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let (left, wait): (i64, u64) = match count.within {
        Within::Any(period) => {
            let mut script = ANY_PERIOD.key(&count.name);
            script.arg(count.most).arg(micros(period)).arg(count.add).invoke_async(connection).await?
        }
        Within::Until(until) => {
            let end = until.map_or_else(String::new, |until| until.to_string());
            let mut script = ONE_PERIOD.key(format!("{}:{end}", count.name));
            script.arg(count.most).arg(count.add).arg(end).arg(u8::from(beyond)).invoke_async(connection).await?
        }
    };
    Ok(match (u64::try_from(left), count.within) {
        (Ok(left), _) => Ok(left),
        (Err(_), Within::Any(_)) => Err(Some(Duration::from_micros(wait))),
        (Err(_), Within::Until(until)) => Err(until.map(remaining)),
    })
}

/// Until this second since 1970.
fn remaining(until: u64) -> Duration {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(until).saturating_sub(now)
}

#[cfg(test)]
mod fuzz;

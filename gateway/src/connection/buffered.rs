//! Bodies that are held as a whole: what they take is charged to the owner of the caller, so that no owner takes the memory
//! of all.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::header::HeaderMap;

use crate::flow::{Bound, Share, Shares};
use crate::model::Reason;

/// The bytes that are held for one side of a request.
#[derive(Debug)]
pub struct Buffered {
    shares: Shares,
    owner: Arc<str>,
    bound: Bound,
    taken: Mutex<Option<Share>>,
}

impl Buffered {
    /// Room of this many bytes, which all share; an owner may have a quarter of it.
    pub(super) fn new(shares: &Shares, owner: &Arc<str>, all: u64) -> Self {
        let bound = Bound { all, each: all / 4 };
        Self { shares: shares.clone(), owner: Arc::clone(owner), bound, taken: Mutex::default() }
    }

    /// Takes room for this many more bytes, until it is dropped.
    ///
    /// # Errors
    /// [`Reason::BuffersFull`]: the owner, or all together, hold as much as they may.
    pub(super) fn take(&self, bytes: usize) -> Result<(), Reason> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let mut taken = self.taken();
        let has_room = match &mut *taken {
            Some(share) => share.grow(bytes, self.bound),
            None => {
                *taken = self.shares.take(&self.owner, bytes, self.bound);
                taken.is_some()
            }
        };
        has_room.then_some(()).ok_or(Reason::BuffersFull)
    }

    /// Returns what was taken, to keep it for longer.
    pub(super) fn into_share(self) -> Option<Share> {
        self.taken.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) -> MutexGuard<'_, Option<Share>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a body to its end, and its trailers. It is copied: the pieces as they come would keep the buffers that they were read into, of which
/// they may be a small part.
///
/// # Errors
/// [`Reason::BodyTooLarge`] beyond `most` bytes, [`Reason::BuffersFull`], or `broken` if it breaks off.
pub(super) async fn whole<B: Body<Data = Bytes>>(
    body: B,
    most: usize,
    broken: Reason,
    buffered: &Buffered,
) -> Result<(Bytes, Option<HeaderMap>), Reason> {
    let mut body = pin!(body);
    let mut trailers = None;
    let mut bytes = BytesMut::with_capacity(announced(body.as_ref().get_ref(), most)?);
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| broken)?.into_data() {
            Ok(data) => append(&mut bytes, &data, most, buffered)?,
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((bytes.freeze(), trailers))
}

/// Returns the room that a body needs as far as it says so; the memory is taken when the bytes come.
pub(super) fn announced(body: &impl Body, most: usize) -> Result<usize, Reason> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > most { Err(Reason::BodyTooLarge) } else { Ok(announced) }
}

/// Adds a piece of a body.
pub(super) fn append(bytes: &mut BytesMut, data: &[u8], most: usize, buffered: &Buffered) -> Result<(), Reason> {
    if bytes.len().saturating_add(data.len()) > most {
        return Err(Reason::BodyTooLarge);
    }
    buffered.take(data.len())?;
    bytes.extend_from_slice(data);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    fn pieces(count: usize) -> impl Body<Data = Bytes, Error = Infallible> {
        let piece = |_| Ok(Frame::data(Bytes::from_static(&[b'x'; 1000])));
        StreamBody::new(futures_util::stream::iter((0..count).map(piece)))
    }

    fn read(count: usize, most: usize, buffered: &Buffered) -> Result<usize, Reason> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(whole(pieces(count), most, Reason::ClientReset, buffered)).map(|(bytes, _)| bytes.len())
    }

    #[test]
    fn what_is_held_is_charged_until_it_is_dropped() {
        let shares = Shares::default();
        let buffered = |owner: &str| Buffered::new(&shares, &owner.into(), 16_000);
        let (first, second, other) = (buffered("a"), buffered("a"), buffered("b"));
        assert_eq!(read(3, 100_000, &first), Ok(3000));
        assert_eq!(read(2, 100_000, &second), Err(Reason::BuffersFull));
        assert_eq!(read(4, 100_000, &other), Ok(4000));
        assert_eq!(read(5, 4000, &buffered("c")), Err(Reason::BodyTooLarge));
        drop((first, second, other));
        assert_eq!(shares.used(), 0);
        let share = {
            let last = buffered("a");
            assert_eq!(read(4, 4000, &last), Ok(4000));
            last.into_share()
        };
        assert_eq!(shares.used(), 4000);
        drop(share);
        assert_eq!(shares.used(), 0);
    }
}

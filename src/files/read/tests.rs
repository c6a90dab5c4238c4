//! What a store may do to a download, and that a client always learns of it.

use bytes::Bytes;
use futures_util::future::pending;

use super::*;
use crate::base::{Code, Timestamp, stream as bytes_of};
use crate::blob::BlobError;

/// Stands for the seconds that a store is really waited for.
const WAIT: Duration = Duration::from_millis(20);

fn of_five(frames: Vec<Result<Bytes, StreamError>>) -> ByteStream {
    exactly(stream::iter(frames).boxed(), 5, FileId::new(Timestamp::from_micros(0)))
}

async fn read(stream: ByteStream) -> (Vec<u8>, Option<StreamError>) {
    let (mut got, mut broke) = (Vec::new(), None);
    let mut stream = stream;
    while let Some(frame) = stream.next().await {
        match frame {
            Ok(frame) => got.extend_from_slice(&frame),
            Err(error) => broke = Some(error),
        }
    }
    (got, broke)
}

#[tokio::test]
async fn as_many_bytes_as_were_asked_for_end_cleanly_and_others_do_not() {
    let frame = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
    let (got, broke) = read(of_five(vec![frame("abc"), frame(""), frame("de")])).await;
    assert!(got == b"abcde" && broke.is_none(), "{broke:?}");
    for (frames, whole) in [
        (vec![frame("abc")], "abc"),
        (vec![], ""),
        (vec![frame("abc"), frame("def")], "abc"),
        (vec![frame("ab"), Err(StreamError::Failed("the store".to_owned())), frame("cde")], "ab"),
    ] {
        let (got, broke) = read(of_five(frames)).await;
        assert_eq!(got, whole.as_bytes());
        assert!(matches!(broke, Some(StreamError::Failed(_))), "{broke:?}");
    }
}

#[tokio::test]
async fn a_store_that_goes_silent_is_not_waited_for_and_a_slow_reader_is() {
    let silent = bytes_of::once("abc").chain(stream::pending()).boxed();
    let id = FileId::new(Timestamp::from_micros(0));
    let (got, broke) = read(watched(silent, 5, id, WAIT)).await;
    assert!(got == b"abc" && matches!(broke, Some(StreamError::TimedOut)), "{broke:?}");

    let mut slowly = watched(bytes_of::once("abc").chain(bytes_of::once("de")).boxed(), 5, id, WAIT);
    assert_eq!(slowly.next().await.unwrap().unwrap(), "abc");
    tokio::time::sleep(2 * WAIT).await; // the reader's own slowness
    assert_eq!(slowly.next().await.unwrap().unwrap(), "de");
    assert!(slowly.next().await.is_none());

    let away = within(WAIT, pending::<Result<(), BlobError>>()).await.unwrap_err();
    assert_eq!(away.code(), Code::Unavailable);
    assert!(ANSWER_WAIT_MAX < Duration::from_secs(5), "a client waits longer than it was promised");
}

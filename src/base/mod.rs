//! What every floor speaks: ids, keys, errors, time, digests, ranges, streams, pages.
//!
//! Pure: no file, no socket, no database, no environment. Anything here can be tested with a table of
//! arguments and results. Everybody may import it; it imports nothing of ours.

pub mod clock;
pub mod crc;
pub mod digest;
pub mod entity;
pub mod error;
pub mod filename_key;
pub mod finding;
pub mod grant;
pub mod id;
pub mod key;
pub mod media_type;
pub mod metadata;
pub mod page;
pub mod principal;
pub mod range;
pub mod secret;
pub mod stream;
pub mod thumbnail;

pub use clock::{Clock, Correction, ManualClock, SystemClock, Timestamp};
pub use entity::EntityName;
pub use error::{Code, Error, Result};
pub use filename_key::filename_key;
pub use id::{ChunkIndex, FileId, KeyId, TenantId, TokenId, UploadId};
pub use key::{BlobKey, PartsId};
pub use page::Page;
pub use principal::Principal;
pub use range::ByteRange;
pub use secret::Secret;
pub use stream::ByteStream;

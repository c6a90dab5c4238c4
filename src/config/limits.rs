//! `limits`: how much one tenant may ask for. Called by `Config::read`.

use super::reader::Reader;
use super::size::ByteSize;

/// Section `limits`; each is per tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Requests in a second, on average, 1 to 1,000,000; `None`: any number.
    pub requests_per_second: Option<u32>,
    /// Uploads that have not ended, 1 to 1,000,000.
    pub open_uploads: u32,
    /// Bytes of files and of what open uploads announced; `None`: as many as fit.
    pub tenant_max_bytes: Option<ByteSize>,
}

impl Limits {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        let read = Self {
            requests_per_second: from.optional("requests_per_second", "of one tenant; null = no limit"),
            open_uploads: from.take("open_uploads", "1000", "of one tenant at once"),
            tenant_max_bytes: from
                .optional("tenant_max_bytes", "files and announced uploads of one tenant; null = no limit"),
        };
        from.check(
            &["limits.requests_per_second"],
            read.requests_per_second.is_none_or(|limit| (1..=1_000_000).contains(&limit)),
            "null, or a number from 1 to 1000000",
        );
        from.check(
            &["limits.open_uploads"],
            (1..=1_000_000).contains(&read.open_uploads),
            "a number from 1 to 1000000",
        );
        read
    }
}

//! Numbers at offsets of untrusted bytes: past the end there is nothing, and nothing overflows.

/// The byte order of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Big,
    Little,
}

/// `len` bytes from `at` on.
pub(super) fn bytes(data: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    data.get(at..at.checked_add(len)?)
}

/// The two bytes at `at`.
pub(super) fn u16_at(data: &[u8], at: usize, order: Order) -> Option<u16> {
    let two = bytes(data, at, 2)?.try_into().ok()?;
    Some(if order == Order::Big { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) })
}

/// The four bytes at `at`.
pub(super) fn u32_at(data: &[u8], at: usize, order: Order) -> Option<u32> {
    let four = bytes(data, at, 4)?.try_into().ok()?;
    Some(if order == Order::Big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
}

/// The four bytes at `at`, as a length or offset.
pub(super) fn offset_at(data: &[u8], at: usize, order: Order) -> Option<usize> {
    usize::try_from(u32_at(data, at, order)?).ok()
}

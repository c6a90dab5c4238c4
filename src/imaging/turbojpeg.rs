//! libjpeg-turbo's `TurboJPEG` API (`turbojpeg.h`), made safe: the only unsafe code for JPEG.
//!
//! Called by `decode::jpeg` and `encode::jpeg`, which know what a picture is; here are only handles, buffers and
//! their lengths. An instance is used once and freed; it never leaves its thread.
#![expect(unsafe_code, reason = "a C library")]

use std::ffi::{c_int, c_uchar, c_void};
use std::ptr::{self, NonNull};
use std::slice;

use turbojpeg_sys as sys;

/// What the last row holds before anything is decoded, by turns: no decoder writes it by chance.
const UNTOUCHED: [u8; 2] = [0x55, 0xaa];
/// What libjpeg fills the part of a picture with whose data is missing.
const MISSING: u8 = 128;

/// How pixels lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PixelFormat {
    Gray,
    Rgb,
    /// As stored: inverted, if Adobe's marker is there.
    Cmyk,
}

impl PixelFormat {
    pub(super) const fn channels(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
            Self::Cmyk => 4,
        }
    }

    const fn code(self) -> c_int {
        match self {
            Self::Gray => sys::TJPF_TJPF_GRAY,
            Self::Rgb => sys::TJPF_TJPF_RGB,
            Self::Cmyk => sys::TJPF_TJPF_CMYK,
        }
    }
}

/// What libjpeg-turbo may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed {
    pub(super) scans: u16,
    pub(super) pixels: u64,
    pub(super) memory_bytes: u64,
}

/// Decoded, perhaps with a gap.
pub(super) struct Decompressed {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) format: PixelFormat,
    pub(super) data: Vec<u8>,
    /// libjpeg warned, or gave up on the way; what is missing is mid-gray.
    pub(super) damaged: bool,
}

/// Decodes a lossy JPEG with 8 bits a sample, `denominator` (1, 2, 4 or 8) times smaller, rounded up; `None` if its
/// headers are not understood, or if there is no memory.
pub(super) fn decompress(file: &[u8], denominator: u8, allowed: Allowed) -> Option<Decompressed> {
    let instance = Instance::new(sys::TJINIT_TJINIT_DECOMPRESS)?;
    // Markers are read by `probe::jpeg`, within limits of its own.
    instance.set(sys::TJPARAM_TJPARAM_SAVEMARKERS, 0)?;
    instance.set(sys::TJPARAM_TJPARAM_SCANLIMIT, i32::from(allowed.scans))?;
    instance.set(sys::TJPARAM_TJPARAM_MAXPIXELS, i32::try_from(allowed.pixels).unwrap_or(i32::MAX))?;
    // In mebibytes; 0 would be no limit.
    let mebibytes = allowed.memory_bytes.div_ceil(1 << 20).clamp(1, 1 << 20);
    instance.set(sys::TJPARAM_TJPARAM_MAXMEMORY, i32::try_from(mebibytes).ok()?)?;
    let (full_width, full_height, format) = instance.header(file)?;
    let scale = sys::tjscalingfactor { num: 1, denom: c_int::from(denominator) };
    // SAFETY: the handle is one that lives.
    if unsafe { sys::tj3SetScalingFactor(instance.0.as_ptr(), scale) } != 0 {
        return None;
    }
    // turbojpeg.h, TJSCALED: rounded up.
    let (width, height) =
        (full_width.div_ceil(usize::from(denominator)), full_height.div_ceil(usize::from(denominator)));
    let row = width.checked_mul(format.channels())?;
    let len = row.checked_mul(height)?;
    let mut data = super::pixels::zeroed(len)?;
    for (index, byte) in data[len - row..].iter_mut().enumerate() {
        *byte = UNTOUCHED[index % 2];
    }
    // SAFETY: the handle is one that lives; `file` is readable for its length; `data` has `height` rows of `row`
    // bytes, which is what the header that was read from the same bytes, this scaling factor and a pitch of `row`
    // make libjpeg write: it reads the same header again, and frames without scaling (lossless) were refused.
    let status = unsafe {
        let pitch = c_int::try_from(row).ok()?;
        let (source, len, target) = (file.as_ptr(), file.len().try_into().ok()?, data.as_mut_ptr());
        sys::tj3Decompress8(instance.0.as_ptr(), source, len, target, pitch, format.code())
    };
    let damaged = status != 0;
    if damaged {
        fill_gap(&mut data, row);
    }
    Some(Decompressed { width, height, format, data, damaged })
}

/// Encodes as baseline JPEG, 4:2:0, with optimized Huffman tables; `None` if there is no memory, or if `data` does not
/// have `width * height` pixels of `format` (Gray or Rgb), 65500 a side at most.
pub(super) fn compress(
    data: &[u8],
    width: usize,
    height: usize,
    format: PixelFormat,
    quality: u8,
) -> Option<Vec<u8>> {
    let row = width.checked_mul(format.channels())?;
    if row == 0 || row.checked_mul(height)? != data.len() {
        return None;
    }
    let instance = Instance::new(sys::TJINIT_TJINIT_COMPRESS)?;
    let sampling = if format == PixelFormat::Gray { sys::TJSAMP_TJSAMP_GRAY } else { sys::TJSAMP_TJSAMP_420 };
    instance.set(sys::TJPARAM_TJPARAM_SUBSAMP, sampling)?;
    instance.set(sys::TJPARAM_TJPARAM_QUALITY, i32::from(quality))?;
    instance.set(sys::TJPARAM_TJPARAM_OPTIMIZE, 1)?;
    let mut encoded = Encoded { bytes: ptr::null_mut(), len: 0 };
    // SAFETY: the handle is one that lives; `data` has `height` rows of `row` bytes (checked above); the library
    // allocates the result and writes where it is and how long.
    let status = unsafe {
        let (width, height) = (c_int::try_from(width).ok()?, c_int::try_from(height).ok()?);
        let (source, pitch) = (data.as_ptr(), c_int::try_from(row).ok()?);
        let (bytes, len) = (&raw mut encoded.bytes, &raw mut encoded.len);
        sys::tj3Compress8(instance.0.as_ptr(), source, width, pitch, height, format.code(), bytes, len)
    };
    (status == 0).then(|| encoded.to_vec())
}

struct Instance(NonNull<c_void>);

impl Instance {
    fn new(kind: sys::TJINIT) -> Option<Self> {
        // SAFETY: any value may be given; what comes back is a handle or null.
        NonNull::new(unsafe { sys::tj3Init(c_int::try_from(kind).ok()?) }).map(Self)
    }

    fn set(&self, parameter: sys::TJPARAM, value: c_int) -> Option<()> {
        // SAFETY: the handle is one that lives; the library checks parameter and value.
        let status = unsafe { sys::tj3Set(self.0.as_ptr(), c_int::try_from(parameter).ok()?, value) };
        (status == 0).then_some(())
    }

    fn get(&self, parameter: sys::TJPARAM) -> c_int {
        // SAFETY: the handle is one that lives; a parameter that there is not answers -1.
        unsafe { sys::tj3Get(self.0.as_ptr(), c_int::try_from(parameter).unwrap_or(-1)) }
    }

    /// Width, height and the layout that is nearest to what is stored.
    fn header(&self, file: &[u8]) -> Option<(usize, usize, PixelFormat)> {
        // SAFETY: the handle is one that lives; `file` is readable for its length. A warning also answers -1, so that
        // what was read decides below; nothing read leaves the width at -1.
        unsafe { sys::tj3DecompressHeader(self.0.as_ptr(), file.as_ptr(), file.len().try_into().ok()?) };
        let side = |parameter| usize::try_from(self.get(parameter)).ok().filter(|side| *side > 0);
        let format = match sys::TJCS::try_from(self.get(sys::TJPARAM_TJPARAM_COLORSPACE)).ok()? {
            sys::TJCS_TJCS_GRAY => PixelFormat::Gray,
            sys::TJCS_TJCS_RGB | sys::TJCS_TJCS_YCbCr => PixelFormat::Rgb,
            sys::TJCS_TJCS_CMYK | sys::TJCS_TJCS_YCCK => PixelFormat::Cmyk,
            _ => return None,
        };
        let lossy = self.get(sys::TJPARAM_TJPARAM_LOSSLESS) == 0;
        let eight_bits = self.get(sys::TJPARAM_TJPARAM_PRECISION) == 8;
        let sides = (side(sys::TJPARAM_TJPARAM_JPEGWIDTH)?, side(sys::TJPARAM_TJPARAM_JPEGHEIGHT)?);
        (lossy && eight_bits).then_some((sides.0, sides.1, format))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // SAFETY: the handle is one that lives, and this is its end.
        unsafe { sys::tj3Destroy(self.0.as_ptr()) };
    }
}

/// A buffer that the library allocated.
struct Encoded {
    bytes: *mut c_uchar,
    len: sys::size_t,
}

impl Encoded {
    fn to_vec(&self) -> Vec<u8> {
        let Ok(len) = usize::try_from(self.len) else { return Vec::new() };
        if self.bytes.is_null() {
            return Vec::new();
        }
        // SAFETY: the library wrote `len` bytes there, and nobody else has the pointer.
        unsafe { slice::from_raw_parts(self.bytes, len) }.to_vec()
    }
}

impl Drop for Encoded {
    fn drop(&mut self) {
        // SAFETY: allocated by the library or null, which it takes as well.
        unsafe { sys::tj3Free(self.bytes.cast()) };
    }
}

/// Where libjpeg gave up without a word for the rest, its rows look like those that it fills up itself. (Its error
/// code does not tell: it says "warning" also if a fatal error came behind one.)
fn fill_gap(data: &mut [u8], row: usize) {
    let last = data.len() - row;
    if data[last..].iter().zip(UNTOUCHED.iter().cycle()).any(|(byte, mark)| byte != mark) {
        return;
    }
    data[last..].fill(MISSING);
    let written = data[..last].iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    data[written.next_multiple_of(row)..].fill(MISSING);
}

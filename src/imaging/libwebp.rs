//! libwebp's decoder and encoder (`webp/decode.h`, `webp/encode.h`), made safe: the only unsafe code for WebP.
//!
//! Called by `decode::webp` and `encode::webp`; containers, canvases and profiles are none of its business. Every
//! structure that C keeps a pointer to lives in a box until C has let go of it.
#![expect(unsafe_code, reason = "a C library")]

use std::ffi::c_int;
use std::ptr::{self, NonNull};
use std::slice;

use libwebp_sys as sys;

/// So much of a file is handed over at once; between two, the caller may stop it.
const SLICE_BYTES: usize = 256 * 1024;

/// What was decoded.
pub(super) struct Decoded {
    /// Rows of RGB or RGBA, as asked for; those that were not decoded are zero.
    pub(super) data: Vec<u8>,
    /// How many rows were decoded, from the top.
    pub(super) rows: usize,
}

/// The sides of the one picture in `data`, which is a whole still file or a frame's chunks.
pub(super) fn size(data: &[u8]) -> Option<(u32, u32)> {
    // SAFETY: all of the structure is integers, for which zeros are values.
    let mut features: sys::WebPBitstreamFeatures = unsafe { std::mem::zeroed() };
    // SAFETY: `data` is readable for its length; the features are written.
    let status = unsafe { sys::WebPGetFeatures(data.as_ptr(), data.len(), &raw mut features) };
    let sides = (u32::try_from(features.width).ok()?, u32::try_from(features.height).ok()?);
    (status == sys::VP8StatusCode::VP8_STATUS_OK && sides.0 > 0 && sides.1 > 0).then_some(sides)
}

/// Decodes the one picture in `data`, scaled to `width` by `height`, with alpha or without. Goes on as far as the data
/// does and as long as `go_on` says so; `None` if there is no memory, or if libwebp does not start.
pub(super) fn decode(
    data: &[u8],
    (width, height): (u32, u32),
    with_alpha: bool,
    mut go_on: impl FnMut() -> bool,
) -> Option<Decoded> {
    let row = usize::try_from(width).ok()?.checked_mul(if with_alpha { 4 } else { 3 })?;
    let mut pixels = super::pixels::zeroed(row.checked_mul(usize::try_from(height).ok()?)?)?;
    let mut config = Box::new(sys::WebPDecoderConfig::new().ok()?);
    // Its scaler premultiplies, which costs the colors of faint pixels: not where nothing is to be scaled.
    config.options.use_scaling = c_int::from(size(data) != Some((width, height)));
    config.options.scaled_width = c_int::try_from(width).ok()?;
    config.options.scaled_height = c_int::try_from(height).ok()?;
    config.output.colorspace =
        if with_alpha { sys::WEBP_CSP_MODE::MODE_RGBA } else { sys::WEBP_CSP_MODE::MODE_RGB };
    config.output.is_external_memory = 1;
    let stride = c_int::try_from(row).ok()?;
    config.output.u.RGBA = sys::WebPRGBABuffer { rgba: pixels.as_mut_ptr(), stride, size: pixels.len() };
    // SAFETY: the decoder keeps pointers into the configuration, which is boxed, and to the pixels, whose stride and
    // length it is told and checks; both outlive it, and nothing else touches them meanwhile.
    let decoder = Decoder(NonNull::new(unsafe { sys::WebPIDecode(ptr::null(), 0, &raw mut *config) })?);
    let mut given = 0;
    while given < data.len() && go_on() {
        given = data.len().min(given + SLICE_BYTES);
        // SAFETY: the decoder lives; the first `given` bytes are readable, and stay where they are until it ends.
        let status = unsafe { sys::WebPIUpdate(decoder.0.as_ptr(), data.as_ptr(), given) };
        if status != sys::VP8StatusCode::VP8_STATUS_SUSPENDED {
            break;
        }
    }
    let mut rows: c_int = 0;
    // SAFETY: the decoder lives; it writes how many rows it has done, if it has begun, and takes null for the rest.
    unsafe {
        let none = ptr::null_mut();
        sys::WebPIDecGetRGB(decoder.0.as_ptr(), &raw mut rows, none, none, none);
    }
    drop(decoder);
    Some(Decoded { data: pixels, rows: usize::try_from(rows).unwrap_or(0) })
}

/// Encodes with loss, method 4. `data` has `width * height` pixels of RGB, or of RGBA; `None` if it has not, if a side
/// is longer than 16383, or if there is no memory.
pub(super) fn encode(
    data: &[u8],
    (width, height): (u32, u32),
    with_alpha: bool,
    quality: u8,
) -> Option<Vec<u8>> {
    let row = usize::try_from(width).ok()?.checked_mul(if with_alpha { 4 } else { 3 })?;
    if row == 0 || row.checked_mul(usize::try_from(height).ok()?)? != data.len() {
        return None;
    }
    let mut config =
        sys::WebPConfig::new_with_preset(sys::WebPPreset::WEBP_PRESET_DEFAULT, f32::from(quality)).ok()?;
    config.method = 4;
    let mut picture = Picture(sys::WebPPicture::new().ok()?);
    picture.0.width = c_int::try_from(width).ok()?;
    picture.0.height = c_int::try_from(height).ok()?;
    let stride = c_int::try_from(row).ok()?;
    // SAFETY: the picture was initialized; `data` has as many rows of this stride as the picture is told (checked
    // above), and they are copied.
    let imported = unsafe {
        if with_alpha {
            sys::WebPPictureImportRGBA(&raw mut picture.0, data.as_ptr(), stride)
        } else {
            sys::WebPPictureImportRGB(&raw mut picture.0, data.as_ptr(), stride)
        }
    };
    let mut writer = Writer::new();
    picture.0.writer = Some(sys::WebPMemoryWrite);
    picture.0.custom_ptr = (&raw mut *writer.0).cast();
    // SAFETY: configuration and picture were initialized; the writer is what `WebPMemoryWrite` expects behind
    // `custom_ptr`, and outlives the call.
    let done = imported != 0 && unsafe { sys::WebPEncode(&raw const config, &raw mut picture.0) } != 0;
    done.then(|| writer.to_vec())
}

struct Decoder(NonNull<sys::WebPIDecoder>);

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: it lives, and this is its end; memory that is not its own it leaves alone.
        unsafe { sys::WebPIDelete(self.0.as_ptr()) };
    }
}

struct Picture(sys::WebPPicture);

impl Drop for Picture {
    fn drop(&mut self) {
        // SAFETY: it was initialized; what it has allocated is freed once.
        unsafe { sys::WebPPictureFree(&raw mut self.0) };
    }
}

/// Memory that grows as the encoder writes.
struct Writer(Box<sys::WebPMemoryWriter>);

impl Writer {
    fn new() -> Self {
        let mut writer =
            Box::new(sys::WebPMemoryWriter { mem: ptr::null_mut(), size: 0, max_size: 0, pad: [0] });
        // SAFETY: it is written only.
        unsafe { sys::WebPMemoryWriterInit(&raw mut *writer) };
        Self(writer)
    }

    fn to_vec(&self) -> Vec<u8> {
        if self.0.mem.is_null() {
            return Vec::new();
        }
        // SAFETY: the library wrote `size` bytes there, and nobody writes any more.
        unsafe { slice::from_raw_parts(self.0.mem, self.0.size) }.to_vec()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // SAFETY: it was initialized; what it has allocated is freed once.
        unsafe { sys::WebPMemoryWriterClear(&raw mut *self.0) };
    }
}

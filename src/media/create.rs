//! Thumbnails for programs that use this crate as a library: bytes in, bytes out, no store and no service.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::base::thumbnail::{NamedSize, SIDE_MAX, ThumbnailSpec};
use crate::imaging::{self, Fault, Limits, Made, Reason};

/// How long one picture may take, about.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Makes thumbnails of `image`, the bytes of a whole JPEG, PNG, WebP, GIF, BMP or TIFF file, which need not be trusted:
/// decodes it once and makes every size of it, upright, in sRGB, never larger than it is, without metadata.
///
/// A size is a pair `(width, height)`, a box that the picture is to fit inside, or a whole [`ThumbnailSpec`]. The
/// thumbnails come in the order of `sizes`. Works on this thread, within 30 seconds and 512 MiB, and blocks it.
///
/// ```
/// # let photo = cifra::imaging::encode(
/// #     &cifra::imaging::Pixels { width: 1200, height: 900, layout: cifra::imaging::Layout::Rgb, data: vec![77; 3_240_000] },
/// #     cifra::imaging::Encoding::Jpeg { quality: 90 },
/// # )?;
/// use cifra::media::create_thumbnails;
///
/// let made = create_thumbnails(&photo, &[("small", (150, 150)), ("medium", (300, 300)), ("large", (800, 800))])?;
/// assert_eq!((made.picture.width, made.picture.height), (1200, 900));
/// let small = &made.thumbnails[0];
/// assert_eq!((small.name.as_str(), small.width, small.height), ("small", 150, 113));
/// assert_eq!(small.content_type, "image/jpeg");
/// assert!(small.bytes.len() < 5_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`CreateError::Size`] if a size has a name or a spec that is none; else why the picture has no thumbnails.
pub fn create_thumbnails(
    image: &[u8],
    sizes: &[(&str, impl Into<ThumbnailSpec> + Copy)],
) -> Result<Made, CreateError> {
    let sizes: Vec<NamedSize> =
        sizes.iter().map(|(name, spec)| named(name, (*spec).into())).collect::<Result<_, _>>()?;
    let deadline = Instant::now() + TIMEOUT;
    // A decoder that panics leaves nothing behind but its own memory.
    let made = catch_unwind(AssertUnwindSafe(|| imaging::make(image, &sizes, &Limits::default(), deadline)));
    let crashed = |_| Err(Fault::new(Reason::Crashed, "the picture breaks its decoder"));
    made.unwrap_or_else(crashed).map_err(CreateError::Picture)
}

/// Why there are no thumbnails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateError {
    /// What is asked for is no size, whatever the picture: which, and why.
    Size(String),
    /// The picture is the trouble.
    Picture(Fault),
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(detail) => f.write_str(detail),
            Self::Picture(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for CreateError {}

fn named(name: &str, spec: ThumbnailSpec) -> Result<NamedSize, CreateError> {
    let side = 1..=SIDE_MAX;
    if !side.contains(&spec.width) || !side.contains(&spec.height) {
        let (width, height) = (spec.width, spec.height);
        let detail = format!("size `{name}` is {width} by {height} pixels; sides have 1 to {SIDE_MAX}");
        return Err(CreateError::Size(detail));
    }
    if !(1..=100).contains(&spec.quality) {
        let detail = format!("size `{name}` has quality {}; there are 1 to 100", spec.quality);
        return Err(CreateError::Size(detail));
    }
    let allowed = "1 to 32 lower-case letters, digits, `-` and `_`, a letter first";
    let name = name
        .parse()
        .map_err(|()| CreateError::Size(format!("`{name}` is no name of a size; take {allowed}")))?;
    Ok(NamedSize { name, spec })
}

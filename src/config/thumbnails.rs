//! `thumbnails`: which there are, and how much making them may take. Called by `Config::read`.

use std::path::Path;
use std::time::Duration;

use super::reader::Reader;
use super::size::ByteSize;
use super::value::{Choice, Refusal, Value};
use crate::base::thumbnail::{Color, Fit, NamedSize, OutputFormat, SIDE_MAX, SizeName, ThumbnailSpec};

/// Each costs time and room for every picture.
const SIZES_MAX: usize = 16;

/// Section `thumbnails`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbnails {
    /// The sizes, small ones first; none: there are no thumbnails.
    pub sizes: Vec<NamedSize>,
    /// They are made when a picture becomes a file, rather than when somebody asks for one.
    pub eager: bool,
    /// A request for one that is not there yet waits so long.
    pub wait: Duration,
    /// Making all sizes of one picture is given up after this.
    pub timeout: Duration,
    /// A picture of more pixels is left alone.
    pub max_pixels: u64,
    /// What all pictures in the works may take together; one that would take more is left alone.
    pub memory: ByteSize,
    /// Pictures in the works at once; `None`: as many as there are cores.
    pub threads: Option<u32>,
    /// Pictures that wait for their turn in this process.
    pub queue_len_max: u32,
    /// Thumbnails that were asked for lately, in memory.
    pub hot: ByteSize,
}

impl Thumbnails {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        let read = Self {
            eager: from.take("eager", "true", "made when the file is finalized; false: when first asked for"),
            wait: from.take(
                "wait",
                "10s",
                "who asks for one that is not there yet waits so long, then gets a 503",
            ),
            timeout: from.take("timeout", "30s", "for all sizes of one picture"),
            max_pixels: from.take(
                "max_pixels",
                "268402689",
                "pictures of more are left alone (16383 x 16383)",
            ),
            memory: from.take(
                "memory",
                "512MiB",
                "of all pictures in the works; one that needs more is left alone",
            ),
            threads: from.optional("threads", "pictures in the works at once; null = as many as cores"),
            queue_len_max: from.take("queue_len_max", "1000", "pictures that wait for their turn"),
            hot: from.take("hot", "32MiB", "thumbnails kept in memory for who asks next"),
            sizes: from.named(
                "sizes",
                "NAME: [width, height], or NAME: { width, height, fit, … }",
                DEFAULTS,
                size,
            ),
        };
        from.check(
            &["thumbnails.threads"],
            read.threads.is_none_or(|threads| (1..=1024).contains(&threads)),
            "null, or a number from 1 to 1024",
        );
        from.check(
            &["thumbnails.queue_len_max"],
            (1..=1_000_000).contains(&read.queue_len_max),
            "a number from 1 to 1000000",
        );
        from.check(
            &["thumbnails.memory"],
            read.memory.bytes() >= 32 << 20,
            "32MiB at least: less is not enough for a photo of 12 megapixels",
        );
        from.check(&["thumbnails.timeout"], !read.timeout.is_zero(), "more than nothing");
        let few = read.sizes.len() <= SIZES_MAX;
        from.check_section(
            "thumbnails.sizes",
            few,
            "more than 16 sizes",
            "16 at most: each costs time for every picture",
        );
        Self { sizes: ordered(read.sizes), ..read }
    }
}

/// Small ones first, as people list them.
fn ordered(mut sizes: Vec<NamedSize>) -> Vec<NamedSize> {
    sizes.sort_by_key(|size| (u64::from(size.spec.width) * u64::from(size.spec.height), size.name.clone()));
    sizes
}

/// What there is unless somebody names sizes of their own.
const DEFAULTS: &[(&str, &str)] =
    &[("small", "[150, 150]"), ("medium", "[300, 300]"), ("large", "[800, 800]")];

/// One size, written as a list of two numbers or as a map.
fn size(from: &mut Reader<'_>, name: SizeName, default: &'static str) -> NamedSize {
    let key = name.as_str().to_owned();
    let spec = if from.is_section(&key) {
        let path = from.path(&key);
        let spec = from.section(&key, map);
        let whole = from.is_written(&format!("{path}.width")) && from.is_written(&format!("{path}.height"));
        from.check_section(&path, whole, "a size that lacks a side", "width and height, in pixels");
        spec
    } else {
        let Side2([width, height]) = from.take(
            &key,
            default,
            "[width, height] in pixels, or a map: width, height, fit, format, quality, background",
        );
        ThumbnailSpec::inside(width, height)
    };
    NamedSize { name, spec }
}

fn map(from: &mut Reader<'_>) -> ThumbnailSpec {
    let mut side = |name: &str| from.optional(name, "of the box, in pixels").map(|Side(pixels)| pixels);
    let (width, height) = (side("width"), side("height"));
    let quality: u32 = from.take("quality", "80", "of JPEG and WebP, 1 to 100");
    from.check(&[&from.path("quality")], (1..=100).contains(&quality), "a number from 1 to 100");
    ThumbnailSpec {
        width: width.unwrap_or(1),
        height: height.unwrap_or(1),
        fit: from.take("fit", "inside", "all of the picture; a full box, cut; all of it on background"),
        format: from.take("format", "auto", "auto = jpeg, or webp for what is transparent"),
        quality: u8::try_from(quality).unwrap_or(100),
        background: from.take("background", "#ffffff", "where the result cannot be transparent"),
    }
}

/// A side of a box, in pixels.
struct Side(u32);

impl Value for Side {
    fn expected() -> String {
        format!("a number of pixels from 1 to {SIDE_MAX}")
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        match text.parse() {
            Ok(pixels) if (1..=SIDE_MAX).contains(&pixels) => Ok(Self(pixels)),
            _ => Err(Refusal::Malformed),
        }
    }

    fn render(&self) -> String {
        self.0.to_string()
    }
}

/// Width and height of a box.
struct Side2([u32; 2]);

impl Value for Side2 {
    const IS_LIST: bool = true;

    fn expected() -> String {
        format!("[width, height] in pixels, each from 1 to {SIDE_MAX}, or a map with width, height, fit, …")
    }

    fn parse(text: &str, base: &Path) -> Result<Self, Refusal> {
        match Vec::<Side>::parse(text, base)?.as_slice() {
            [Side(width), Side(height)] => Ok(Self([*width, *height])),
            _ => Err(Refusal::Malformed),
        }
    }

    fn render(&self) -> String {
        let [width, height] = self.0;
        format!("[{width}, {height}]")
    }
}

impl Value for SizeName {
    fn expected() -> String {
        "a size's name: 1 to 32 lower-case letters, digits, - and _, beginning with a letter".to_owned()
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        text.parse().map_err(|()| Refusal::Malformed)
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl Value for Color {
    fn expected() -> String {
        "a color such as \"#ffffff\", in quotes".to_owned()
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        text.parse().map_err(|()| Refusal::Malformed)
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl Choice for Fit {
    const ALL: &'static [(&'static str, Self)] =
        &[("inside", Self::Inside), ("cover", Self::Cover), ("contain", Self::Contain)];
}

impl Choice for OutputFormat {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("jpeg", Self::Jpeg), ("png", Self::Png), ("webp", Self::WebP)];
}

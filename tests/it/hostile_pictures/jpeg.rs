//! JPEG, written by hand (ITU-T T.81): blocks of one color each, in any process, sampling and number of scans.

use cifra::imaging::Reason;

use super::case::{Case, Expected, PAYLOAD, made, refused};

/// A picture of flat blocks.
#[derive(Clone)]
pub(super) struct Jpeg {
    /// 0xc0 baseline, 0xc1 extended, 0xc2 progressive, 0xc3 lossless, 0xc9 arithmetic (table B.1).
    pub(super) process: u8,
    pub(super) bits: u8,
    pub(super) width: u16,
    pub(super) height: u16,
    /// Sampling factors of each component.
    pub(super) components: Vec<(u8, u8)>,
    /// Segments before everything else.
    pub(super) segments: Vec<Vec<u8>>,
}

pub(super) const BASELINE: u8 = 0xc0;
pub(super) const PROGRESSIVE: u8 = 0xc2;
const START: [u8; 2] = [0xff, 0xd8];
const END: [u8; 2] = [0xff, 0xd9];

impl Jpeg {
    /// Three components, the colors of half width and height.
    pub(super) fn new(width: u16, height: u16) -> Self {
        let components = vec![(2, 2), (1, 1), (1, 1)];
        Self { process: BASELINE, bits: 8, width, height, components, segments: Vec::new() }
    }

    pub(super) fn with(width: u16, height: u16, segments: Vec<Vec<u8>>) -> Self {
        Self { segments, ..Self::new(width, height) }
    }

    fn of(process: u8, width: u16, height: u16) -> Self {
        Self { process, ..Self::new(width, height) }
    }

    fn gray(process: u8, width: u16, height: u16) -> Self {
        Self { process, components: vec![(1, 1)], ..Self::new(width, height) }
    }

    pub(super) fn file(&self) -> Vec<u8> {
        let ac = (0..self.components.len()).map(|component| self.ac_scan(component, 1, 63, 0, 0));
        let ac: Vec<u8> = if self.process == PROGRESSIVE { ac.flatten().collect() } else { Vec::new() };
        [self.headers(), self.first_scan(0), ac, END.to_vec()].concat()
    }

    fn headers(&self) -> Vec<u8> {
        // One quantization table of ones, tables of codes of four bits each.
        let quantization = segment(0xdb, &[&[0_u8][..], &[1; 64]].concat());
        let dc: Vec<u8> = (0..12).collect();
        let ac: Vec<u8> = (0..15).map(|run| run << 4).collect();
        [
            START.to_vec(),
            self.segments.concat(),
            quantization,
            self.frame(),
            table(0x00, &dc),
            table(0x10, &ac),
        ]
        .concat()
    }

    fn frame(&self) -> Vec<u8> {
        let mut data = vec![self.bits];
        data.extend(self.height.to_be_bytes());
        data.extend(self.width.to_be_bytes());
        data.push(u8::try_from(self.components.len()).unwrap());
        for (id, (h, v)) in (1..).zip(&self.components) {
            data.extend([id, h << 4 | v, 0]);
        }
        segment(self.process, &data)
    }

    /// All components, each block's color; `low` is the bit that is left out (G.1.2.1).
    fn first_scan(&self, low: u8) -> Vec<u8> {
        let count = u8::try_from(self.components.len()).unwrap();
        let mut data = vec![count];
        data.extend((1..=count).flat_map(|id| [id, 0]));
        data.extend(if self.process == PROGRESSIVE { [0, 0, low] } else { [0, 63, 0] });
        let (widest, highest) = self.largest();
        let (across, down) = if count == 1 {
            self.blocks(0)
        } else {
            (u32::from(self.width).div_ceil(8 * widest), u32::from(self.height).div_ceil(8 * highest))
        };
        let mut bits = Bits::default();
        let mut last = vec![0; self.components.len()];
        for y in 0..down {
            for x in 0..across {
                for (component, (h, v)) in self.components.iter().enumerate() {
                    let blocks = if count == 1 { 1 } else { h * v };
                    let color = i32::try_from((x * 37 + y * 59) % 200).unwrap() * 8 - 800;
                    for _ in 0..blocks {
                        bits.dc(color - last[component]);
                        last[component] = color;
                        if self.process != PROGRESSIVE {
                            bits.put(0, 4); // the block ends
                        }
                    }
                }
            }
        }
        [segment(0xda, &data), bits.end()].concat()
    }

    /// One component's coefficients from `first` to `last`, all of them zero (G.1.2.2, G.1.2.3).
    fn ac_scan(&self, component: usize, first: u8, last: u8, high: u8, low: u8) -> Vec<u8> {
        let id = u8::try_from(component + 1).unwrap();
        let (across, down) = self.blocks(component);
        let mut bits = Bits::default();
        let mut left = across * down;
        while left > 0 {
            let run = left.ilog2().min(14);
            let some = left.min((1 << (run + 1)) - 1);
            bits.put(run, 4);
            bits.put(some - (1 << run), run);
            left -= some;
        }
        [segment(0xda, &[1, id, 0, first, last, high << 4 | low]), bits.end()].concat()
    }

    fn largest(&self) -> (u32, u32) {
        let widest = self.components.iter().map(|(h, _)| *h).max().unwrap();
        let highest = self.components.iter().map(|(_, v)| *v).max().unwrap();
        (u32::from(widest), u32::from(highest))
    }

    /// Of one component alone (A.2.2).
    fn blocks(&self, component: usize) -> (u32, u32) {
        let ((h, v), (widest, highest)) = (self.components[component], self.largest());
        let across = (u32::from(self.width) * u32::from(h)).div_ceil(8 * widest);
        let down = (u32::from(self.height) * u32::from(v)).div_ceil(8 * highest);
        (across, down)
    }

    /// As many scans as are asked for: every coefficient bit by bit, each change allowed.
    fn scans(&self, count: usize) -> Vec<u8> {
        let bits = |coefficient: u8| (0..13_u8).rev().map(move |low| (coefficient, low));
        let components = 0..self.components.len();
        let all = components.flat_map(|component| {
            (1..=63).flat_map(bits).map(move |(coefficient, low)| {
                let high = if low == 12 { 0 } else { low + 1 };
                (component, coefficient, high, low)
            })
        });
        let scans = all.take(count - 1).flat_map(|(component, coefficient, high, low)| {
            self.ac_scan(component, coefficient, coefficient, high, low)
        });
        [self.headers(), self.first_scan(0), scans.collect(), END.to_vec()].concat()
    }
}

pub(super) fn segment(marker: u8, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len() + 2).unwrap().to_be_bytes();
    [&[0xff, marker][..], &len, data].concat()
}

/// A Huffman table whose codes have four bits each.
fn table(class_and_id: u8, symbols: &[u8]) -> Vec<u8> {
    let mut counts = [0; 16];
    counts[3] = u8::try_from(symbols.len()).unwrap();
    segment(0xc4, &[&[class_and_id][..], &counts, symbols].concat())
}

/// Bits, the highest first, with the zero behind each 0xff (F.1.2.3).
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    held: u8,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u32, len: u32) {
        for at in (0..len).rev() {
            self.held = self.held << 1 | u8::try_from(value >> at & 1).unwrap();
            self.count += 1;
            if self.count == 8 {
                self.bytes.push(self.held);
                if self.held == 0xff {
                    self.bytes.push(0);
                }
                (self.held, self.count) = (0, 0);
            }
        }
    }

    /// A difference of colors: how many bits it has, and they (F.1.2.1).
    fn dc(&mut self, difference: i32) {
        let len = 32 - difference.unsigned_abs().leading_zeros();
        self.put(len, 4);
        let value = if difference < 0 { difference - 1 } else { difference };
        self.put(value.cast_unsigned(), len);
    }

    fn end(mut self) -> Vec<u8> {
        while self.count > 0 {
            self.put(1, 1);
        }
        self.bytes
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = bombs();
    cases.extend(kinds());
    cases.extend(structure());
    cases
}

fn bombs() -> Vec<Case> {
    let claims = |process, side| {
        let small = Jpeg::of(process, 64, 48).file();
        let mut huge = small.clone();
        let frame = small.windows(2).position(|two| two == [0xff, process]).unwrap();
        huge[frame + 5..frame + 9].copy_from_slice(&[side, side].map(u16::to_be_bytes).concat());
        huge
    };
    let progressive = Jpeg::of(PROGRESSIVE, 640, 480);
    let large = Jpeg::gray(PROGRESSIVE, 4000, 4000);
    vec![
        Case::new("64x48 that claims 65500x65500", claims(BASELINE, 65_500), refused(Reason::TooLarge)),
        Case::new("64x48 that claims 65535x65535", claims(BASELINE, 65_535), refused(Reason::TooLarge)),
        Case::new("64x48 that claims 16000x16000", claims(BASELINE, 16_000), Expected::Broken),
        Case::new("the same, progressive", claims(PROGRESSIVE, 16_000), refused(Reason::TooLarge)),
        Case::new("ten scans", progressive.scans(10), made(640, 480)),
        Case::new("a hundred scans", progressive.scans(100), made(640, 480)),
        Case::new("two thousand scans", progressive.scans(2000), Expected::Broken),
        Case::new("six hundred scans of 16 megapixels", large.scans(600), Expected::Broken),
        Case::new("progressive, 12 megapixels", Jpeg::of(PROGRESSIVE, 4000, 3000).file(), made(4000, 3000)),
        Case::new("the last scan a thousand times", repeated(&progressive, 1000), Expected::Broken),
        Case::new(
            "ten thousand segments",
            Jpeg::with(64, 48, vec![segment(0xe5, &[0; 16]); 10_000]).file(),
            made(64, 48),
        ),
        Case::new(
            "a thousand large segments",
            Jpeg::with(64, 48, vec![segment(0xe1, &[b'E'; 65_000]); 200]).file(),
            made(64, 48),
        ),
        Case::new("a hundred thousand fill bytes", fill_bytes(), made(64, 48)),
    ]
}

fn fill_bytes() -> Vec<u8> {
    let file = Jpeg::new(64, 48).file();
    [&file[..2], &vec![0xff; 100_000], &file[2..]].concat()
}

fn repeated(jpeg: &Jpeg, times: usize) -> Vec<u8> {
    let scan = jpeg.ac_scan(0, 1, 63, 0, 0);
    [jpeg.headers(), jpeg.first_scan(0), scan.repeat(times), END.to_vec()].concat()
}

fn kinds() -> Vec<Case> {
    let mut cases = Vec::new();
    let samplings: [&[(u8, u8)]; 9] = [
        &[(1, 1)],
        &[(2, 2)],
        &[(1, 1); 3],
        &[(2, 1), (1, 1), (1, 1)],
        &[(1, 2), (1, 1), (1, 1)],
        &[(4, 1), (1, 1), (1, 1)],
        &[(1, 4), (1, 1), (1, 1)],
        &[(1, 1), (2, 2), (1, 1)],
        &[(1, 1); 4],
    ];
    for components in samplings {
        for process in [BASELINE, 0xc1, PROGRESSIVE] {
            for (width, height) in [(1, 1), (61, 43)] {
                let jpeg = Jpeg { components: components.to_vec(), ..Jpeg::of(process, width, height) };
                let name = format!("{width}x{height}, {process:x}, sampled {components:?}");
                cases.push(Case::new(name, jpeg.file(), made(width.into(), height.into())));
            }
        }
    }
    for components in [vec![(3, 1), (1, 1), (1, 1)], vec![(4, 4), (3, 3), (1, 1)], vec![(4, 4); 3]] {
        let name = format!("sampled {components:?}");
        cases.push(Case::new(name, Jpeg { components, ..Jpeg::new(61, 43) }.file(), Expected::Anything));
    }
    for components in [vec![(1, 1); 2], vec![(1, 1); 5], vec![(0, 1); 3], vec![(5, 1), (1, 1), (1, 1)]] {
        let name = format!("sampled {components:?}");
        let written = Jpeg::new(61, 43).file();
        let frame = Jpeg { components, ..Jpeg::new(61, 43) }.frame();
        let at = written.windows(2).position(|two| two == [0xff, BASELINE]).unwrap();
        let file = [&written[..at], &frame, &written[at + 19..]].concat();
        cases.push(Case::new(name, file, refused(Reason::Corrupt)));
    }
    for (process, bits, what) in [
        (0xc3, 8, "lossless"),
        (0xc1, 12, "12 bits"),
        (0xc5, 8, "hierarchical"),
        (0xcb, 8, "lossless arithmetic"),
    ] {
        let jpeg = Jpeg { bits, ..Jpeg::of(process, 61, 43) };
        cases.push(Case::new(what, jpeg.file(), refused(Reason::UnsupportedFormat)));
    }
    for (width, height) in [(1, 30_000), (30_000, 1), (2, 65_500), (65_500, 2)] {
        let name = format!("{width}x{height}");
        cases.push(Case::new(name, Jpeg::new(width, height).file(), made(width.into(), height.into())));
    }
    for (width, height) in [(0, 0), (0, 8), (8, 0)] {
        let name = format!("{width}x{height}");
        cases.push(Case::new(name, Jpeg::new(width, height).file(), refused(Reason::Corrupt)));
    }
    for process in [0xc9, 0xca] {
        let name = format!("arithmetic coding ({process:x}) of noise");
        cases.push(Case::new(name, Jpeg::of(process, 61, 43).file(), Expected::Anything));
    }
    cases
}

/// Segments that are missing, broken or in the wrong place.
fn structure() -> Vec<Case> {
    let jpeg = Jpeg::new(64, 48);
    let file = jpeg.file();
    let without = |marker: u8| {
        let mut left = file.clone();
        while let Some(at) = left.windows(2).position(|two| two == [0xff, marker]) {
            let len = usize::from(u16::from_be_bytes([left[at + 2], left[at + 3]]));
            left.drain(at..at + 2 + len);
        }
        left
    };
    let replaced = |marker: u8, data: &[u8]| {
        let at = file.windows(2).position(|two| two == [0xff, marker]).unwrap();
        let len = usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
        [&file[..at], &segment(marker, data), &file[at + 2 + len..]].concat()
    };
    let scan = file.len() - jpeg.first_scan(0).len() - 2 + 14;
    let noise: Vec<u8> = (0..40_u8).flat_map(|i| [0xff, 0xd0 + i % 8, i]).collect();
    let with_restarts = Jpeg::with(64, 48, vec![segment(0xdd, &[0, 1])]).file();
    let all_ones = table(0x10, &[0; 16]);
    let overfull = segment(0xc4, &[&[0][..], &[255; 16], &[0; 255]].concat());
    let tail = |bytes: &[u8]| [&file[..], bytes].concat();
    vec![
        Case::new("no quantization table", without(0xdb), Expected::Anything),
        Case::new("no Huffman tables", without(0xc4), Expected::Anything),
        Case::new("no frame", without(BASELINE), refused(Reason::Corrupt)),
        Case::new("no scan", without(0xda), Expected::Anything),
        Case::new("an empty quantization table", replaced(0xdb, &[]), Expected::Anything),
        Case::new("a quantization table of zeros", replaced(0xdb, &[0; 65]), Expected::Anything),
        Case::new("a quantization table numbered 15", replaced(0xdb, &[15; 65]), Expected::Anything),
        Case::new("an empty Huffman table", replaced(0xc4, &[]), Expected::Anything),
        Case::new(
            "a Huffman table of ones",
            [&file[..2], &all_ones, &file[2..]].concat(),
            Expected::Anything,
        ),
        Case::new(
            "an overfull Huffman table",
            [&file[..2], &overfull, &file[2..]].concat(),
            Expected::Anything,
        ),
        Case::new("a frame of one byte", replaced(BASELINE, &[8]), refused(Reason::Corrupt)),
        Case::new("an empty frame", replaced(BASELINE, &[]), refused(Reason::Corrupt)),
        Case::new(
            "two frames",
            [&file[..2], &Jpeg::new(9, 9).frame(), &file[2..]].concat(),
            Expected::Anything,
        ),
        Case::new(
            "restart markers as noise",
            [&file[..scan], &noise, &file[scan..]].concat(),
            Expected::Anything,
        ),
        Case::new("restarts that never come", with_restarts, Expected::Anything),
        Case::new("two beginnings", [&START[..], &file].concat(), Expected::Anything),
        Case::new("two pictures", [&file[..], &file].concat(), made(64, 48)),
        Case::new("no end", file[..file.len() - 2].to_vec(), Expected::Anything),
        Case::new("only a beginning", START.to_vec(), refused(Reason::NotAnImage)),
        Case::new("a beginning and a marker", vec![0xff, 0xd8, 0xff], refused(Reason::Corrupt)),
        Case::new("a segment without a length", vec![0xff, 0xd8, 0xff, 0xe0, 0, 0], refused(Reason::Corrupt)),
        Case::new("a ZIP archive behind it", tail(&[b"PK\x03\x04", PAYLOAD].concat()), made(64, 48)),
        Case::new(
            "a script as its comment",
            Jpeg::with(64, 48, vec![segment(0xfe, PAYLOAD), segment(0xed, PAYLOAD)]).file(),
            made(64, 48),
        ),
    ]
}

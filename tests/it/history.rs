//! Random histories of one upload: chunks, repeats, replacements, cut bodies, ends, crashes and losses of power in
//! any order. A model knows what must be there; at the end there are the right bytes.
//!
//! The services run in this process on a runtime that is dropped in the middle of their work: that is the crash.

mod life;

use std::sync::Arc;

use cifra::base::digest::Checksum;
use cifra::base::metadata::Metadata;
use cifra::base::{Code, UploadId, crc};
use cifra::config::ChecksumPolicy;
use cifra::upload::{Finalized, NewUpload, OnRepeat};
use futures_util::TryStreamExt;
use proptest::prelude::*;
use uuid::Uuid;

use self::life::{Life, chunk_in, wait_until_closed, who, zero};
use crate::suites::bytes;

const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 5;
const SIZE: usize = 4 * CHUNK + 500;

/// Which bytes a chunk has.
type Variant = u8;

#[derive(Debug, Clone)]
enum Step {
    Send {
        index: usize,
        variant: Variant,
        on_repeat: OnRepeat,
        body: BodyEnd,
    },
    Finalize {
        declared: Declare,
    },
    /// The process dies while a chunk is on its way.
    DieSending {
        index: usize,
        variant: Variant,
        on_repeat: OnRepeat,
        after_micros: u64,
    },
    /// The process dies while the upload is finished.
    DieFinishing {
        after_micros: u64,
    },
    /// The machine goes down; each chunk that was not flushed may be lost.
    LosePower {
        lost: u8,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyEnd {
    Whole,
    Cut,
    TooLong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Declare {
    Nothing,
    Right,
    Wrong,
}

fn step() -> impl Strategy<Value = Step> {
    let chunk =
        || (0..CHUNKS, 0..2_u8, prop_oneof![3 => Just(OnRepeat::Compare), 1 => Just(OnRepeat::Replace)]);
    let body = prop_oneof![4 => Just(BodyEnd::Whole), 1 => Just(BodyEnd::Cut), 1 => Just(BodyEnd::TooLong)];
    let declared = prop_oneof![Just(Declare::Nothing), Just(Declare::Right), Just(Declare::Wrong)];
    prop_oneof![
        8 => (chunk(), body)
            .prop_map(|((index, variant, on_repeat), body)| Step::Send { index, variant, on_repeat, body }),
        1 => declared.prop_map(|declared| Step::Finalize { declared }),
        2 => (chunk(), 0..3_000_u64).prop_map(|((index, variant, on_repeat), after_micros)| {
            Step::DieSending { index, variant, on_repeat, after_micros }
        }),
        1 => (0..5_000_u64).prop_map(|after_micros| Step::DieFinishing { after_micros }),
        1 => any::<u8>().prop_map(|lost| Step::LosePower { lost }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_in_the_right_bytes(
        steps in prop::collection::vec(step(), 1..24),
        sha256 in any::<bool>(),
    ) {
        let mut world = World::new(if sha256 { ChecksumPolicy::Auto } else { ChecksumPolicy::Crc64Nvme });
        for step in &steps {
            world.take(step);
        }
        world.end();
    }
}

/// The bytes of a chunk.
fn content(index: usize, variant: Variant) -> Vec<u8> {
    let len = CHUNK.min(SIZE - index * CHUNK);
    bytes(len, 1 + index as u64 * 10 + u64::from(variant)).to_vec()
}

/// What is accepted of a chunk, as the model knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Accepted {
    variant: Variant,
    /// It has been through a loss of power, so it is on the disk; or it must count as such.
    lasts: bool,
}

struct World {
    folder: tempfile::TempDir,
    policy: ChecksumPolicy,
    boot: Uuid,
    life: Option<Life>,
    id: UploadId,
    accepted: [Option<Accepted>; CHUNKS],
    finished: bool,
}

impl World {
    fn new(policy: ChecksumPolicy) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let boot = Uuid::new_v4();
        let life = Life::begin(folder.path(), policy, boot);
        let new = NewUpload {
            filename: "a".to_owned(),
            total_size: SIZE as u64,
            content_type: None,
            chunk_size: Some(CHUNK as u64),
            checksum: None,
            metadata: Metadata::default(),
        };
        let id = life.runtime.block_on(life.uploads.create(&who(), new, |_| None)).unwrap().upload.id;
        Self { folder, policy, boot, life: Some(life), id, accepted: [None; CHUNKS], finished: false }
    }

    fn life(&self) -> &Life {
        self.life.as_ref().unwrap()
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Send { index, variant, on_repeat, body } => self.send(index, variant, on_repeat, body),
            Step::Finalize { declared } => self.finalize(declared),
            Step::DieSending { index, variant, on_repeat, after_micros } => {
                let life = self.life();
                let (uploads, id) = (Arc::clone(&life.uploads), self.id);
                let sending = async move {
                    let chunk = chunk_in(index, variant, on_repeat, BodyEnd::Whole);
                    uploads.write_chunk(&who(), id, chunk).await.map(drop)
                };
                life.begin_and_leave(sending, after_micros);
                self.restart();
                self.learn(index, variant);
            }
            Step::DieFinishing { after_micros } => {
                let life = self.life();
                let (uploads, id) = (Arc::clone(&life.uploads), self.id);
                let finishing = async move { uploads.finalize(&who(), id, None).await.map(drop) };
                life.begin_and_leave(finishing, after_micros);
                self.restart();
                // Whatever was reached: it can be repeated.
                self.finalize(Declare::Nothing);
            }
            Step::LosePower { lost } => self.lose_power(lost),
        }
        self.check_status();
    }

    fn send(&mut self, index: usize, variant: Variant, on_repeat: OnRepeat, body: BodyEnd) {
        let answer = self.life().send(self.id, index, variant, on_repeat, body);
        let code = answer.as_ref().err().map(cifra::base::Error::code);
        let there = self.accepted[index];
        if self.finished {
            assert_eq!(code, Some(Code::UploadFinalized));
            return;
        }
        if there.is_some() && on_repeat == OnRepeat::Replace {
            self.accepted[index] = None;
        }
        match (body, there.filter(|_| on_repeat == OnRepeat::Compare)) {
            (BodyEnd::TooLong, _) => assert_eq!(code, Some(Code::ChunkSizeMismatch)),
            (BodyEnd::Cut, _) => assert!(code.is_some()),
            (BodyEnd::Whole, Some(there)) if there.variant != variant => {
                assert_eq!(code, Some(Code::ChunkConflict));
            }
            (BodyEnd::Whole, Some(_)) => assert_eq!(code, None),
            (BodyEnd::Whole, None) => {
                let receipt = answer.unwrap();
                assert_eq!(receipt.checksum, Checksum::Crc64Nvme(crc::of(&content(index, variant))));
                self.accepted[index] = Some(Accepted { variant, lasts: false });
                assert_eq!(receipt.received_chunks as usize, self.accepted.iter().flatten().count());
            }
        }
    }

    fn finalize(&mut self, declared: Declare) {
        let whole = self.whole();
        let right = whole.as_deref().map(|whole| Checksum::Crc64Nvme(crc::of(whole)));
        let checksum = match declared {
            Declare::Nothing => None,
            Declare::Right => right,
            Declare::Wrong => Some(Checksum::Crc64Nvme(crc::of(b"something else"))),
        };
        let life = self.life();
        let answer = life.runtime.block_on(life.uploads.finalize(&who(), self.id, checksum));
        let Some(whole) = whole else {
            assert_eq!(answer.unwrap_err().code(), Code::UploadIncomplete);
            return;
        };
        if declared == Declare::Wrong {
            assert_eq!(answer.unwrap_err().code(), Code::ChecksumMismatch);
            return;
        }
        let Finalized::Done(finished) = answer.unwrap() else { panic!("it takes no time") };
        let file = finished.file;
        assert_eq!(Some(Checksum::Crc64Nvme(file.crc64)), right);
        if self.policy == ChecksumPolicy::Auto {
            use sha2::Digest as _;
            assert_eq!(file.sha256.unwrap()[..], sha2::Sha256::digest(&whole)[..]);
        }
        let read = async {
            let body = life.files.read(&who(), &file, None).await.unwrap();
            body.map_ok(|frame| frame.to_vec()).try_concat().await.unwrap()
        };
        assert_eq!(life.runtime.block_on(read), whole);
        self.finished = true;
    }

    /// The file, if every chunk is there.
    fn whole(&self) -> Option<Vec<u8>> {
        let chunks: Option<Vec<_>> = self.accepted.iter().copied().collect();
        let chunks = chunks?.into_iter().enumerate();
        Some(chunks.flat_map(|(index, chunk)| content(index, chunk.variant)).collect())
    }

    fn restart(&mut self) {
        drop(self.life.take());
        wait_until_closed(self.folder.path());
        self.life = Some(Life::begin(self.folder.path(), self.policy, self.boot));
    }

    fn lose_power(&mut self, lost: u8) {
        drop(self.life.take());
        wait_until_closed(self.folder.path());
        self.boot = Uuid::new_v4();
        for index in (0..CHUNKS).filter(|_| !self.finished) {
            let Some(there) = &mut self.accepted[index] else { continue };
            if !there.lasts && lost & 1 << index != 0 {
                zero(self.folder.path(), index);
                self.accepted[index] = None;
            } else {
                there.lasts = true;
            }
        }
        self.life = Some(Life::begin(self.folder.path(), self.policy, self.boot));
    }

    /// What became of a chunk whose sender was not answered.
    fn learn(&mut self, index: usize, variant: Variant) {
        if self.finished {
            return;
        }
        let before = self.accepted[index];
        if self.missing().contains(&index) {
            self.accepted[index] = None;
            return;
        }
        let probe = self.life().send(self.id, index, variant, OnRepeat::Compare, BodyEnd::Whole);
        match probe {
            // The old one, or the same bytes anew: what the disk holds of them cannot be told, so it stays.
            Ok(_) if before.is_some_and(|before| before.variant == variant) => {
                self.accepted[index] = Some(Accepted { variant, lasts: true });
            }
            Ok(_) => self.accepted[index] = Some(Accepted { variant, lasts: false }),
            Err(error) => {
                assert_eq!(error.code(), Code::ChunkConflict);
                assert!(before.is_some(), "chunk {index} has bytes that nobody sent");
            }
        }
    }

    fn missing(&self) -> Vec<usize> {
        let life = self.life();
        let status = life.runtime.block_on(life.uploads.status(&who(), self.id)).unwrap();
        status.missing.iter().flat_map(|&(first, last)| first as usize..=last as usize).collect()
    }

    fn check_status(&self) {
        if !self.finished {
            let expected: Vec<_> = (0..CHUNKS).filter(|&index| self.accepted[index].is_none()).collect();
            assert_eq!(self.missing(), expected);
        }
    }

    /// Whatever has happened: the rest can be sent, and the file is right.
    fn end(mut self) {
        for index in 0..CHUNKS {
            if self.accepted[index].is_none() {
                self.send(index, 0, OnRepeat::Compare, BodyEnd::Whole);
            }
        }
        self.finalize(Declare::Right);
        assert!(self.finished);
        self.restart();
        self.finalize(Declare::Nothing);
        let staging = self.folder.path().join("store/staging");
        assert_eq!(std::fs::read_dir(staging).unwrap().count(), 0);
    }
}

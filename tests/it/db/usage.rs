//! What tenants keep is counted in the transactions that change it: it is always what the rows add up to, and no
//! number of writers at once passes a limit.

use cifra::base::{Result, TenantId, UploadId};
use cifra::db::files::{self, File};
use cifra::db::uploads::{self, EndState, Upload};
use cifra::db::usage::{self, Admission, Limits, Usage};
use cifra::db::{Db, Urgency};
use proptest::prelude::*;

use super::files::{a_file, remember};
use super::{an_upload, at, claimed, execute, read, tenant, write};
use crate::harness::databases::{TestDb, both_engines};

async fn open(db: &Db, upload: Upload, limits: Limits) -> Admission {
    write(db, move |c| {
        let upload = upload.clone();
        Box::pin(async move { uploads::insert(c, &upload, &limits).await })
    })
    .await
}

async fn keep(db: &Db, file: File, limits: Limits) -> Admission {
    write(db, move |c| {
        let file = file.clone();
        Box::pin(async move { files::insert(c, &file, &limits).await })
    })
    .await
}

/// Makes the claimed upload a file, in one transaction, as `session` does.
async fn complete(db: &Db, upload: &Upload, fence: i64) -> bool {
    let (id, file) = (upload.id, file_of(upload));
    write(db, move |c| {
        let file = file.clone();
        Box::pin(async move {
            let mine = uploads::complete(c, id, fence, at(20)).await?;
            if mine {
                assert_eq!(files::insert(c, &file, &Limits::NONE).await?, Admission::Granted);
            }
            Ok(mine)
        })
    })
    .await
}

fn file_of(upload: &Upload) -> File {
    File {
        id: upload.id.file(),
        tenant: upload.tenant.clone(),
        key: upload.key.clone(),
        size: upload.total_size,
        ..a_file()
    }
}

async fn end(db: &Db, id: UploadId, to: EndState) {
    // Everything has expired by then; claims have not run out.
    write(db, move |c| Box::pin(async move { uploads::end(c, None, id, to, at(3_700)).await })).await;
}

async fn delete(db: &Db, upload: &Upload) {
    let (tenant, id) = (upload.tenant.clone(), upload.id);
    write(db, move |c| {
        let tenant = tenant.clone();
        Box::pin(async move {
            files::delete(c, &tenant, id.file()).await?;
            uploads::delete(c, &tenant, id).await
        })
    })
    .await;
}

async fn usage_of(db: &Db, tenant: &TenantId) -> Usage {
    let tenant = tenant.clone();
    read(db, move |c| Box::pin(async move { usage::get(c, &tenant).await })).await
}

async fn counted(db: &Db, tenant: &TenantId) -> Usage {
    let tenant = tenant.clone();
    read(db, move |c| Box::pin(async move { usage::count(c, &tenant).await })).await
}

fn of_size(bytes: u64) -> Upload {
    Upload { total_size: bytes, ..an_upload(0) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_of_uploads_begun_at_once_passes_a_limit() {
    for test in both_engines().await {
        remember(&test.db, "default", 1).await;
        for (limits, fit) in
            [(Limits { bytes: 1_000, ..Limits::NONE }, 10), (Limits { open_uploads: 17, ..Limits::NONE }, 17)]
        {
            let who: TenantId = format!("tenant-{fit}").parse().unwrap();
            let begin = |_| {
                let upload = Upload { tenant: who.clone(), ..of_size(100) };
                open(&test.db, upload, limits)
            };
            let all = futures_util::future::join_all((0..60).map(begin)).await;
            let granted = all.iter().filter(|admission| **admission == Admission::Granted).count();
            assert_eq!(granted, fit, "{}: {limits:?}", test.engine);
            let usage = usage_of(&test.db, &who).await;
            assert_eq!((usage.open_uploads, usage.reserved_bytes), (fit as u64, 100 * fit as u64));
            assert_eq!(usage, counted(&test.db, &who).await, "{}", test.engine);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_come_at_once_do_not_pass_the_quota_beside_uploads() {
    for test in both_engines().await {
        remember(&test.db, "default", 1).await;
        let limits = Limits { bytes: 2_000, ..Limits::NONE };
        let all = futures_util::future::join_all((0..40).map(async |n| match n % 2 {
            0 => open(&test.db, of_size(90), limits).await,
            _ => keep(&test.db, File { size: 70, ..a_file() }, limits).await,
        }));
        let refused = all.await.into_iter().filter(|admission| *admission != Admission::Granted).count();
        assert!(refused > 0, "{}: 40 of 90 and 70 bytes do not fit into 2,000", test.engine);
        let usage = usage_of(&test.db, &tenant()).await;
        assert!((1_911..=2_000).contains(&usage.used_bytes()), "{}: {usage:?}", test.engine);
        assert_eq!(usage, counted(&test.db, &tenant()).await, "{}", test.engine);
    }
}

#[tokio::test]
async fn a_refusal_tells_what_is_used_and_changes_nothing() {
    for test in both_engines().await {
        remember(&test.db, "default", 1).await;
        let limits = Limits { bytes: 500, open_uploads: 1 };
        let before = Usage::default();
        assert_eq!(open(&test.db, of_size(501), limits).await, Admission::OverQuota(before));
        assert_eq!(open(&test.db, of_size(500), limits).await, Admission::Granted, "{}", test.engine);
        let full = Usage { stored_bytes: 0, reserved_bytes: 500, open_uploads: 1 };
        assert_eq!(open(&test.db, of_size(0), limits).await, Admission::TooManyUploads(full));
        let more = Limits { open_uploads: 2, ..limits };
        assert_eq!(open(&test.db, of_size(1), more).await, Admission::OverQuota(full), "{}", test.engine);
        assert_eq!(keep(&test.db, File { size: 1, ..a_file() }, limits).await, Admission::OverQuota(full));
        assert_eq!(usage_of(&test.db, &tenant()).await, full);
        assert_eq!(counted(&test.db, &tenant()).await, full, "{}", test.engine);
        let other: TenantId = "other".parse().unwrap();
        let theirs = Upload { tenant: other, ..of_size(500) };
        assert_eq!(open(&test.db, theirs, limits).await, Admission::Granted, "{}", test.engine);
    }
}

#[tokio::test]
async fn numbers_near_the_end_of_what_can_be_counted_are_refused() {
    for test in both_engines().await {
        remember(&test.db, "default", 1).await;
        let most = u64::try_from(i64::MAX).unwrap();
        assert_eq!(open(&test.db, of_size(most), Limits::NONE).await, Admission::Granted, "{}", test.engine);
        let refused = open(&test.db, of_size(1), Limits::NONE).await;
        assert!(matches!(refused, Admission::OverQuota(_)), "{}: {refused:?}", test.engine);
    }
}

#[tokio::test]
async fn a_row_that_is_wrong_is_found_and_healed_and_keeps_nobody_from_deleting() {
    const SPOIL: &str =
        "UPDATE cifra_tenant_usage SET stored_bytes = 3, open_uploads = 9 WHERE $1 IS NOT NULL";
    const LOSE: &str = "DELETE FROM cifra_tenant_usage WHERE $1 IS NOT NULL";
    for test in both_engines().await {
        remember(&test.db, "default", 1).await;
        let wrong = async || read(&test.db, |c| Box::pin(usage::wrong(c))).await;
        let heal =
            async || write(&test.db, |c| Box::pin(async move { usage::recount(c, &tenant()).await })).await;
        let upload = of_size(100);
        let _ = open(&test.db, upload.clone(), Limits::NONE).await;
        let fence = claimed(&test.db, upload.id, 10).await;
        assert!(complete(&test.db, &upload, fence).await);
        let _ = open(&test.db, of_size(7), Limits::NONE).await;
        assert_eq!((wrong().await, heal().await), (vec![], None), "{}", test.engine);

        execute(&test.db, SPOIL, upload.id.as_uuid()).await.unwrap();
        assert_eq!(wrong().await, [tenant()], "{}", test.engine);
        let before = Usage { stored_bytes: 3, reserved_bytes: 7, open_uploads: 9 };
        assert_eq!(heal().await, Some(before), "{}", test.engine);
        assert_eq!(wrong().await, [], "{}", test.engine);

        execute(&test.db, LOSE, upload.id.as_uuid()).await.unwrap();
        assert_eq!(wrong().await, [tenant()], "{}", test.engine);
        delete(&test.db, &upload).await;
        assert_eq!(usage_of(&test.db, &tenant()).await, Usage::default(), "{}", test.engine);
        assert_eq!(heal().await, Some(Usage::default()), "{}", test.engine);
        assert_eq!(usage_of(&test.db, &tenant()).await.reserved_bytes, 7, "{}", test.engine);
    }
}

/// What may happen to one of a few uploads; where it cannot happen, nothing does.
#[derive(Debug, Clone, Copy)]
enum Step {
    Open {
        bytes: u64,
    },
    Keep {
        bytes: u64,
    },
    Claim(usize),
    Release(usize),
    Complete(usize),
    Abort(usize),
    Expire(usize),
    Delete(usize),
    /// A transaction that adds and ends much, and then fails.
    Fail(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let any = || 0..6_usize;
    prop_oneof![
        4 => (0..400_u64).prop_map(|bytes| Step::Open { bytes }),
        2 => (0..400_u64).prop_map(|bytes| Step::Keep { bytes }),
        3 => any().prop_map(Step::Claim),
        1 => any().prop_map(Step::Release),
        3 => any().prop_map(Step::Complete),
        1 => any().prop_map(Step::Abort),
        1 => any().prop_map(Step::Expire),
        2 => any().prop_map(Step::Delete),
        1 => any().prop_map(Step::Fail),
    ]
}

/// Uploads and files of two tenants, by the order in which they came.
#[derive(Default)]
struct History {
    uploads: Vec<Upload>,
    fences: Vec<i64>,
}

const LIMITS: Limits = Limits { open_uploads: 4, bytes: 1_500 };

impl History {
    async fn take(&mut self, db: &Db, step: Step) {
        let whose = if self.uploads.len().is_multiple_of(3) { "other" } else { "default" };
        let new = |bytes| Upload { tenant: whose.parse().unwrap(), ..of_size(bytes) };
        match step {
            Step::Open { bytes } => {
                let upload = new(bytes);
                if open(db, upload.clone(), LIMITS).await == Admission::Granted {
                    self.remember(upload);
                }
            }
            Step::Keep { bytes } => {
                let upload = new(bytes);
                if keep(db, file_of(&upload), LIMITS).await == Admission::Granted {
                    self.remember(upload);
                }
            }
            Step::Claim(n) | Step::Release(n) | Step::Complete(n) => {
                let Some(upload) = self.uploads.get(n).cloned() else { return };
                self.finish(db, n, &upload, step).await;
            }
            Step::Abort(n) | Step::Expire(n) => {
                let to = if matches!(step, Step::Abort(_)) { EndState::Aborted } else { EndState::Expired };
                let Some(upload) = self.uploads.get(n) else { return };
                end(db, upload.id, to).await;
            }
            Step::Delete(n) => {
                let Some(upload) = self.uploads.get(n) else { return };
                delete(db, upload).await;
            }
            Step::Fail(n) => {
                let Some(upload) = self.uploads.get(n).cloned() else { return };
                let added = new(1);
                let failed: Result<()> = db
                    .write(Urgency::Normal, move |c| {
                        let (upload, added) = (upload.clone(), added.clone());
                        Box::pin(async move {
                            files::delete(c, &upload.tenant, upload.id.file()).await?;
                            uploads::end(c, None, upload.id, EndState::Aborted, at(3_700)).await?;
                            let _ = uploads::insert(c, &added, &Limits::NONE).await?;
                            Err(cifra::base::Error::new(cifra::base::Code::Overloaded, "no"))
                        })
                    })
                    .await;
                assert!(failed.is_err());
            }
        }
    }

    async fn finish(&mut self, db: &Db, n: usize, upload: &Upload, step: Step) {
        let (tenant, id, fence) = (upload.tenant.clone(), upload.id, self.fences[n]);
        match step {
            Step::Claim(_) => {
                let claim = write(db, move |c| {
                    let (tenant, node) = (tenant.clone(), uuid::Uuid::from_u128(7));
                    Box::pin(async move {
                        uploads::claim_finish(c, &tenant, id, node, None, at(10), at(9_999)).await
                    })
                });
                if let uploads::FinishClaim::Claimed { fence, .. } = claim.await {
                    self.fences[n] = fence;
                }
            }
            Step::Release(_) => {
                write(db, move |c| {
                    Box::pin(async move {
                        uploads::release_finish(c, id, fence, uploads::Released::Receiving, None, at(11))
                            .await
                    })
                })
                .await;
            }
            _ => drop(complete(db, upload, fence).await),
        }
    }

    fn remember(&mut self, upload: Upload) {
        self.uploads.push(upload);
        self.fences.push(0);
    }
}

async fn play(test: &TestDb, steps: &[Step]) {
    remember(&test.db, "default", 1).await;
    let mut history = History::default();
    for (n, step) in steps.iter().enumerate() {
        history.take(&test.db, *step).await;
        for whose in ["default", "other"] {
            let whose: TenantId = whose.parse().unwrap();
            let usage = usage_of(&test.db, &whose).await;
            assert_eq!(usage, counted(&test.db, &whose).await, "{}: {:?}", test.engine, &steps[..=n]);
            assert!(usage.used_bytes() <= LIMITS.bytes && usage.open_uploads <= LIMITS.open_uploads);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_row_is_what_the_rows_add_up_to(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            for test in both_engines().await {
                play(&test, &steps).await;
            }
        });
    }
}

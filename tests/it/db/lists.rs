//! Lists: order, pages, filters; the same on both engines.

use cifra::base::{Timestamp, UploadId};
use cifra::db::Db;
use cifra::db::uploads::{self, Upload, UploadFilter, UploadState};

use super::{an_upload, at, claimed, insert, inserted, metadata, read, tenant};
use crate::harness::databases::both_engines;

async fn list(
    db: &Db,
    filter: UploadFilter,
    after: Option<(Timestamp, UploadId)>,
    limit: u32,
) -> Vec<UploadId> {
    let uploads = read(db, move |c| {
        Box::pin(async move { uploads::list(c, &tenant(), &filter, after, limit, at(10)).await })
    })
    .await;
    uploads.into_iter().map(|upload| upload.id).collect()
}

#[tokio::test]
async fn pages_follow_each_other_newest_first_without_gap_or_repetition() {
    let mut uploads: Vec<Upload> = (0..25).map(|number| an_upload(number / 4)).collect(); // ties
    for test in both_engines().await {
        for upload in &uploads {
            insert(&test.db, upload).await;
        }
        let foreign = Upload { tenant: "other".parse().unwrap(), ..an_upload(3) };
        insert(&test.db, &foreign).await;

        uploads.sort_by_key(|upload| std::cmp::Reverse((upload.created_at, upload.id)));
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = list(&test.db, UploadFilter::default(), after, 4).await;
            let Some(last) = page.last().copied() else { break };
            let created_at = uploads.iter().find(|upload| upload.id == last).unwrap().created_at;
            after = Some((created_at, last));
            seen.extend(page);
        }
        let expected: Vec<_> = uploads.iter().map(|upload| upload.id).collect();
        assert_eq!(seen, expected, "{}", test.engine);
    }
}

#[tokio::test]
async fn filters_narrow_the_list() {
    for test in both_engines().await {
        let long = "v".repeat(8000); // no index of PostgreSQL takes it whole
        let with =
            |created, pairs: &[(&str, &str)]| Upload { metadata: metadata(pairs), ..an_upload(created) };
        let red = with(0, &[("color", "red"), ("size", "1")]);
        let blue = with(1, &[("color", "blue"), ("size", "1")]);
        let large = with(2, &[("color", "red"), ("text", &long)]);
        for upload in [&red, &blue, &large] {
            insert(&test.db, upload).await;
        }
        let by = |pairs: &[(&str, &str)], state| UploadFilter {
            state,
            metadata: pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        };
        let name = test.engine;
        let all = |filter| list(&test.db, filter, None, 10);
        assert_eq!(all(by(&[("color", "red")], None)).await, [large.id, red.id], "{name}");
        assert_eq!(all(by(&[("color", "red"), ("size", "1")], None)).await, [red.id], "{name}");
        assert_eq!(all(by(&[("text", &long)], None)).await, [large.id], "{name}");
        assert_eq!(all(by(&[("color", "re")], None)).await, [], "{name}");
        assert_eq!(all(by(&[("colo", "rred")], None)).await, [], "{name}: key and value run together");
        assert_eq!(all(by(&[("color", "red' OR '1'='1")], None)).await, [], "{name}");

        claimed(&test.db, red.id, 5).await;
        assert_eq!(all(by(&[], Some(UploadState::Finalizing))).await, [red.id], "{name}");
        assert_eq!(all(by(&[("color", "red")], Some(UploadState::Receiving))).await, [large.id], "{name}");
        let late = Upload { expires_at: at(10), ..an_upload(4) };
        insert(&test.db, &late).await;
        assert_eq!(all(by(&[], Some(UploadState::Expired))).await, [late.id], "{name}: its time is over");
        assert_eq!(all(by(&[], Some(UploadState::Receiving))).await, [large.id, blue.id], "{name}");
        let after = list(&test.db, by(&[("size", "1")], None), Some((at(1), blue.id)), 10).await;
        assert_eq!(after, [red.id], "{name}");
    }
}

#[tokio::test]
async fn a_state_has_one_name_everywhere() {
    for state in UploadState::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
    let test = crate::harness::databases::TestDb::sqlite().await;
    assert_eq!(inserted(&test.db, 0).await.state.to_string(), "receiving");
}

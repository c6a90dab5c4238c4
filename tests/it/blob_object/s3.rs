//! What only S3 can do or suffer, on Garage.

use std::time::{Duration, Instant};

use cifra::blob::object::{ForgottenParts, ObjectStore};
use cifra::blob::{BlobErrorKind, BlobStore, Length, PartStore, Unfinished};
use cifra::telemetry::Tasks;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};

use super::{open, options};
use crate::harness::garage::{self, Garage};
use crate::suites::part_store::Upload;
use crate::suites::{body, bytes, endless_body, key};

async fn unfinished(store: &ObjectStore) -> Vec<Unfinished> {
    store.unfinished().await.unwrap().try_collect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_differ_are_named_and_can_be_sent_again() {
    let store = open(&garage::server().storage());
    let upload = Upload::begin(&store, "differ", 5).await;
    let mut tags = upload.write_all().await;
    let same = store.differing(&upload.key, &upload.parts, &tags).await.unwrap();
    assert_eq!(same, Some(Vec::new()));

    // A late write of a node that was stopped in its middle.
    let other = bytes(upload.part_len, 99);
    store.write(&upload.key, &upload.parts, upload.span(1), body(&other, 9_999)).await.unwrap();
    assert_eq!(upload.complete(&tags).await.unwrap_err().kind(), BlobErrorKind::Incomplete);
    let differing = store.differing(&upload.key, &upload.parts, &tags).await.unwrap().unwrap();
    assert_eq!(differing, [upload.span(1).index]);

    tags[1] = upload.write(1).await;
    upload.complete(&tags).await.unwrap();
    upload.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_the_store_has_dropped_is_gone() {
    let store = open(&garage::server().storage());
    let upload = Upload::begin(&store, "dropped-by-a-rule", 2).await;
    let tags = upload.write_all().await;
    store.abandon(&upload.key, &upload.parts).await.unwrap();
    assert_eq!(upload.complete(&tags).await.unwrap_err().kind(), BlobErrorKind::Gone);
    assert_eq!(upload.try_write(0).await.unwrap_err().kind(), BlobErrorKind::Gone);
    let differing = store.differing(&upload.key, &upload.parts, &tags).await;
    assert_eq!(differing.unwrap_err().kind(), BlobErrorKind::Gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_were_begun_are_listed_until_they_end() {
    let store = open(&garage::server().storage());
    let done = Upload::begin(&store, "done", 2).await;
    let dropped = Upload::begin(&store, "dropped", 2).await;
    let open = Upload::begin(&store, "open", 2).await;
    assert_eq!(unfinished(&store).await.len(), 3);
    done.complete(&done.write_all().await).await.unwrap();
    store.abandon(&dropped.key, &dropped.parts).await.unwrap();
    let [left] = unfinished(&store).await.try_into().unwrap();
    assert_eq!((left.key, left.parts), (open.key.clone(), open.parts.clone()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_is_given_up_leaves_neither_blob_nor_parts() {
    let tasks = Tasks::default();
    let options = cifra::blob::object::ObjectOptions { tasks: tasks.clone(), ..options() };
    let store = ObjectStore::open(&garage::server().storage(), options).unwrap().unwrap();
    let (endless, taken) = endless_body(&bytes(20 << 20, 1));
    let key = key("tenant/given-up/1");
    tokio::select! {
        result = store.stage(&key, endless, Length::AtMost(1 << 30)) => panic!("the body has not ended: {result:?}"),
        heard = taken => heard.unwrap(),
    }
    assert!(tasks.finish(Duration::from_secs(10)).await);
    assert_eq!(unfinished(&store).await, []);
    assert_eq!(store.head(&key).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_says_whether_it_drops_forgotten_parts() {
    let server = garage::server();
    let prefix = server.new_prefix();
    let store = open(&Garage::storage_at(&server.endpoint(), &prefix));
    assert_eq!(store.forgotten_parts().await.unwrap(), ForgottenParts::Kept);
    let rule = |status: &str, prefix: &str, days: u32| {
        format!(
            "<Rule><ID>{prefix}{days}</ID><Status>{status}</Status><Filter><Prefix>{prefix}</Prefix></Filter>\
             <AbortIncompleteMultipartUpload><DaysAfterInitiation>{days}</DaysAfterInitiation>\
             </AbortIncompleteMultipartUpload></Rule>"
        )
    };
    let (far, off) = (rule("Enabled", "elsewhere/", 2), rule("Disabled", &prefix, 1));
    put_lifecycle(server, &format!("{far}{off}")).await;
    assert_eq!(store.forgotten_parts().await.unwrap(), ForgottenParts::Kept);
    put_lifecycle(server, &format!("{far}{off}{}", rule("Enabled", &prefix, 9))).await;
    assert_eq!(store.forgotten_parts().await.unwrap(), ForgottenParts::DroppedAfter { days: 9 });
}

async fn put_lifecycle(server: &Garage, rules: &str) {
    let text = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
    request(server, reqwest::Method::PUT, &format!("{}?lifecycle=", garage::BUCKET), text).await;
}

/// Asks Garage itself, as other programs do.
async fn request(server: &Garage, method: reqwest::Method, path: &str, text: String) {
    let mut request = HttpRequest::new(HttpRequestBody::from(text.clone()));
    *request.method_mut() = method.clone();
    *request.uri_mut() = format!("{}/{path}", server.endpoint()).parse().unwrap();
    let credential =
        AwsCredential { key_id: garage::KEY.to_owned(), secret_key: garage::SECRET.to_owned(), token: None };
    AwsAuthorizer::new(&credential, "s3", garage::REGION).try_authorize(&mut request, None).unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let put = client.request(method, request.uri().to_string());
    let answer = put.headers(request.headers().clone()).body(text).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stands_still_is_away_in_five_seconds_and_back_at_once() {
    let server = Garage::start();
    let store = open(&server.storage());
    let upload = Upload::begin(&store, "still", 3).await;
    let first = upload.write(0).await;
    let another = key("tenant/still/2");
    server.pause();
    let begun = Instant::now();
    let (written, looked, begins) =
        tokio::join!(upload.try_write(1), store.head(&upload.key), store.begin(&another, None));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(written.unwrap_err().kind(), BlobErrorKind::Unavailable);
    assert_eq!(looked.unwrap_err().kind(), BlobErrorKind::Unavailable);
    assert_eq!(begins.unwrap_err().kind(), BlobErrorKind::Unavailable);
    server.go_on();
    let tags = [first, upload.write(1).await, upload.write(2).await];
    upload.complete(&tags).await.unwrap();
    upload.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_programs_names_do_not_hide_ours() {
    let server = garage::server();
    let prefix = server.new_prefix();
    let store = open(&Garage::storage_at(&server.endpoint(), &prefix));
    let ours = store.put(&key("tenant/a/1"), body(&bytes(9, 1), 9), Some(9)).await.unwrap();
    for name in ["a//b", "folder/", ".hidden"] {
        let name = format!("{}/{prefix}/{name}", garage::BUCKET);
        request(server, reqwest::Method::PUT, &name, "theirs".to_owned()).await;
    }
    let listed: Vec<_> = store.list("").await.unwrap().try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].key, listed[0].size), (&ours.key, ours.size));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_as_many_pages_as_it_needs() {
    let store = open(&garage::server().storage());
    let empty = bytes(0, 0);
    let puts =
        (0..1_003).map(|n| {
            let (store, empty) = (&store, empty.clone());
            async move {
                store.stage(&key(&format!("tenant/pages/{n}")), body(&empty, 1), Length::Exactly(0)).await
            }
        });
    futures_util::stream::iter(puts).buffer_unordered(16).try_collect::<Vec<_>>().await.unwrap();
    let listed: Vec<_> = store.list("tenant").await.unwrap().try_collect().await.unwrap();
    assert_eq!(listed.len(), 1_003);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_for_the_operator_and_a_missing_bucket_is_no_missing_blob() {
    let server = garage::server();
    let mut storage = server.storage();
    storage.s3.secret_access_key = Some(cifra::base::Secret::new("0".repeat(64)));
    let refused = open(&storage).put(&key("tenant/x/1"), body(&bytes(9, 1), 9), Some(9)).await.unwrap_err();
    assert_eq!(refused.kind(), BlobErrorKind::Unavailable);
    assert!(refused.to_string().contains("look at its keys and rights"), "{refused}");

    let elsewhere = open(&server.storage_in("nowhere", &server.new_prefix()));
    let missing = elsewhere.get(&key("tenant/x/1"), None).await.unwrap_err();
    assert!(missing.kind() != BlobErrorKind::Incomplete, "{missing}");
}

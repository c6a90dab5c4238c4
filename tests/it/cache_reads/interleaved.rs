//! Readers, changes, loaders and time in any order, against what must be true in every order.

use std::time::Duration;

use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::stage::{Source, Stage, TTL};

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Somebody asks.
    Ask,
    /// Whoever has waited longest goes away.
    Leave,
    /// A loader is answered by the database.
    Answer,
    /// The record changes, and whoever changed it is answered.
    Change,
    /// Time passes.
    Age(u32),
    /// The database begins to fail, or works again.
    Fail(bool),
    /// The others go on, as far as they can.
    GoOn,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Ask),
        2 => Just(Step::Leave),
        3 => Just(Step::Answer),
        2 => Just(Step::Change),
        2 => (1..120_u32).prop_map(Step::Age),
        1 => any::<bool>().prop_map(Step::Fail),
        4 => Just(Step::GoOn),
    ]
}

/// A reader, and the version that it must see at least.
struct Reader {
    least: u64,
    reads: JoinHandle<cifra::base::Result<(u64, &'static str)>>,
}

async fn play(steps: Vec<Step>) {
    let (stage, source) = (Stage::new(), Source::closed());
    let (mut version, mut readers, mut changes) = (1, Vec::new(), 0);
    for step in steps {
        match step {
            Step::Ask => {
                let (stage, source) = (stage.clone(), source.clone());
                let reads = cifra::telemetry::Tasks::default().spawn("reader", async move {
                    let read = stage.read("1", &source).await?;
                    Ok((*read.value.expect("it is always there"), read.source.as_str()))
                });
                readers.push(Reader { least: version, reads });
            }
            Step::Leave if !readers.is_empty() => readers.remove(0).reads.abort(),
            Step::Answer => source.answers(1),
            Step::Change => {
                version += 1;
                changes += 1;
                source.set(version);
                stage.cache.invalidate(&[stage.change_of("1")]).await;
            }
            Step::Age(percent) => stage.clock.advance(TTL * percent / 100),
            Step::Fail(fails) => source.fails(fails),
            Step::GoOn => {
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
            }
            Step::Leave => {}
        }
        // One at a time, but for those that a change has made worthless.
        let under_way = source.asked() - source.dropped() - source.answered();
        assert!(under_way <= 1 + changes, "{under_way} loaders under way after {changes} changes");
    }
    source.fails(false);
    source.answers(1_000);
    for Reader { least, reads } in readers {
        match tokio::time::timeout(Duration::from_secs(10), reads).await.expect("everybody is answered") {
            Ok(Ok((seen, from))) => assert!(
                (least..=version).contains(&seen),
                "{seen} from {from}, but {least} was there before it was asked for"
            ),
            // The database failed at the time.
            Ok(Err(error)) => assert_eq!(error.code(), cifra::base::Code::Unavailable),
            Err(left) => assert!(left.is_cancelled(), "{left}"),
        }
    }
    assert_eq!(stage.told("1", &source).await.0, version, "in the end everybody sees the last version");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn in_any_order_nobody_sees_what_was_invalidated_before_they_asked(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(steps));
    }
}

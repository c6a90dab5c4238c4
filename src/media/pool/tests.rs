//! Memory given and taken back, whatever happens to those who wait and to those who work.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

const MIB: u64 = 1 << 20;

fn pool(memory_mib: u64, threads: usize, queue_len_max: usize) -> Pool {
    Pool::new(PoolOptions { memory: memory_mib * MIB, threads, queue_len_max }).unwrap()
}

impl Pool {
    fn free(&self) -> (u64, usize, usize) {
        let state = self.gate.lock();
        (state.free_bytes, state.free_pictures, state.line.len())
    }

    async fn ask(&self, bytes: u64) -> Result<Admission, Refusal> {
        self.admit(&TenantId::default_tenant(), bytes).await
    }

    async fn let_in(&self, mib: u64) -> Admission {
        self.ask(mib * MIB).await.ok().unwrap()
    }
}

/// What is ready without waiting for anybody else.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::ZERO, future).await.ok()
}

#[tokio::test]
async fn work_runs_on_threads_of_the_pool_that_step_back() {
    let pool = pool(1, 1, 1);
    let seen = pool.let_in(1).await.run(|| {
        let name = std::thread::current().name().map(str::to_owned);
        (name, rustix::process::getpriority_process(None))
    });
    let (name, nice) = seen.await.unwrap();
    assert_eq!(name.as_deref(), Some("pictures 0"));
    assert!(nice.unwrap() >= NICE);
    assert!(rustix::process::getpriority_process(None).unwrap() < NICE, "others keep theirs");
}

#[tokio::test]
async fn no_more_memory_is_given_than_there_is_and_all_of_it_comes_back() {
    let pool = pool(10, 2, 10);
    let (one, two) = (pool.let_in(6).await, pool.let_in(4).await);
    assert_eq!(pool.free().0, 0);
    let mut third = std::pin::pin!(pool.ask(MIB));
    assert!(at_once(&mut third).await.is_none());
    drop(one);
    let third = at_once(&mut third).await.unwrap().ok().unwrap();
    assert_eq!(pool.free(), (5 * MIB, 2 * PICTURES_PER_THREAD - 2, 0));
    two.run(|| ()).await.unwrap();
    drop(third);
    assert_eq!(pool.free(), (10 * MIB, 2 * PICTURES_PER_THREAD, 0));
}

#[tokio::test]
async fn what_can_never_fit_is_refused_and_so_is_who_finds_the_queue_full() {
    let pool = pool(10, 1, 1);
    assert_eq!(pool.ask(10 * MIB + 1).await.err(), Some(Refusal::TooLarge { max: 10 * MIB }));
    let all = pool.let_in(10).await;
    let mut second = std::pin::pin!(pool.ask(1));
    assert!(at_once(&mut second).await.is_none());
    assert_eq!(pool.ask(1).await.err(), Some(Refusal::QueueFull));
    drop(all);
    assert!(at_once(&mut second).await.unwrap().is_ok());
}

#[tokio::test]
async fn tiny_pictures_are_bounded_by_their_number() {
    let pool = pool(1000, 2, 100);
    let mut inside = Vec::new();
    for _ in 0..2 * PICTURES_PER_THREAD {
        inside.push(pool.let_in(0).await);
    }
    let mut next = std::pin::pin!(pool.ask(0));
    assert!(at_once(&mut next).await.is_none());
    inside.pop();
    assert!(at_once(&mut next).await.is_some());
}

#[tokio::test]
async fn who_stops_waiting_leaves_no_trace() {
    let pool = pool(10, 1, 10);
    let held = pool.let_in(5).await;
    {
        let mut large = std::pin::pin!(pool.ask(10 * MIB));
        assert!(at_once(&mut large).await.is_none());
        assert_eq!(pool.free().2, 1);
    }
    assert_eq!(pool.free().2, 0);
    {
        // Called, but gone before it could hear it.
        let mut called = std::pin::pin!(pool.ask(10 * MIB));
        assert!(at_once(&mut called).await.is_none());
        drop(held);
    }
    assert_eq!(pool.free(), (10 * MIB, PICTURES_PER_THREAD, 0));
}

#[tokio::test]
async fn a_panic_is_told_and_the_pool_goes_on_with_all_its_memory() {
    let pool = pool(1, 1, 1);
    for _ in 0..3 {
        let panicked = pool.let_in(1).await.run(|| panic!("a decoder's bug, made up by a test")).await;
        assert_eq!(panicked, Err(Panicked));
    }
    assert_eq!(pool.let_in(1).await.run(|| 7).await, Ok(7));
}

#[tokio::test]
async fn work_that_has_begun_keeps_its_memory_when_nobody_waits_and_what_has_not_never_does() {
    let pool = pool(2, 1, 1);
    let begun = Arc::new(AtomicUsize::new(0));
    let (go_on, hold) = std::sync::mpsc::channel();
    let (first_begun, second_begun) = (Arc::clone(&begun), Arc::clone(&begun));
    {
        let first = pool.let_in(1).await.run(move || {
            first_begun.fetch_add(1, Ordering::SeqCst);
            hold.recv()
        });
        let second = pool.let_in(1).await.run(move || second_begun.fetch_add(1, Ordering::SeqCst));
        let (mut first, mut second) = (std::pin::pin!(first), std::pin::pin!(second));
        assert!(at_once(&mut first).await.is_none() && at_once(&mut second).await.is_none());
        while begun.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(pool.free().0, 0, "both still have their memory");
    go_on.send(()).unwrap();
    drop(pool.let_in(2).await);
    assert_eq!(begun.load(Ordering::SeqCst), 1, "the second was given up before it began");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_at_once_stay_within_the_memory() {
    const MEMORY: u64 = 16;
    let pool = pool(MEMORY, 2, 5000);
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let all = (0..3000_usize).map(|n| {
        let (pool, inside, most) = (pool.clone(), Arc::clone(&inside), Arc::clone(&most));
        async move {
            let tenant: TenantId = format!("t{}", n % 7).parse().unwrap();
            let mib = n % 13;
            let admission = pool.admit(&tenant, mib as u64 * MIB).await.ok().unwrap();
            let now = inside.fetch_add(mib, Ordering::SeqCst) + mib;
            most.fetch_max(now, Ordering::SeqCst);
            let leave = move || inside.fetch_sub(mib, Ordering::SeqCst);
            // Some are given up on the way.
            if n % 11 == 0 { leave() } else { admission.run(leave).await.unwrap() }
        }
    });
    futures_util::future::join_all(all).await;
    let most = most.load(Ordering::SeqCst);
    assert!(most <= usize::try_from(MEMORY).unwrap() && most >= 12, "{most}");
    assert_eq!(pool.free(), (MEMORY * MIB, 2 * PICTURES_PER_THREAD, 0));
}

//! Fail points: named places where a test makes a debug build die or wait.
//!
//! `install` takes the text that the app read from `CIFRA_FAILPOINT`: `name=kill`, `name=kill@3` (at the third
//! hit), `name=stop` (as by SIGSTOP, until somebody sends SIGCONT; `name=stop@3` too), `name=panic`,
//! `name=pause:/some/file` (makes `/some/file.reached` and waits, if and while that file exists); several are separated
//! by `;`. Whoever has a step worth dying in calls [`hit`]. In release builds there is nothing of
//! this but two empty functions.

/// Passes the place `name`: dies or waits there if [`install`] said so.
///
/// A pause blocks the thread: call it where blocking is allowed, or on a worker of a multi-thread runtime.
#[cfg(debug_assertions)]
pub fn hit(name: &str) {
    armed::hit(name);
}

/// Passes the place `name`: nothing happens in release builds.
#[cfg(not(debug_assertions))]
#[inline(always)]
#[expect(clippy::inline_always, reason = "an empty body must leave nothing in hot loops")]
pub fn hit(_name: &str) {}

/// Arms fail points for the life of the process; only the first call counts.
///
/// # Errors
/// What is wrong with `text`; in release builds any text, because it would not do anything.
pub fn install(text: Option<&str>) -> Result<(), String> {
    let Some(text) = text else { return Ok(()) };
    #[cfg(debug_assertions)]
    return armed::install(text);
    #[cfg(not(debug_assertions))]
    Err(format!("fail points exist only in debug builds: `{text}` does nothing here"))
}

#[cfg(debug_assertions)]
mod armed {
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    static POINTS: OnceLock<Vec<Point>> = OnceLock::new();

    #[derive(Debug)]
    struct Point {
        name: String,
        action: Action,
        hits: AtomicU64,
    }

    #[derive(Debug, PartialEq, Eq)]
    enum Action {
        /// SIGKILL to ourselves at this hit, counted from 1.
        KillAt(u64),
        /// SIGSTOP to ourselves at this hit.
        StopAt(u64),
        /// A bug, as far as anybody can tell.
        Panic,
        /// Wait while the file exists.
        PauseWhile(PathBuf),
    }

    pub(super) fn install(text: &str) -> Result<(), String> {
        let points = text
            .split(';')
            .filter(|part| !part.trim().is_empty())
            .map(|part| parse(part.trim()))
            .collect::<Result<_, _>>()?;
        POINTS.get_or_init(|| points);
        Ok(())
    }

    fn parse(part: &str) -> Result<Point, String> {
        let unknown = || {
            format!(
                "fail point `{part}`: expected name=kill, name=kill@N (from 1), name=stop, name=stop@N, name=panic or \
                 name=pause:/path/of/file"
            )
        };
        let (name, action) = part.split_once('=').ok_or_else(unknown)?;
        let action = match action.split_once([':', '@']) {
            None if action == "kill" => Action::KillAt(1),
            None if action == "stop" => Action::StopAt(1),
            None if action == "panic" => Action::Panic,
            Some((signal @ ("kill" | "stop"), count)) => {
                let count = count.parse().ok().filter(|&count| count > 0).ok_or_else(unknown)?;
                if signal == "kill" { Action::KillAt(count) } else { Action::StopAt(count) }
            }
            Some(("pause", path)) if path.starts_with('/') => Action::PauseWhile(PathBuf::from(path)),
            _ => return Err(unknown()),
        };
        Ok(Point { name: name.to_owned(), action, hits: AtomicU64::new(0) })
    }

    pub(super) fn hit(name: &str) {
        let points = POINTS.get().map_or(&[][..], Vec::as_slice);
        for point in points.iter().filter(|point| point.name == name) {
            let count = point.hits.fetch_add(1, Ordering::Relaxed) + 1;
            match &point.action {
                Action::KillAt(at) if *at == count => kill(),
                Action::StopAt(at) if *at == count => stop(),
                Action::Panic => panic!("the fail point {name} was told to"),
                Action::PauseWhile(path) if path.exists() => tokio::task::block_in_place(|| pause(path)),
                Action::KillAt(_) | Action::StopAt(_) | Action::PauseWhile(_) => {}
            }
        }
    }

    /// Tells the test that the place was reached, and waits until it has removed the file.
    fn pause(path: &Path) {
        let mut reached = path.as_os_str().to_owned();
        reached.push(".reached");
        std::fs::write(reached, "").expect("INVARIANT: the test that arms a pause owns its folder");
        while path.exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// As from outside: no destructor runs, nothing is flushed.
    fn kill() -> ! {
        let killed = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        unreachable!("SIGKILL to ourselves cannot fail or return: {killed:?}");
    }

    /// As from outside: all threads stand still, and go on where they were.
    fn stop() {
        let stopped = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
        stopped.expect("INVARIANT: a process may stop itself");
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn each_form_is_understood() {
            let action = |text: &str| parse(text).map(|point| (point.name, point.action));
            assert_eq!(action("a.b=kill"), Ok(("a.b".to_owned(), Action::KillAt(1))));
            assert_eq!(action("a.b=panic"), Ok(("a.b".to_owned(), Action::Panic)));
            assert_eq!(action("a.b=kill@7"), Ok(("a.b".to_owned(), Action::KillAt(7))));
            assert_eq!(action("a.b=stop"), Ok(("a.b".to_owned(), Action::StopAt(1))));
            assert_eq!(action("a.b=stop@2"), Ok(("a.b".to_owned(), Action::StopAt(2))));
            assert_eq!(
                action("a=pause:/tmp/x@y:z"),
                Ok(("a".to_owned(), Action::PauseWhile("/tmp/x@y:z".into())))
            );
            for wrong in [
                "a",
                "a=",
                "a=die",
                "a=kill@0",
                "a=stop@0",
                "a=kill@x",
                "a=pause:",
                "a=pause:relative",
                "a=pause",
            ] {
                assert!(parse(wrong).is_err(), "{wrong}");
            }
        }
    }
}

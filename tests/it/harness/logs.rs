//! What this process logs about statements. One log for all tests: look for a text of your own.

use std::fmt::Write;
use std::sync::{Mutex, OnceLock};

use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Every line so far about a statement.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: Mutex<Vec<String>>,
    more: tokio::sync::Notify,
}

/// Starts capturing, if no test has yet.
pub(crate) fn capture() -> &'static Lines {
    static LINES: OnceLock<()> = OnceLock::new();
    static STORE: OnceLock<Lines> = OnceLock::new();
    let lines = STORE.get_or_init(Lines::default);
    LINES.get_or_init(|| {
        let only = tracing_subscriber::filter::filter_fn(|meta| meta.target() == "sqlx::query");
        let subscriber = tracing_subscriber::registry().with(Capture(lines).with_filter(only));
        tracing::subscriber::set_global_default(subscriber).expect("the only subscriber of this process");
    });
    lines
}

impl Lines {
    /// The line with `text`, once it is there.
    pub(crate) async fn take(&self, text: &str) -> String {
        loop {
            let more = self.more.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            let place = self.lock().iter().position(|line| line.contains(text));
            if let Some(place) = place {
                return self.lock().remove(place);
            }
            tokio::time::timeout(std::time::Duration::from_secs(10), more)
                .await
                .unwrap_or_else(|_| panic!("nothing was logged with: {text}"));
        }
    }

    /// Whether any line has `text`.
    pub(crate) fn contain(&self, text: &str) -> bool {
        self.lock().iter().any(|line| line.contains(text))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.lines.lock().expect("no test panics in here")
    }
}

struct Capture(&'static Lines);

impl<S: tracing::Subscriber> Layer<S> for Capture {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().push(line.0);
        self.0.more.notify_waiters();
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

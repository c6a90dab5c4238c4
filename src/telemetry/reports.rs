//! Errors that somebody must know of, told to Sentry: every `error!` of ours and every panic. Cargo feature `sentry`;
//! without it nothing is told, and a `SENTRY_DSN` gives a warning.
//!
//! A report says where in the code it happened, in which request (its id and route) and in which version; the log has
//! the rest under that id. Texts of errors stay here: nobody can promise that a database or a panic puts no filename
//! into its message. Never: bodies, tokens, filenames, addresses, the host's name.

use std::future::Future;

/// Keeps reporting on; dropping it sends what is left, for a few seconds at most.
#[must_use]
pub struct Reports {
    #[cfg(feature = "sentry")]
    _client: Option<sentry::ClientInitGuard>,
}

/// Begins to report to the project that `dsn` names; without one nothing is reported. After the logs have been started.
///
/// # Errors
/// If `dsn` is none.
#[cfg(feature = "sentry")]
pub fn start(dsn: Option<&str>) -> Result<Reports, String> {
    Ok(Reports { _client: dsn.map(on::start).transpose()? })
}

/// Tells the operator that nothing will be reported.
///
/// # Errors
/// None.
#[cfg(not(feature = "sentry"))]
pub fn start(dsn: Option<&str>) -> Result<Reports, String> {
    if dsn.is_some() {
        tracing::warn!(
            "SENTRY_DSN is set, but this cifra was built without Sentry: nothing will be reported; build it with \
             --features sentry, or unset SENTRY_DSN"
        );
    }
    Ok(Reports {})
}

/// What makes reports of `error!`s.
#[cfg(feature = "sentry")]
pub(super) fn layer() -> on::Errors {
    on::Errors
}

/// Nothing.
#[cfg(not(feature = "sentry"))]
pub(super) fn layer() -> tracing_subscriber::layer::Identity {
    tracing_subscriber::layer::Identity::new()
}

/// Answers a request; reports from inside name its id and its route.
#[cfg(feature = "sentry")]
pub fn within<F: Future>(
    request_id: &str,
    route: Option<&str>,
    answer: F,
) -> impl Future<Output = F::Output> + use<F> {
    on::REQUEST.scope((request_id.to_owned(), route.map(str::to_owned)), answer)
}

/// Answers a request.
#[cfg(not(feature = "sentry"))]
pub fn within<F: Future>(_request_id: &str, _route: Option<&str>, answer: F) -> F {
    answer
}

#[cfg(feature = "sentry")]
mod on {
    use std::sync::Arc;
    use std::time::Duration;

    use sentry::protocol::Event;
    use sentry::transports::ReqwestHttpTransportOptions;
    use sentry::types::Dsn;
    use sentry::{ClientInitGuard, ClientOptions, Transport, TransportFactory, TransportOptions};
    use tracing::{Level, Subscriber};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::Context;

    /// One report may take this long, and all that are left at the end of the process too.
    const SEND_TIMEOUT: Duration = Duration::from_secs(2);

    tokio::task_local! {
        /// The id and the route of the request that is being answered.
        pub(super) static REQUEST: (String, Option<String>);
    }

    pub(super) fn start(dsn: &str) -> Result<ClientInitGuard, String> {
        if dsn.parse::<Dsn>().is_err() {
            return Err("SENTRY_DSN is not of the form https://KEY@HOST/PROJECT".to_owned());
        }
        // Whoever was first has installed the same one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder().timeout(SEND_TIMEOUT).build();
        let http = http.map_err(|error| format!("nothing can be sent to Sentry: {error}"))?;
        let options = ClientOptions::new()
            .dsn(dsn)
            .release(concat!("cifra@", env!("CARGO_PKG_VERSION")))
            .default_integrations(false)
            .send_default_pii(false)
            .max_breadcrumbs(0)
            .transport(Bounded(http))
            .shutdown_timeout(SEND_TIMEOUT);
        let client = sentry::init(options);
        report_panics();
        Ok(client)
    }

    /// Sentry's own client would wait for an answer for ever, and the end of the process with it.
    struct Bounded(reqwest::Client);

    impl TransportFactory for Bounded {
        fn create_transport_with_options(&self, options: TransportOptions) -> Arc<dyn Transport> {
            Arc::new(ReqwestHttpTransportOptions::from(options).with_client(self.0.clone()).build())
        }
    }

    fn report_panics() {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map_or_else(String::new, ToString::to_string);
            report(format!("panicked at {place}"), "panic");
            before(panic);
        }));
    }

    /// See [`super::layer`].
    #[derive(Debug)]
    pub(in crate::telemetry) struct Errors;

    impl<S: Subscriber> Layer<S> for Errors {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let metadata = event.metadata();
            if *metadata.level() == Level::ERROR && metadata.target().starts_with("cifra") {
                let (file, line) = (metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
                report(format!("error at {file}:{line}"), metadata.target());
            }
        }
    }

    fn report(message: String, logger: &str) {
        let mut event = Event { message: Some(message), logger: Some(logger.to_owned()), ..Event::default() };
        // Outside of requests there is neither.
        let _ = REQUEST.try_with(|(id, route)| {
            event.tags.insert("request_id".to_owned(), id.clone());
            event.tags.insert("route".to_owned(), route.as_deref().unwrap_or("none").to_owned());
            event.transaction.clone_from(route);
        });
        sentry::capture_event(event);
    }
}

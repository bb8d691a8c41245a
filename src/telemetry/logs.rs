//! Log lines.

use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    fmt::MakeWriter,
    registry::LookupSpan,
};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

pub(super) fn layer<S, W>(format: LogFormat, filter: EnvFilter, writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    // Without a level of its own it would hide that of the other, and each line that is not logged would cost more.
    lines.with_filter(filter.and(filter_fn(is_fit).with_max_level_hint(LevelFilter::TRACE)))
}

/// kube logs the whole answer that it can't read, as a warning: it may be a Secret. (The error itself comes to us, without it.)
fn is_fit(metadata: &Metadata<'_>) -> bool {
    metadata.target() != "kube_client::client" || *metadata.level() == Level::ERROR
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::subscriber, *};

    #[test]
    fn an_answer_of_the_api_server_that_kube_can_not_read_is_not_logged() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let file = tempfile::NamedTempFile::new().unwrap();
            let writer = file.reopen().unwrap();
            tracing::subscriber::with_default(subscriber(format, EnvFilter::new("trace"), writer, None), || {
                tracing::warn!(target: "kube_client::client", "{}, {:?}", r#"{"data":{"secretKey":"a2V5"}}"#, "EOF");
                tracing::debug!(target: "kube_client::client::builder", "requesting");
                tracing::info!("ours");
            });
            let written = fs::read_to_string(file.path()).unwrap();
            assert!(written.contains("requesting") && written.contains("ours"), "{written}");
            assert!(!written.contains("a2V5"), "{written}");
        }
    }
}

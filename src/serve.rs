//! Health, readiness and metrics over HTTP.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, http::StatusCode, routing::get};
use tokio::net::TcpListener;

use crate::telemetry::Metrics;

/// Says whether the process is ready.
pub type Ready = Arc<dyn Fn() -> bool + Send + Sync>;

/// Serves `/metrics` on one address, `/healthz` and `/readyz` on the other, as long as the process lives. Returns the addresses: a port 0 is any free one.
pub async fn serve(
    metrics_address: SocketAddr,
    health_address: SocketAddr,
    metrics: Arc<Metrics>,
    ready: Ready,
) -> std::io::Result<(SocketAddr, SocketAddr)> {
    const OPENMETRICS: [(&str, &str); 1] =
        [("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    let metrics = Router::new().route("/metrics", get(move || async move { (OPENMETRICS, metrics.text()) }));
    let readyz = move || async move {
        if ready() {
            (StatusCode::OK, "ok")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "the first lists are not read yet")
        }
    };
    let health = Router::new().route("/healthz", get(|| async { "ok" })).route("/readyz", get(readyz));
    Ok((start(metrics_address, metrics).await?, start(health_address, health).await?))
}

async fn start(address: SocketAddr, router: Router) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| std::io::Error::new(error.kind(), format!("{address}: {error}")))?;
    let bound = listener.local_addr()?;
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the health or metrics endpoint has ended");
        }
    });
    Ok(bound)
}

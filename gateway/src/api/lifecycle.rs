//! `/-/reload` and `/-/quit`: off unless `--web.enable-lifecycle`.

use crate::http::respond::{Response, empty, error_text, text};
use crate::worker::Worker;

const DISABLED: &str = "Lifecycle API is not enabled.";

/// Reloads the configuration; the old one stays when the new one is bad.
pub async fn reload(worker: &Worker) -> Response {
    if !worker.app.lifecycle_enabled() {
        return error_text(403, DISABLED);
    }
    match worker.app.reload().await {
        Ok(()) => empty(200),
        Err(error) => error_text(500, &format!("failed to reload config: {error}")),
    }
}

/// Ends the process as SIGTERM would.
pub fn quit(worker: &Worker) -> Response {
    if !worker.app.lifecycle_enabled() {
        return error_text(403, DISABLED);
    }
    worker.app.request_shutdown();
    text(200, "Requesting termination... Goodbye!")
}

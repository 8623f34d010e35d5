//! `notifications` and `notifications/live` (server-sent events).

use crate::http::body::Streamed;
use crate::http::respond::{ApiData, ApiError, Response, content, empty, push_json_string};
use crate::limits::LIVE_COMMENT_EVERY;
use crate::notifications::Notification;
use crate::worker::Worker;
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use tokio::sync::mpsc;

fn push(out: &mut String, one: &Notification) {
    out.push_str("{\"text\":");
    push_json_string(out, one.text);
    out.push_str(&format!(
        ",\"date\":\"{}\",\"active\":{}}}",
        one.date, one.active
    ));
}

/// GET `/api/v1/notifications`.
pub fn list(worker: &Worker) -> Result<ApiData, ApiError> {
    let mut out = String::from("[");
    for (i, one) in worker.app.notifications().active().iter().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        push(&mut out, one);
    }
    out.push(']');
    Ok(ApiData::json(out))
}

fn event(one: &Notification) -> bytes::Bytes {
    let mut out = String::from("data: ");
    push(&mut out, one);
    out.push_str("\n\n");
    out.into()
}

/// GET `/api/v1/notifications/live`: what is active, then every change until the client or the server goes. 204 when too many listen.
pub fn live(worker: &Worker) -> Response {
    let Some(mut listener) = worker.app.notifications().listen() else {
        return empty(204);
    };
    let mut shutdown = worker.app.shutdown_signal();
    let (sender, receiver) = mpsc::channel(1);
    tokio::task::spawn_local(async move {
        for one in std::mem::take(&mut listener.first) {
            if sender.send(event(&one)).await.is_err() {
                return;
            }
        }
        loop {
            let piece = tokio::select! {
                change = listener.next() => match change {
                    Some(change) => event(&change),
                    None => return,
                },
                // A line that clients pass over: it shows that both ends are still there.
                () = tokio::time::sleep(LIVE_COMMENT_EVERY) => ": \n\n".into(),
                _ = shutdown.wait_for(|stop| *stop) => {
                    // The last words: that it is the end.
                    for one in last_words(&mut listener) {
                        let _ = sender.send(event(&one)).await;
                    }
                    return;
                }
                () = sender.closed() => return,
            };
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    });
    let mut response = content(200, "text/event-stream", Vec::new());
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Streamed::attach(response, receiver)
}

/// Changes that have come already.
fn last_words(listener: &mut crate::notifications::Listener) -> Vec<Notification> {
    std::iter::from_fn(|| listener.try_next()).collect()
}

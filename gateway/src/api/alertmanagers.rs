//! `alertmanagers`: who hears of alerts, and who was dropped by relabeling.

use crate::http::respond::{ApiData, ApiError, push_json_string};
use crate::worker::Worker;
use std::rc::Rc;

/// `/api/v1/alertmanagers`
pub fn alertmanagers(worker: &Rc<Worker>) -> Result<ApiData, ApiError> {
    let (active, dropped) = worker.services.notify.alertmanagers();
    let mut json = String::from("{\"activeAlertmanagers\":");
    push_urls(&mut json, &active);
    json.push_str(",\"droppedAlertmanagers\":");
    push_urls(&mut json, &dropped);
    json.push('}');
    Ok(ApiData::json(json))
}

fn push_urls(out: &mut String, urls: &[String]) {
    out.push('[');
    for (i, url) in urls.iter().enumerate() {
        out.push_str(if i > 0 { ",{\"url\":" } else { "{\"url\":" });
        push_json_string(out, url);
        out.push('}');
    }
    out.push(']');
}

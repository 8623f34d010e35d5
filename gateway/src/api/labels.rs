//! `labels`, `label/<name>/values`, `series`.

use super::json::{push_labels, string_list};
use super::params::{TIME_MAX_MS, TIME_MIN_MS, go_quote, limit_param, matchers_param, time_param};
use super::query::form_of;
use crate::http::request::{Form, Request};
use crate::http::respond::{ApiData, ApiError, ErrorType};
use crate::worker::Worker;
use query_engine::eval::budget::CancelToken;
use query_engine::metadata::{self, MetadataOutput, MetadataRequest};
use std::rc::Rc;
use storage_engine::shard_api::TimeRange;

fn asked(form: &Form, wrap: impl Fn(String) -> ApiError) -> Result<MetadataRequest, ApiError> {
    let limit = limit_param(form)?;
    let min = time_param(form, "start", TIME_MIN_MS)?;
    let max = time_param(form, "end", TIME_MAX_MS)?;
    let selectors = matchers_param(form).map_err(wrap)?;
    let cancel = CancelToken::new();
    Ok(MetadataRequest {
        selectors,
        range: TimeRange { min, max },
        limit,
        cancel,
    })
}

fn execution(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorType::Execution, error.to_string())
}

/// Data with what the store warns of, and with a warning when the limit has cut it.
fn data<T>(json: String, output: MetadataOutput<T>) -> ApiData {
    let mut warnings = output.warnings;
    if output.truncated {
        warnings.push("results truncated due to limit".to_owned());
    }
    ApiData {
        json,
        warnings,
        ..ApiData::default()
    }
}

/// `/api/v1/labels`.
pub async fn names(worker: &Rc<Worker>, mut request: Request) -> Result<ApiData, ApiError> {
    let form = whole(form_of(&mut request).await?)?;
    let asked = asked(&form, ApiError::bad_data)?;
    let names = metadata::label_names(&*worker.services.store, &asked)
        .await
        .map_err(execution)?;
    Ok(data(string_list(&names.items), names))
}

/// `/api/v1/label/<name>/values`.
pub async fn values(worker: &Rc<Worker>, mut request: Request) -> Result<ApiData, ApiError> {
    let invalid = |name: &[u8]| ApiError::bad_data(format!("invalid label name: {}", quoted(name)));
    let raw = request.path_value("name").to_owned();
    let raw = String::from_utf8(raw).map_err(|e| invalid(e.as_bytes()))?;
    let name = if raw.starts_with("U__") {
        unescape(&raw).unwrap_or(raw)
    } else {
        raw
    };
    if name.is_empty() {
        return Err(invalid(name.as_bytes()));
    }
    let form = form_of(&mut request).await?;
    let asked = asked(&form, ApiError::bad_data)?;
    let values = metadata::label_values(&*worker.services.store, &name, &asked)
        .await
        .map_err(execution)?;
    Ok(data(string_list(&values.items), values))
}

/// The bytes as Go's `%q` shows them: what is no UTF-8 as `\\x` and two hex digits.
fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let text = go_quote(chunk.valid());
        out.push_str(&text[1..text.len() - 1]);
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

/// A form all of whose pairs could be read.
fn whole(form: Form) -> Result<Form, ApiError> {
    match form.fault() {
        None => Ok(form),
        Some(fault) => Err(ApiError::bad_data(format!(
            "error parsing form values: {fault}"
        ))),
    }
}

/// Undoes the `values` escaping of names: `U__a_2E_b` is `a.b`, `__` is `_`. `None` when it is not well-formed.
fn unescape(escaped: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = escaped.strip_prefix("U__")?;
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('_') {
            out.push('_');
            rest = after;
            continue;
        }
        let (code, after) = rest.split_once('_')?;
        out.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

/// `/api/v1/series`.
pub async fn series(worker: &Rc<Worker>, mut request: Request) -> Result<ApiData, ApiError> {
    let form = whole(form_of(&mut request).await?)?;
    if !form.has("match[]") {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let asked = asked(&form, |e| ApiError::parameter("match[]", e))?;
    let all = metadata::series(&*worker.services.store, &asked)
        .await
        .map_err(execution)?;
    let mut json = String::from("[");
    for (i, labels) in all.items.iter().enumerate() {
        if i > 0 {
            json.push(',');
        }
        push_labels(&mut json, labels);
    }
    json.push(']');
    Ok(data(json, all))
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn names_unescape() {
        assert_eq!(
            unescape("U__http_2e_status").as_deref(),
            Some("http.status")
        );
        assert_eq!(unescape("U__a__b").as_deref(), Some("a_b"));
        assert_eq!(unescape("U__a_zz_b"), None);
    }
}

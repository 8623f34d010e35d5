//! Asks a server over HTTP: one form, one answer, with bounds on time and size.
//!
//! Not here: TLS (such an address is refused in words).

use super::arguments::text;
use crate::limits::CLIENT_ANSWER_BYTES_MAX;
use bytes::Bytes;
use clap::ArgMatches;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use storage_engine::model::parse_duration_ms;
use tokio::net::TcpStream;
use url::Url;

/// What connecting and sending may take beyond the query's own time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends the query of the command line; the body of a successful answer.
pub(super) fn ask(matches: &ArgMatches, explain: bool) -> Result<String, String> {
    let server = text(matches, "server");
    let range = !text(matches, "start").is_empty();
    let path = if range { "query_range" } else { "query" };
    let url = address(server, path)?;
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("query", text(matches, "query"));
    for name in ["time", "start", "end", "step", "timeout"] {
        if !text(matches, name).is_empty() {
            form.append_pair(name, text(matches, name));
        }
    }
    if range && text(matches, "step").is_empty() {
        form.append_pair("step", &default_step(matches)?);
    }
    if explain {
        form.append_pair("explain", "1");
    }
    let headers = matches.get_many::<String>("header").into_iter().flatten();
    let headers: Vec<(&str, &str)> = headers.map(|h| header(h)).collect::<Result<_, _>>()?;
    let timeout = text(matches, "timeout");
    let limit = parse_duration_ms(timeout).map_err(|e| format!("--timeout={timeout}: {e}"))?;
    let limit = Duration::from_millis(limit.unsigned_abs()) + PATIENCE;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    let answer = runtime.block_on(async {
        let posted = post(&url, form.finish(), &headers);
        match tokio::time::timeout(limit, posted).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
        }
    });
    answer.map_err(|reason| format!("{url}: {reason}"))
}

fn address(server: &str, path: &str) -> Result<Url, String> {
    let wrong = |reason: String| format!("server {server:?}: {reason}");
    let url = Url::parse(server).map_err(|e| wrong(e.to_string()))?;
    if url.scheme() != "http" {
        return Err(wrong("only http:// addresses can be asked".to_owned()));
    }
    let prefix = url.path().trim_end_matches('/');
    let path = format!("{prefix}/api/v1/{path}");
    let mut url = url.clone();
    url.set_path(&path);
    Ok(url)
}

fn header(line: &str) -> Result<(&str, &str), String> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| format!("--header={line}: not of the form name: value"))?;
    Ok((name.trim(), value.trim()))
}

/// As promtool: a 250th of the range, at least a second.
fn default_step(matches: &ArgMatches) -> Result<String, String> {
    let time = |name: &str| {
        crate::api::params::parse_time(text(matches, name)).map_err(|e| format!("--{name}: {e}"))
    };
    let span = time("end")?.saturating_sub(time("start")?);
    Ok((span / 250_000).max(1).to_string())
}

async fn post(url: &Url, form: String, headers: &[(&str, &str)]) -> Result<String, String> {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err("no host".to_owned());
    };
    // Brackets around IPv6 addresses are the URL's.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((name, port)).await;
    let stream = stream.map_err(|e| e.to_string())?;
    let connected = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = connected.map_err(|e| e.to_string())?;
    let driving = tokio::spawn(connection);
    let mut request = http::Request::post(url.path())
        .header("host", format!("{host}:{port}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("user-agent", concat!("ferula/", env!("CARGO_PKG_VERSION")));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(form)));
    let request = request.map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await;
    let response = response.map_err(|e| e.to_string())?;
    let status = response.status();
    let body = Limited::new(response.into_body(), CLIENT_ANSWER_BYTES_MAX);
    let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
    driving.abort();
    let body = String::from_utf8_lossy(&body).into_owned();
    match status.is_success() {
        true => Ok(body),
        false => Err(refusal(status, &body)),
    }
}

/// What the server said against it.
fn refusal(status: http::StatusCode, body: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    match (json["errorType"].as_str(), json["error"].as_str()) {
        (Some(kind), Some(text)) => format!("{kind}: {text}"),
        _ => format!("server returned HTTP status {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_prefix() {
        let of = |server| address(server, "query").map(String::from);
        let plain = Ok("http://x:9090/api/v1/query".to_owned());
        assert_eq!(of("http://x:9090"), plain);
        assert_eq!(of("http://x:9090/"), plain);
        assert_eq!(
            of("http://x/a/b/"),
            Ok("http://x/a/b/api/v1/query".to_owned())
        );
        assert!(of("https://x").is_err());
        assert!(of("x:9090").is_err());
    }
}

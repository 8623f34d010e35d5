//! An alert as Alertmanager's API v2 takes it.

use crate::http::respond::push_json_string;
use ::rules::alert::Alert;
use jiff::Timestamp;
use std::sync::Arc;
use storage_engine::model::Labels;

/// One alert to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub(super) labels: Labels,
    annotations: Vec<(String, String)>,
    starts_at_ns: i64,
    ends_at_ns: i64,
    generator_url: Arc<str>,
}

impl Message {
    /// An alert under these labels.
    pub fn new(alert: &Alert, labels: Labels, generator_url: &str) -> Self {
        let valid_until = alert.valid_until_ns.unwrap_or(alert.active_at_ns);
        Message {
            labels,
            annotations: alert.annotations.clone(),
            starts_at_ns: alert.fired_at_ns.unwrap_or(alert.active_at_ns),
            ends_at_ns: alert.resolved_at_ns.unwrap_or(valid_until),
            generator_url: Arc::from(generator_url),
        }
    }

    /// The same under other labels.
    pub(super) fn with_labels(&self, labels: Labels) -> Self {
        Message {
            labels,
            ..self.clone()
        }
    }

    fn push_json(&self, out: &mut String) {
        out.push('{');
        if !self.annotations.is_empty() {
            out.push_str("\"annotations\":");
            let annotations = self.annotations.iter();
            push_object(out, annotations.map(|(n, v)| (n.as_str(), v.as_str())));
            out.push(',');
        }
        out.push_str("\"endsAt\":\"");
        out.push_str(&time_text(self.ends_at_ns));
        out.push_str("\",\"startsAt\":\"");
        out.push_str(&time_text(self.starts_at_ns));
        out.push_str("\",\"generatorURL\":");
        push_json_string(out, &self.generator_url);
        out.push_str(",\"labels\":");
        push_object(out, self.labels.iter());
        out.push('}');
    }
}

fn push_object<'a>(out: &mut String, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    out.push('{');
    for (i, (name, value)) in pairs.enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_json_string(out, name);
        out.push(':');
        push_json_string(out, value);
    }
    out.push('}');
}

/// RFC 3339 with three digits of the second, as Alertmanager's own client writes times.
fn time_text(ns: i64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(ns)).unwrap_or_default();
    format!(
        "{}.{:03}Z",
        time.strftime("%Y-%m-%dT%H:%M:%S"),
        time.subsec_millisecond()
    )
}

/// The body of a request.
pub(super) fn body(messages: &[Arc<Message>]) -> String {
    let mut out = String::from("[");
    for (i, message) in messages.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        message.push_json(&mut out);
    }
    out.push(']');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::rules::alert::AlertState;

    #[test]
    fn an_alert_is_written_as_the_api_wants_it() {
        let ns = 1_435_781_451_781_999_999;
        let mut alert = Alert {
            labels: Labels::empty(),
            annotations: vec![("summary".to_owned(), "a \"b\"".to_owned())],
            state: AlertState::Firing,
            value: 1.0,
            active_at_ns: 0,
            fired_at_ns: Some(ns),
            resolved_at_ns: None,
            last_sent_at_ns: Some(ns),
            valid_until_ns: Some(ns + 240_000_000_000),
            keep_firing_since_ns: None,
        };
        let labels = Labels::from_pairs([("alertname", "A")]).unwrap();
        let of = |alert: &Alert| {
            let message = Message::new(alert, labels.clone(), "http://h/graph?g0.expr=up&g0.tab=1");
            body(&[Arc::new(message)])
        };
        assert_eq!(
            of(&alert),
            "[{\"annotations\":{\"summary\":\"a \\\"b\\\"\"},\"endsAt\":\"2015-07-01T20:14:51.781Z\",\
             \"startsAt\":\"2015-07-01T20:10:51.781Z\",\
             \"generatorURL\":\"http://h/graph?g0.expr=up\\u0026g0.tab=1\",\"labels\":{\"alertname\":\"A\"}}]"
        );
        alert.resolved_at_ns = Some(ns + 1_000_000_000);
        assert!(of(&alert).contains("\"endsAt\":\"2015-07-01T20:10:52.781Z\""));
    }
}

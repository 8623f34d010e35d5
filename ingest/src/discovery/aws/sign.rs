//! Signature Version 4 of AWS: proves who sends a request, without sending the secret.
//!
//! Source: the AWS General Reference, "Create a signed AWS API request". The time is an argument.

use ring::{digest, hmac};
use std::fmt::Write;

/// Who signs.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Public part.
    pub access_key: String,
    /// The secret.
    pub secret_key: String,
    /// Of temporary keys; empty otherwise.
    pub session_token: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub struct Signing<'a> {
    /// `GET`, `POST` …
    pub method: &'a str,
    /// Host with the port, as in the header.
    pub host: &'a str,
    /// Percent-encoded path; empty means `/`.
    pub path: &'a str,
    /// Query, its parameters sorted and percent-encoded; empty for none.
    pub query: &'a str,
    /// Further headers to sign, names in lower case.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
    /// `eu-west-1` …
    pub region: &'a str,
    /// `ec2`, `sts`, `aps` …
    pub service: &'a str,
    /// Seconds since the epoch.
    pub now_secs: i64,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a string does not fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

/// `20150830T123600Z`
fn timestamp(secs: i64) -> String {
    let (days, of_day) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
    // Days since 0000-03-01 in eras of 400 years (the civil calendar, proleptic).
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// Headers to add to the request: name and value.
pub fn sign(keys: &Keys, signing: &Signing<'_>) -> Vec<(&'static str, String)> {
    let time = timestamp(signing.now_secs);
    let date = time.get(..8).unwrap_or_default();
    let mut signed: Vec<(&str, &str)> = vec![("host", signing.host), ("x-amz-date", &time)];
    if !keys.session_token.is_empty() {
        signed.push(("x-amz-security-token", &keys.session_token));
    }
    signed.extend(signing.headers);
    signed.sort_unstable();
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let path = if signing.path.is_empty() {
        "/"
    } else {
        signing.path
    };
    let mut canonical = format!("{}\n{path}\n{}\n", signing.method, signing.query);
    for (name, value) in &signed {
        // Writing to a string does not fail.
        let _ = writeln!(canonical, "{name}:{}", value.trim());
    }
    let body = digest::digest(&digest::SHA256, signing.body);
    let _ = write!(canonical, "\n{names}\n{}", hex(body.as_ref()));
    let scope = format!("{date}/{}/{}/aws4_request", signing.region, signing.service);
    let request = digest::digest(&digest::SHA256, canonical.as_bytes());
    let text = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        hex(request.as_ref())
    );
    let mut key = mac(format!("AWS4{}", keys.secret_key).as_bytes(), date);
    for part in [signing.region, signing.service, "aws4_request"] {
        key = mac(&key, part);
    }
    let signature = hex(&mac(&key, &text));
    let mut out = vec![
        ("x-amz-date", time.clone()),
        (
            "authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
                keys.access_key
            ),
        ),
    ];
    if !keys.session_token.is_empty() {
        out.push(("x-amz-security-token", keys.session_token.clone()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of the AWS General Reference.
    #[test]
    fn the_published_example() {
        let keys = Keys {
            access_key: "AKIDEXAMPLE".into(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: String::new(),
        };
        let headers = sign(
            &keys,
            &Signing {
                method: "GET",
                host: "iam.amazonaws.com",
                path: "/",
                query: "Action=ListUsers&Version=2010-05-08",
                headers: &[(
                    "content-type",
                    "application/x-www-form-urlencoded; charset=utf-8",
                )],
                body: b"",
                region: "us-east-1",
                service: "iam",
                now_secs: 1_440_938_160,
            },
        );
        assert_eq!(headers[0], ("x-amz-date", "20150830T123600Z".to_owned()));
        assert_eq!(
            headers[1].1,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
        assert!(!format!("{keys:?}").contains("wJalr"));
    }

    #[test]
    fn times_of_leap_years_and_the_epoch() {
        assert_eq!(timestamp(0), "19700101T000000Z");
        assert_eq!(timestamp(951_827_696), "20000229T123456Z");
        assert_eq!(timestamp(1_767_225_599), "20251231T235959Z");
    }
}

//! Who a request comes from, and what they may do.
//!
//! Promise: where credentials are asked for, no request gets past without good ones; a user that does not exist costs the same work as a
//! wrong password; tokens are looked up by their digest, so that timing says nothing about them.

use super::passwords::PasswordChecks;
use super::roles::Roles;
use super::schema::{Loaded, sha256};
use base64::Engine;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use std::collections::HashMap;

/// What becomes of a request at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may go on, and do this.
    Admitted(Roles),
    /// 401: no credentials, or wrong ones.
    Refused,
    /// 503: too many passwords are being checked.
    Busy,
}

/// The credentials in force.
pub struct Guard {
    users: HashMap<String, String>,
    decoy: String,
    tokens: HashMap<[u8; 32], Roles>,
}

impl Guard {
    /// The guard of a file; `None` when the file asks for no credentials.
    pub(super) fn of(loaded: &Loaded) -> Option<Guard> {
        let users: HashMap<String, String> = loaded
            .file
            .users
            .iter()
            .map(|(name, hash)| (name.clone(), hash.expose().to_owned()))
            .collect();
        let tokens: HashMap<[u8; 32], Roles> = loaded
            .tokens
            .iter()
            .map(|token| (token.digest, token.roles))
            .collect();
        if users.is_empty() && tokens.is_empty() {
            return None;
        }
        let costs = users
            .values()
            .filter_map(|hash| super::bcrypt_hash::cost(hash).ok());
        let decoy = super::bcrypt_hash::decoy(costs.max().unwrap_or(bcrypt::DEFAULT_COST));
        Some(Guard {
            users,
            decoy,
            tokens,
        })
    }

    /// Judges a request by its `Authorization`.
    pub(super) async fn judge(&self, headers: &HeaderMap, checks: &PasswordChecks) -> Admission {
        let Some((scheme, credentials)) = credentials(headers) else {
            return Admission::Refused;
        };
        if scheme.eq_ignore_ascii_case("bearer") && !self.tokens.is_empty() {
            return match self.tokens.get(&sha256(credentials.as_bytes())) {
                Some(roles) => Admission::Admitted(*roles),
                None => Admission::Refused,
            };
        }
        if !scheme.eq_ignore_ascii_case("basic") || self.users.is_empty() {
            return Admission::Refused;
        }
        let Some((user, password)) = user_and_password(credentials) else {
            return Admission::Refused;
        };
        let known = self.users.get(&user);
        let hash = known.unwrap_or(&self.decoy);
        match checks.matches(&user, hash, &password).await {
            Some(true) if known.is_some() => Admission::Admitted(Roles::ALL),
            Some(_) => Admission::Refused,
            None => Admission::Busy,
        }
    }

    /// `WWW-Authenticate`, once for each kind of credentials.
    pub fn challenges(&self) -> impl Iterator<Item = HeaderValue> {
        let basic = (!self.users.is_empty()).then(|| HeaderValue::from_static("Basic"));
        let bearer = (!self.tokens.is_empty()).then(|| HeaderValue::from_static("Bearer"));
        basic.into_iter().chain(bearer)
    }
}

/// Scheme and credentials of the first `Authorization`, as Go reads it.
fn credentials(headers: &HeaderMap) -> Option<(&str, &str)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    Some((scheme, credentials.trim_matches(' ')))
}

/// The token of a `Bearer`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    credentials(headers)
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token)
}

fn user_and_password(encoded: &str) -> Option<(String, Vec<u8>)> {
    let plain = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .ok()?;
    let colon = plain.iter().position(|byte| *byte == b':')?;
    let user = String::from_utf8(plain[..colon].to_vec()).ok()?;
    Some((user, plain[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web_config::roles::Role;
    use std::time::{Duration, Instant};

    fn guard(text: &str) -> Guard {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.yml");
        std::fs::write(&path, text).unwrap();
        Guard::of(&Loaded::read(&path).ok().unwrap()).unwrap()
    }

    fn judge(guard: &Guard, authorization: &str) -> Admission {
        let mut headers = HeaderMap::new();
        if !authorization.is_empty() {
            headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(guard.judge(&headers, &PasswordChecks::new(&[9; 32])))
    }

    fn basic(user: &str, password: &str) -> String {
        let engine = base64::engine::general_purpose::STANDARD;
        format!("Basic {}", engine.encode(format!("{user}:{password}")))
    }

    #[test]
    fn passwords_and_tokens() {
        let hash = bcrypt::hash("pass:word", 4).unwrap();
        let guard = guard(&format!(
            "basic_auth_users:\n  alice: {hash}\nbearer_tokens:\n- {{name: g, token: 0123456789abcdef, roles: [read]}}\n"
        ));
        assert_eq!(
            judge(&guard, &basic("alice", "pass:word")),
            Admission::Admitted(Roles::ALL)
        );
        let reader = Roles::default().with(Role::Read);
        assert_eq!(
            judge(&guard, "bearer 0123456789abcdef"),
            Admission::Admitted(reader)
        );
        for bad in [
            String::new(),
            basic("alice", "pass"),
            basic("alice", ""),
            basic("bob", "pass:word"),
            "Basic".to_owned(),
            "Basic !!!".to_owned(),
            "Basic YWxpY2U=".to_owned(),
            "Bearer 0123456789abcdeF".to_owned(),
            "Bearer".to_owned(),
            "Digest x".to_owned(),
            format!("Bearer {hash}"),
        ] {
            assert_eq!(judge(&guard, &bad), Admission::Refused, "{bad:?}");
        }
        let challenges: Vec<_> = guard.challenges().collect();
        assert_eq!(challenges, ["Basic", "Bearer"]);
    }

    #[test]
    fn a_user_who_is_not_there_costs_as_much_as_a_wrong_password() {
        let hash = bcrypt::hash("pass", 8).unwrap();
        let guard = guard(&format!("basic_auth_users:\n  alice: {hash}\n"));
        let cost_of = |user: &str| {
            let fastest = (0..5).map(|_| {
                let started = Instant::now();
                assert_eq!(judge(&guard, &basic(user, "wrong")), Admission::Refused);
                started.elapsed()
            });
            fastest.min().unwrap_or(Duration::ZERO)
        };
        let (there, absent) = (cost_of("alice"), cost_of("bob"));
        assert!(
            absent * 3 > there && there * 3 > absent,
            "{there:?} {absent:?}"
        );
    }
}

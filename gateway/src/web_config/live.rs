//! The web configuration in force: loaded at start, looked at every second, replaced as a whole.

use super::guard::{Admission, Guard};
use super::passwords::PasswordChecks;
use super::roles::{Role, Roles};
use super::schema::Loaded;
use super::{WebConfigError, tls};
use crate::limits::WEB_CONFIG_LOOK_EVERY;
use crate::self_metrics::{Counter, Exposition};
use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName, HeaderValue};
use ingest::http_client::config::Secret;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::ServerConfig;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// What a request or a connection needs of the file.
pub struct InForce {
    /// TLS for new connections, if there is TLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// Credentials, if any are asked for.
    pub guard: Option<Guard>,
    /// Headers of every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Is HTTP/2 spoken?
    pub http2: bool,
    /// What is worth a word at start.
    pub warnings: Vec<String>,
    rate_limit: Option<RateLimit>,
    loaded: Loaded,
}

impl InForce {
    /// Makes what the file says.
    pub(super) fn build(loaded: &Loaded) -> Result<Self, WebConfigError> {
        let mut warnings = Vec::new();
        let tls = tls::server_config(loaded, &mut warnings)?;
        let guard = Guard::of(loaded);
        if guard.is_some() && tls.is_none() {
            warnings.push(
                "credentials are asked for without TLS: whoever listens on the network can read them"
                    .to_owned(),
            );
        }
        let headers = loaded.file.http.headers.iter().filter_map(|(name, value)| {
            Some((
                HeaderName::try_from(name.as_str()).ok()?,
                HeaderValue::from_str(value).ok()?,
            ))
        });
        let limit = &loaded.file.rate_limit;
        let rate_limit = (!limit.interval.0.is_zero())
            .then(|| RateLimit::new(limit.burst, limit.interval.0.as_secs_f64()));
        Ok(InForce {
            tls,
            guard,
            headers: headers.collect(),
            http2: loaded.file.http.http2,
            warnings,
            rate_limit,
            loaded: loaded.clone(),
        })
    }

    /// May one more request come now (`rate_limit`)?
    pub fn has_room(&self) -> bool {
        self.rate_limit
            .as_ref()
            .is_none_or(|limit| limit.take(Instant::now()))
    }
}

/// A bucket of requests over the whole server: one more each interval, at most so many at once.
struct RateLimit {
    burst: f64,
    seconds_each: f64,
    state: Mutex<(f64, Option<Instant>)>,
}

impl RateLimit {
    fn new(burst: i64, seconds_each: f64) -> Self {
        let burst = burst.max(0) as f64;
        RateLimit {
            burst,
            seconds_each,
            state: Mutex::new((burst, None)),
        }
    }

    fn take(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, last) = *state;
        let since = last.map_or(0.0, |last| {
            now.saturating_duration_since(last).as_secs_f64()
        });
        let left = (left + since / self.seconds_each).min(self.burst);
        let granted = left >= 1.0;
        *state = (if granted { left - 1.0 } else { left }, Some(now));
        granted
    }
}

/// The file in force, shared by all workers.
pub struct WebConfig {
    path: PathBuf,
    current: ArcSwap<InForce>,
    checks: PasswordChecks,
    own_token: Secret,
    last_error: Mutex<Option<String>>,
    is_good: AtomicBool,
    /// Times that a changed file came into force.
    pub reloads: Counter,
    /// Times that a changed file was refused.
    pub failures: Counter,
    /// Requests that were answered with 401.
    pub refused: Counter,
    /// Requests that were answered with 403.
    pub forbidden: Counter,
}

impl WebConfig {
    /// Loads the file; a server does not start with a broken one.
    pub fn load(path: &Path) -> Result<Self, WebConfigError> {
        let in_force = InForce::build(&Loaded::read(path)?)?;
        let (mut key, mut own_token) = ([0; 32], [0; 32]);
        let random = SystemRandom::new();
        random
            .fill(&mut key)
            .and_then(|()| random.fill(&mut own_token))
            .map_err(|_| WebConfigError::Invalid("the system has no random numbers".to_owned()))?;
        Ok(WebConfig {
            path: path.to_owned(),
            current: ArcSwap::from_pointee(in_force),
            checks: PasswordChecks::new(&key),
            own_token: Secret::new(
                own_token
                    .iter()
                    .map(|b| format!("{b:02x}"))
                    .collect::<String>(),
            ),
            last_error: Mutex::default(),
            is_good: AtomicBool::new(true),
            reloads: Counter::default(),
            failures: Counter::default(),
            refused: Counter::default(),
            forbidden: Counter::default(),
        })
    }

    /// What is in force now.
    pub fn current(&self) -> arc_swap::Guard<Arc<InForce>> {
        self.current.load()
    }

    /// The same, to be kept over a wait.
    pub fn snapshot(&self) -> Arc<InForce> {
        self.current.load_full()
    }

    /// Was the file good when it was last looked at?
    pub fn is_good(&self) -> bool {
        self.is_good.load(Ordering::Relaxed)
    }

    /// Judges a request by its headers.
    pub async fn judge(&self, headers: &HeaderMap) -> Admission {
        let current = self.snapshot();
        match &current.guard {
            Some(guard) => guard.judge(headers, &self.checks).await,
            None => Admission::Admitted(Roles::ALL),
        }
    }

    /// The token with which this process scrapes itself, through a door of its own on loopback; made anew with each start.
    pub fn own_token(&self) -> &Secret {
        &self.own_token
    }

    /// Judges a request at the process's own door: only its own token, only for reading.
    pub fn judge_own(&self, headers: &HeaderMap) -> Admission {
        let token = super::guard::bearer(headers).unwrap_or("");
        if super::schema::sha256(token.as_bytes())
            == super::schema::sha256(self.own_token.expose().as_bytes())
        {
            Admission::Admitted(Roles::default().with(Role::Read))
        } else {
            Admission::Refused
        }
    }

    /// Adds our metrics.
    pub fn write(&self, page: &mut Exposition) {
        page.one_gauge(
            "ferula_web_config_last_reload_successful",
            "Whether the web configuration file was good when it was last looked at.",
            f64::from(u8::from(self.is_good())),
        );
        for (name, help, counter) in [
            (
                "ferula_web_config_reloads_total",
                "Changed web configurations that came into force.",
                &self.reloads,
            ),
            (
                "ferula_web_config_failures_total",
                "Changed web configurations that were refused.",
                &self.failures,
            ),
            (
                "ferula_web_unauthorized_total",
                "Requests answered with 401.",
                &self.refused,
            ),
            (
                "ferula_web_forbidden_total",
                "Requests answered with 403.",
                &self.forbidden,
            ),
        ] {
            page.one_counter(name, help, counter.get() as f64);
        }
    }

    /// Looks at the file and puts it in force when it has changed and is good.
    pub fn refresh(&self) {
        let mut last_error = self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match self.try_refresh() {
            Ok(changed) => {
                self.is_good.store(true, Ordering::Relaxed);
                *last_error = None;
                if changed {
                    self.reloads.inc();
                    tracing::info!(file = %self.path.display(), "the web configuration has changed and is in force");
                }
            }
            Err(error) => {
                self.is_good.store(false, Ordering::Relaxed);
                let text = error.to_string();
                if last_error.as_ref() != Some(&text) {
                    self.failures.inc();
                    tracing::error!(err = %text, file = %self.path.display(), "the changed web configuration is refused, the old one stays in force");
                    *last_error = Some(text);
                }
            }
        }
    }

    fn try_refresh(&self) -> Result<bool, WebConfigError> {
        let loaded = Loaded::read(&self.path)?;
        let old = self.snapshot();
        if loaded == old.loaded {
            return Ok(false);
        }
        let new = InForce::build(&loaded)?;
        let refuse = |text: &str| Err(WebConfigError::Invalid(text.to_owned()));
        if old.tls.is_some() != new.tls.is_some() {
            return refuse("TLS can be switched on and off only by a restart");
        }
        if old.guard.is_some() && new.guard.is_none() {
            return refuse("the last credential can be taken away only by a restart");
        }
        for warning in &new.warnings {
            tracing::warn!("{warning}");
        }
        self.current.store(Arc::new(new));
        self.checks.forget();
        Ok(true)
    }

    /// Looks at the file every second until the process stops.
    pub async fn watch(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(WEB_CONFIG_LOOK_EVERY) => {}
            }
            let this = Arc::clone(&self);
            let _ = tokio::task::spawn_blocking(move || this.refresh()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const TOKEN: &str = "bearer_tokens:\n- {name: a, token: 0123456789abcdef, roles: [read]}\n";

    #[test]
    fn a_change_counts_and_a_broken_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.yml");
        std::fs::write(&path, "").unwrap();
        let web = WebConfig::load(&path).unwrap();
        assert!(web.current().guard.is_none());
        std::fs::write(&path, TOKEN).unwrap();
        web.refresh();
        assert!(web.current().guard.is_some() && web.is_good());
        for broken in ["x: 1\n", "", "http_server_config: {http2: false}\n"] {
            std::fs::write(&path, broken).unwrap();
            web.refresh();
            web.refresh();
            assert!(
                web.current().guard.is_some() && !web.is_good(),
                "{broken:?}"
            );
            assert!(web.current().http2);
        }
        assert_eq!((web.reloads.get(), web.failures.get()), (1, 2));
        std::fs::remove_file(&path).unwrap();
        web.refresh();
        assert!(web.current().guard.is_some());
        std::fs::write(
            &path,
            format!("{TOKEN}http_server_config: {{http2: false}}\n"),
        )
        .unwrap();
        web.refresh();
        assert!(!web.current().http2 && web.is_good());
    }

    #[test]
    fn the_bucket_fills_with_time() {
        let limit = RateLimit::new(2, 0.1);
        let now = Instant::now();
        let taken: Vec<bool> = [0, 0, 0, 50, 100, 500, 500, 500]
            .map(|ms| limit.take(now + Duration::from_millis(ms)))
            .to_vec();
        assert_eq!(taken, [true, true, false, false, true, true, true, false]);
        assert!(!RateLimit::new(0, 1.0).take(now));
    }
}

//! How to reach the Kubernetes API: the pod's service account, a kubeconfig file, or a URL.
//!
//! Promise: tokens and certificates in files are read again for every connection. Of kubeconfig: clusters, contexts and
//! users with a token, client certificates, or user and password; commands to run (`exec`) and the retired provider
//! plug-ins are refused.

use super::config::ApiServer;
use crate::http_client::config::{
    Authorization, BasicAuth, HttpClientConfig, ProxyConfig, Secret, SecretSource, TextSource,
    TlsConfig,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where a pod finds its account.
pub(super) const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The API and how to connect.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Access {
    /// Without a slash at the end.
    pub(super) base: String,
    pub(super) http: HttpClientConfig,
}

/// Reads what there is to read.
pub(super) fn access(api: &ApiServer) -> Result<Access, String> {
    let mut access = match api {
        ApiServer::InCluster => {
            let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
            let host = variable("KUBERNETES_SERVICE_HOST");
            let port = variable("KUBERNETES_SERVICE_PORT");
            in_cluster(host.as_deref(), port.as_deref(), Path::new(SERVICE_ACCOUNT))?
        }
        ApiServer::Kubeconfig(path) => {
            let shown = path.display();
            let text = std::fs::read_to_string(path).map_err(|e| format!("{shown}: {e}"))?;
            let folder = path.parent().unwrap_or_else(|| Path::new("."));
            kubeconfig(&text, folder).map_err(|e| format!("{shown}: {e}"))?
        }
        ApiServer::Url { url, http } => Access {
            base: url.clone(),
            http: (**http).clone(),
        },
    };
    // A watch holds its connection; HTTP/2 would put all of them on one.
    access.http.enable_http2 = false;
    let trimmed = access.base.trim_end_matches('/').len();
    access.base.truncate(trimmed);
    Ok(access)
}

fn in_cluster(host: Option<&str>, port: Option<&str>, account: &Path) -> Result<Access, String> {
    let (Some(host), Some(port)) = (host, port) else {
        return Err("unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined".to_owned());
    };
    let token = account.join("token");
    std::fs::metadata(&token).map_err(|e| format!("open {}: {e}", token.display()))?;
    let ca = account.join("ca.crt");
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    Ok(Access {
        base: format!("https://{host}:{port}"),
        http: HttpClientConfig {
            authorization: bearer(SecretSource::File(token)),
            tls: TlsConfig {
                ca: ca.exists().then_some(TextSource::File(ca)),
                ..TlsConfig::default()
            },
            ..HttpClientConfig::default()
        },
    })
}

fn bearer(credentials: SecretSource) -> Option<Authorization> {
    Some(Authorization {
        kind: "Bearer".to_owned(),
        credentials: Some(credentials),
    })
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct File {
    current_context: String,
    clusters: Vec<NamedCluster>,
    contexts: Vec<NamedContext>,
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    #[serde(default)]
    user: Option<User>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: String,
    tls_server_name: String,
    insecure_skip_tls_verify: bool,
    certificate_authority: String,
    certificate_authority_data: String,
    proxy_url: String,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    #[serde(default)]
    user: String,
}

#[derive(Deserialize, Default, Clone)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    client_key_data: String,
    token: String,
    #[serde(rename = "tokenFile")]
    token_file: String,
    username: String,
    password: String,
    exec: Option<serde_json::Value>,
    auth_provider: Option<serde_json::Value>,
}

/// Text that stands in the file in base64, or in a file of its own beside it.
fn material(data: &str, file: &str, folder: &Path) -> Result<Option<Material>, String> {
    if !data.is_empty() {
        let packed: String = data.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(packed).map_err(|e| e.to_string())?;
        let text = String::from_utf8(bytes).map_err(|e| e.to_string())?;
        return Ok(Some(Material::Text(text)));
    }
    Ok((!file.is_empty()).then(|| Material::File(folder.join(file))))
}

enum Material {
    Text(String),
    File(PathBuf),
}

impl Material {
    fn text(self) -> TextSource {
        match self {
            Material::Text(text) => TextSource::Inline(text),
            Material::File(path) => TextSource::File(path),
        }
    }

    fn secret(self) -> SecretSource {
        match self {
            Material::Text(text) => SecretSource::Inline(Secret::new(text)),
            Material::File(path) => SecretSource::File(path),
        }
    }
}

fn kubeconfig(text: &str, folder: &Path) -> Result<Access, String> {
    let file: File = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
    let wanted = &file.current_context;
    let context = file.contexts.iter().find(|c| c.name == *wanted);
    let context = &context
        .ok_or_else(|| format!("context {wanted:?} does not exist"))?
        .context;
    let cluster = file.clusters.iter().find(|c| c.name == context.cluster);
    let cluster = &cluster
        .ok_or_else(|| format!("cluster {:?} does not exist", context.cluster))?
        .cluster;
    if cluster.server.is_empty() {
        return Err(format!("cluster {:?} has no server", context.cluster));
    }
    let user = match context.user.as_str() {
        "" => User::default(),
        name => file
            .users
            .iter()
            .find(|u| u.name == name)
            .ok_or_else(|| format!("auth info {name:?} does not exist"))?
            .user
            .clone()
            .unwrap_or_default(),
    };
    if user.exec.is_some() || user.auth_provider.is_some() {
        return Err(format!(
            "user {:?} needs a command or plug-in to authenticate, which is not supported: use a token, a token file, or client certificates",
            context.user
        ));
    }
    let authorization = if !user.token_file.is_empty() {
        bearer(SecretSource::File(folder.join(&user.token_file)))
    } else if !user.token.is_empty() {
        bearer(SecretSource::Inline(Secret::new(user.token)))
    } else {
        None
    };
    let basic_auth = (!user.username.is_empty()).then(|| BasicAuth {
        username: Some(TextSource::Inline(user.username)),
        password: Some(SecretSource::Inline(Secret::new(user.password))),
    });
    let of = |what: &str, data: &str, path: &str| {
        material(data, path, folder).map_err(|e| format!("{what}: {e}"))
    };
    let ca = of(
        "certificate-authority-data",
        &cluster.certificate_authority_data,
        &cluster.certificate_authority,
    )?;
    let cert = of(
        "client-certificate-data",
        &user.client_certificate_data,
        &user.client_certificate,
    )?;
    let key = of("client-key-data", &user.client_key_data, &user.client_key)?;
    Ok(Access {
        base: cluster.server.clone(),
        http: HttpClientConfig {
            basic_auth,
            authorization,
            tls: TlsConfig {
                ca: ca.map(Material::text),
                cert: cert.map(Material::text),
                key: key.map(Material::secret),
                server_name: cluster.tls_server_name.clone(),
                insecure_skip_verify: cluster.insecure_skip_tls_verify,
                ..TlsConfig::default()
            },
            proxy: ProxyConfig {
                url: Some(cluster.proxy_url.clone()).filter(|u| !u.is_empty()),
                ..ProxyConfig::default()
            },
            ..HttpClientConfig::default()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "apiVersion: v1\nkind: Config\ncurrent-context: two\npreferences: {}\nclusters:\n- name: c1\n  cluster: {server: 'https://one:6443'}\n- name: c2\n  cluster:\n    server: https://two:6443/\n    certificate-authority-data: Q0E=\n    tls-server-name: other\ncontexts:\n- name: two\n  context: {cluster: c2, user: u2, namespace: n}\nusers:\n- name: u2\n  user:\n    client-certificate: cert.pem\n    client-key-data: S0VZ\n    tokenFile: /abs/token\n- name: u3\n  user: {exec: {command: aws}}\n";

    #[test]
    fn kubeconfig_files_name_cluster_and_user() {
        let access = kubeconfig(FILE, Path::new("/home/k")).unwrap();
        assert_eq!(access.base, "https://two:6443/");
        let http = &access.http;
        assert_eq!(http.tls.ca, Some(TextSource::Inline("CA".into())));
        assert_eq!(
            http.tls.cert,
            Some(TextSource::File("/home/k/cert.pem".into()))
        );
        assert_eq!(http.tls.key, Some(SecretSource::Inline(Secret::new("KEY"))));
        assert_eq!(http.tls.server_name, "other");
        let token = http.authorization.as_ref().unwrap().credentials.as_ref();
        assert_eq!(token, Some(&SecretSource::File("/abs/token".into())));
        let refused = |change: (&str, &str)| {
            let text = FILE.replace(change.0, change.1);
            kubeconfig(&text, Path::new("/")).unwrap_err()
        };
        assert!(refused(("user: u2", "user: u3")).contains("command or plug-in"));
        assert_eq!(
            refused(("current-context: two", "current-context: x")),
            "context \"x\" does not exist"
        );
        assert_eq!(
            refused(("cluster: c2", "cluster: c9")),
            "cluster \"c9\" does not exist"
        );
    }

    #[test]
    fn pods_find_the_api_by_their_account() {
        let folder = tempfile::tempdir().unwrap();
        let missing = in_cluster(Some("10.0.0.1"), Some("443"), folder.path());
        assert!(missing.unwrap_err().contains("token"));
        std::fs::write(folder.path().join("token"), "t").unwrap();
        let access = in_cluster(Some("fd00::1"), Some("443"), folder.path()).unwrap();
        assert_eq!(access.base, "https://[fd00::1]:443");
        assert_eq!(access.http.tls.ca, None);
        assert!(in_cluster(None, Some("443"), folder.path()).is_err());
    }
}

//! Label pairs of discovered targets: names from foreign text, addresses.

/// Labels of one target.
pub(crate) type Pairs = Vec<(String, String)>;

/// Makes foreign text fit into a label name: every character that may not be there becomes `_`.
pub(crate) fn sanitize(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => c,
            _ => '_',
        })
        .collect()
}

/// `host:port`, with brackets around an IPv6 address.
pub(crate) fn join_host_port(host: &str, port: impl std::fmt::Display) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// A list within its own separator, so that patterns need not care for first and last.
pub(crate) fn enclosed(values: &[String], separator: &str) -> String {
    format!("{separator}{}{separator}", values.join(separator))
}

/// One pair.
pub(crate) fn pair(name: impl Into<String>, value: impl Into<String>) -> (String, String) {
    (name.into(), value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_becomes_label_names() {
        assert_eq!(
            sanitize("app.kubernetes.io/name-ü"),
            "app_kubernetes_io_name__"
        );
        assert_eq!(join_host_port("::1", 80), "[::1]:80");
        assert_eq!(join_host_port("h", 80), "h:80");
        assert_eq!(enclosed(&["a".into(), "b".into()], ","), ",a,b,");
        assert_eq!(enclosed(&[], ","), ",,");
    }
}

//! Results as JUnit's XML.

/// The tests of one file.
#[derive(Debug, Default)]
pub(super) struct Suite {
    name: String,
    abort: Option<String>,
    cases: Vec<(String, Vec<String>)>,
}

impl Suite {
    pub(super) fn new(name: &str) -> Self {
        Suite {
            name: name.to_owned(),
            ..Suite::default()
        }
    }

    /// The file could not be tested at all.
    pub(super) fn abort(&mut self, fault: &str) {
        self.abort = Some(fault.to_owned());
    }

    /// One group of tests and what was wrong with it.
    pub(super) fn case(&mut self, name: String, faults: Vec<String>) {
        self.cases.push((name, faults));
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
        .replace('\n', "&#xA;")
}

/// The whole document.
pub(super) fn xml(suites: &[Suite]) -> String {
    let mut out = String::from("<testsuites>\n");
    for suite in suites {
        let failures: usize = suite.cases.iter().map(|(_, faults)| faults.len()).sum();
        let errors = usize::from(suite.abort.is_some());
        out.push_str(&format!(
            "<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\">\n",
            escaped(&suite.name),
            suite.cases.len()
        ));
        if let Some(fault) = &suite.abort {
            out.push_str(&format!("<error>{}</error>\n", escaped(fault)));
        }
        for (name, faults) in &suite.cases {
            out.push_str(&format!("<testcase name=\"{}\">", escaped(name)));
            for fault in faults {
                out.push_str(&format!("<failure>{}</failure>", escaped(fault)));
            }
            out.push_str("</testcase>\n");
        }
        out.push_str("</testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted_and_escaped() {
        let mut suite = Suite::new("a<b");
        suite.case("x".to_owned(), vec!["1 < 2\n\"q\"".to_owned()]);
        suite.case("y".to_owned(), Vec::new());
        let xml = xml(&[suite]);
        assert!(xml.contains("name=\"a&lt;b\" tests=\"2\" failures=\"1\" errors=\"0\""));
        assert!(xml.contains("<failure>1 &lt; 2&#xA;&#34;q&#34;</failure>"));
    }
}

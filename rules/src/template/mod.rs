//! Templates in labels and annotations: Go's `text/template` with Prometheus's functions.
//!
//! Promise: a text that Prometheus expands is expanded to the same bytes; one that it refuses is refused when the rule file is read, and what goes
//! wrong later becomes an error text, never a lost alert. The work is done by `gotmpl`; what differs from Go is put right on its tree before the
//! first expansion: fields of maps and structures, floats, locations of errors (`tree`).
//! Not here: when templates are expanded (`alert`).

mod builtins;
mod functions;
mod go_value;
mod times;
mod tree;

use crate::limits::TEMPLATE_ROUNDS_MAX;
use crate::source::{External, Source, Value};
use std::sync::{Arc, Mutex, PoisonError};
use storage_engine::model::{Labels, TimestampMs};

/// A duration in nanoseconds as Go prints it: `1h2m3.5s`.
pub fn go_duration(nanoseconds: i64) -> String {
    times::print_duration(nanoseconds)
}

/// What every template of a rule begins with, so that `$labels` means something.
const DEFINITIONS: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// The moment of an expansion, as functions see it.
#[derive(Clone)]
pub(crate) struct Moment {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) at_ms: TimestampMs,
    pub(crate) external: Arc<External>,
}

/// Where functions find the moment; set for the time of one expansion.
pub(crate) type Slot = Arc<Mutex<Option<Moment>>>;

/// One text of a rule, read once and expanded many times.
pub struct Template {
    name: String,
    text: String,
    /// None for a text without actions.
    compiled: Option<Compiled>,
}

struct Compiled {
    template: gotmpl::Template,
    slot: Slot,
    /// Expansions share the slot, so they take turns.
    turn: Mutex<()>,
}

/// What a template is expanded over.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Labels of the element.
    pub labels: &'a Labels,
    /// Its value.
    pub value: &'a Value,
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl Template {
    /// Reads a text of the alert of that name; the error is Go's.
    pub fn new(alert: &str, text: &str) -> Result<Self, String> {
        let name = format!("__alert_{alert}");
        let compiled = match text.contains("{{") {
            true => Some(compile(&name, &format!("{DEFINITIONS}{text}"))?),
            false => None,
        };
        Ok(Template {
            name,
            text: text.to_owned(),
            compiled,
        })
    }

    /// The text as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text for this subject; an error becomes the text `<error expanding template: …>`, and is given back beside it.
    pub(crate) fn expand(&self, subject: Subject<'_>, moment: &Moment) -> (String, Option<String>) {
        match self.try_expand(subject, moment) {
            Ok(text) => (text, None),
            Err(error) => {
                let error = format!("error executing template {}: {error}", self.name);
                (format!("<error expanding template: {error}>"), Some(error))
            }
        }
    }

    fn try_expand(&self, subject: Subject<'_>, moment: &Moment) -> Result<String, String> {
        let Some(compiled) = &self.compiled else {
            return Ok(self.text.clone());
        };
        let _turn = compiled.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let set = |moment| {
            *compiled.slot.lock().unwrap_or_else(PoisonError::into_inner) = moment;
        };
        set(Some(moment.clone()));
        let data = go_value::subject(subject, &moment.external);
        let mut out = Limited::default();
        let done = compiled
            .template
            .execute_template_fmt(&mut out, &self.name, &data);
        set(None);
        match done {
            Ok(()) => Ok(out.text),
            Err(_) if out.is_full => Err(format!(
                "template: {}: the text is longer than {} bytes",
                self.name,
                crate::limits::TEMPLATE_OUTPUT_BYTES_MAX
            )),
            Err(error) => Err(self.located(&error)),
        }
    }

    /// An error in Go's shape, if it is not already.
    fn located(&self, error: &gotmpl::TemplateError) -> String {
        let text = match error {
            gotmpl::TemplateError::Exec(text) => text.clone(),
            gotmpl::TemplateError::UndefinedTemplate(name) => {
                format!("template {name:?} not defined")
            }
            other => other.to_string(),
        };
        match text.starts_with("template: ") {
            true => text,
            false => format!("template: {}: {text}", self.name),
        }
    }
}

/// A text that does not grow without end.
#[derive(Default)]
struct Limited {
    text: String,
    is_full: bool,
}

impl std::fmt::Write for Limited {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        if self.text.len() + part.len() > crate::limits::TEMPLATE_OUTPUT_BYTES_MAX {
            self.is_full = true;
            return Err(std::fmt::Error);
        }
        self.text.push_str(part);
        Ok(())
    }
}

fn compile(name: &str, source: &str) -> Result<Compiled, String> {
    let slot = Slot::default();
    let parsed = gotmpl::Template::new(name)
        .max_range_iters(TEMPLATE_ROUNDS_MAX)
        .parse(source)
        .map_err(|error| parse_text(name, source, &error))?;
    let names: Vec<String> = parsed.templates().iter().map(|n| (*n).to_owned()).collect();
    let mut sites = tree::Sites::new(name, source);
    let mut trees = Vec::new();
    for of in names {
        if let Some(tree) = parsed.lookup(&of) {
            let mut tree = tree.clone();
            sites.rewrite(&mut tree)?;
            trees.push((of, tree));
        }
    }
    let mut template = parsed;
    for (of, tree) in trees {
        template = template.add_parse_tree(&of, tree);
    }
    let mut functions = gotmpl::FuncMap::new();
    builtins::add(&mut functions);
    sites.add(&mut functions, &slot);
    Ok(Compiled {
        template: template.funcs(functions),
        slot,
        turn: Mutex::new(()),
    })
}

/// A parse error as Go writes it: the line, no column.
fn parse_text(name: &str, source: &str, error: &gotmpl::TemplateError) -> String {
    match error {
        gotmpl::TemplateError::Parse { line, message, .. }
        | gotmpl::TemplateError::Lex { line, message, .. } => {
            let message = match message.as_str() {
                "empty command" => format!("missing value for {}", empty_action(source)),
                message => message.to_owned(),
            };
            format!("template: {name}:{line}: {message}")
        }
        other => format!("template: {name}: {other}"),
    }
}

/// Which of the actions that need a value has none.
fn empty_action(source: &str) -> &'static str {
    let mut actions = source.split("{{").filter_map(|part| part.split_once("}}"));
    let found = actions.find_map(|(inside, _)| {
        let inside = inside.trim_matches(['-', ' ', '\t', '\n', '\r']);
        ["if", "range", "with"]
            .into_iter()
            .find(|word| inside == *word)
    });
    found.unwrap_or("command")
}

#[cfg(test)]
mod tests;

//! Syntax tree to JSON, as `/api/v1/parse_query` answers: the fields of Prometheus, keys in alphabetical order.

use super::ast::*;
use crate::number_text::{format_plain, format_value};
use storage_engine::model::Matcher;

/// The tree as one JSON object.
pub fn ast_json(expr: &Expr) -> String {
    let mut out = String::new();
    write_node(expr, &mut out);
    out
}

fn write_node(expr: &Expr, out: &mut String) {
    match expr {
        Expr::Aggregate(e) => {
            out.push_str("{\"expr\":");
            write_node(&e.expr, out);
            out.push_str(",\"grouping\":");
            write_list(&e.grouping, out, |label, out| write_string(label, out));
            out.push_str(",\"op\":");
            write_string(e.op.as_str(), out);
            out.push_str(",\"param\":");
            match &e.param {
                Some(param) => write_node(param, out),
                None => out.push_str("null"),
            }
            out.push_str(&format!(
                ",\"type\":\"aggregation\",\"without\":{}}}",
                e.without
            ));
        }
        Expr::Binary(e) => {
            out.push_str(&format!("{{\"bool\":{},\"lhs\":", e.return_bool));
            write_node(&e.lhs, out);
            out.push_str(",\"matching\":");
            match &e.matching {
                Some(matching) => write_matching(matching, out),
                None => out.push_str("null"),
            }
            out.push_str(",\"op\":");
            write_string(e.op.as_str(), out);
            out.push_str(",\"rhs\":");
            write_node(&e.rhs, out);
            out.push_str(",\"type\":\"binaryExpr\"}");
        }
        Expr::Call(e) => {
            out.push_str("{\"args\":");
            write_list(&e.args, out, write_node);
            out.push_str(",\"func\":{\"argTypes\":");
            write_list(e.func.args, out, |t, out| write_string(t.as_str(), out));
            out.push_str(&format!(
                ",\"name\":\"{}\",\"returnType\":\"{}\",\"variadic\":{}}},\"type\":\"call\"}}",
                e.func.name,
                e.func.return_type.as_str(),
                e.func.variadic
            ));
        }
        Expr::Vector(e) => write_selector("vectorSelector", e, None, out),
        Expr::Matrix(e) => write_selector("matrixSelector", &e.selector, Some(e.range), out),
        Expr::Subquery(e) => {
            out.push_str("{\"expr\":");
            write_node(&e.expr, out);
            out.push_str(&format!(
                ",\"offset\":{},\"range\":{},\"startOrEnd\":{},\"step\":{},\"timestamp\":{},\"type\":\"subquery\"}}",
                e.original_offset,
                e.range,
                start_or_end(e.at),
                e.step,
                timestamp(e.at)
            ));
        }
        Expr::Number(e) => {
            out.push_str("{\"type\":\"numberLiteral\",\"val\":\"");
            format_plain(e.value, out);
            out.push_str("\"}");
        }
        Expr::String(e) => {
            out.push_str("{\"type\":\"stringLiteral\",\"val\":");
            write_string(&String::from_utf8_lossy(&e.value), out);
            out.push('}');
        }
        Expr::Paren(e) => {
            out.push_str("{\"expr\":");
            write_node(&e.expr, out);
            out.push_str(",\"type\":\"parenExpr\"}");
        }
        Expr::Unary(e) => {
            out.push_str("{\"expr\":");
            write_node(&e.expr, out);
            out.push_str(&format!(
                ",\"op\":\"{}\",\"type\":\"unaryExpr\"}}",
                e.op.as_str()
            ));
        }
        // Durations are written as the numbers of the nodes that hold them.
        Expr::Duration(_) => out.push_str("null"),
    }
}

fn write_selector(kind: &str, e: &VectorSelector, range: Option<i64>, out: &mut String) {
    out.push_str(&format!("{{\"anchored\":{},\"matchers\":", e.anchored));
    write_list(&e.matchers, out, |m: &Matcher, out| {
        out.push_str("{\"name\":");
        write_string(&m.name, out);
        out.push_str(&format!(",\"type\":\"{}\",\"value\":", m.op.as_str()));
        write_string(&m.value, out);
        out.push('}');
    });
    out.push_str(",\"name\":");
    write_string(&e.name, out);
    out.push_str(&format!(",\"offset\":{}", e.original_offset));
    if let Some(range) = range {
        out.push_str(&format!(",\"range\":{range}"));
    }
    out.push_str(&format!(
        ",\"smoothed\":{},\"startOrEnd\":{},\"timestamp\":{},\"type\":\"{kind}\"}}",
        e.smoothed,
        start_or_end(e.at),
        timestamp(e.at)
    ));
}

fn write_matching(m: &VectorMatching, out: &mut String) {
    out.push_str(&format!(
        "{{\"card\":\"{}\",\"fillValues\":{{\"lhs\":",
        m.card.as_str()
    ));
    write_fill(m.fill_left, out);
    out.push_str(",\"rhs\":");
    write_fill(m.fill_right, out);
    out.push_str("},\"include\":");
    write_list(&m.include, out, |label, out| write_string(label, out));
    out.push_str(",\"labels\":");
    write_list(&m.labels, out, |label, out| write_string(label, out));
    out.push_str(&format!(",\"on\":{}}}", m.on));
}

/// JSON has no NaN and no infinities: those become null.
fn write_fill(value: Option<f64>, out: &mut String) {
    match value {
        Some(value) if value.is_finite() => format_value(value, out),
        _ => out.push_str("null"),
    }
}

fn start_or_end(at: Option<AtModifier>) -> &'static str {
    match at {
        Some(AtModifier::Start) => "\"start\"",
        Some(AtModifier::End) => "\"end\"",
        Some(AtModifier::Timestamp(_)) | None => "null",
    }
}

fn timestamp(at: Option<AtModifier>) -> String {
    match at {
        Some(AtModifier::Timestamp(ms)) => ms.to_string(),
        _ => "null".to_owned(),
    }
}

fn write_list<T>(items: &[T], out: &mut String, write: impl Fn(&T, &mut String)) {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(']');
}

/// A JSON string, `<`, `>`, `&` and the line separators escaped as Go's encoder does.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

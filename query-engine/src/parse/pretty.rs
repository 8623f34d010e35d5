//! Syntax tree to text over several lines, as `/api/v1/format_query` answers.
//!
//! A node that fits the width stays on its line; a longer one puts each operand or argument on lines of its own, two spaces deeper.

use super::ast::*;
use super::print::{aggregation, operator, unsigned_base, window};
use std::fmt::{self, Write};

/// Longest line in bytes before a node is split.
pub const PRETTY_WIDTH: usize = 100;

/// The query over several lines, each node at most [`PRETTY_WIDTH`] bytes where it can be split.
pub fn prettify(expr: &Expr) -> String {
    prettify_within(expr, PRETTY_WIDTH)
}

/// As [`prettify`], with another width.
pub fn prettify_within(expr: &Expr, width: usize) -> String {
    let mut printer = Printer {
        out: String::new(),
        width,
    };
    printer.node(expr, 0);
    printer.out
}

/// Counts bytes and gives up beyond a bound, so that asking "does it fit" costs no more than the width.
struct Fits {
    left: usize,
}

impl Write for Fits {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.left = self.left.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}

struct Printer {
    out: String,
    width: usize,
}

impl Printer {
    fn fits(&self, expr: &Expr) -> bool {
        write!(Fits { left: self.width }, "{expr}").is_ok()
    }

    fn indent(&mut self, level: usize) {
        for _ in 0..level {
            self.out.push_str("  ");
        }
    }

    fn close(&mut self, level: usize) {
        self.out.push('\n');
        self.indent(level);
        self.out.push(')');
    }

    fn flat(&mut self, expr: &Expr) {
        self.out.push_str(&expr.to_string());
    }

    fn node(&mut self, expr: &Expr, level: usize) {
        match expr {
            Expr::Unary(e) => {
                self.indent(level);
                self.out.push_str(e.op.as_str());
                // The sign takes the place of the operand's own indentation.
                let start = self.out.len();
                self.node(&e.expr, level);
                let operand = self.out.split_off(start);
                self.out.push_str(operand.trim());
                return;
            }
            // Prometheus leaves a short subquery without indentation.
            Expr::Subquery(e) => {
                if self.fits(expr) {
                    self.flat(expr);
                } else {
                    self.node(&e.expr, level);
                    self.out.push_str(&window(e).to_string());
                }
                return;
            }
            Expr::Number(_)
            | Expr::String(_)
            | Expr::Vector(_)
            | Expr::Matrix(_)
            | Expr::Duration(_) => {
                self.indent(level);
                self.flat(expr);
                return;
            }
            Expr::Binary(_) | Expr::Aggregate(_) | Expr::Call(_) | Expr::Paren(_) => {}
        }
        if self.fits(expr) {
            self.indent(level);
            self.flat(expr);
            return;
        }
        match expr {
            Expr::Binary(e) => {
                match unsigned_base(e) {
                    Some(base) => {
                        self.indent(level + 1);
                        self.out.push_str(base);
                    }
                    None => self.node(&e.lhs, level + 1),
                }
                self.out.push('\n');
                self.indent(level);
                self.out.push_str(&operator(e));
                self.out.push('\n');
                self.node(&e.rhs, level + 1);
            }
            Expr::Aggregate(e) => {
                self.indent(level);
                self.out.push_str(&aggregation(e));
                self.out.push_str("(\n");
                if let Some(param) = &e.param {
                    self.node(param, level + 1);
                    self.out.push_str(",\n");
                }
                self.node(&e.expr, level + 1);
                self.close(level);
            }
            Expr::Call(e) => {
                self.indent(level);
                self.out.push_str(e.func.name);
                self.out.push_str("(\n");
                for (index, arg) in e.args.iter().enumerate() {
                    if index > 0 {
                        self.out.push_str(",\n");
                    }
                    self.node(arg, level + 1);
                }
                self.close(level);
            }
            Expr::Paren(e) => {
                self.indent(level);
                self.out.push_str("(\n");
                self.node(&e.expr, level + 1);
                self.close(level);
            }
            other => unreachable!("written above: {other:?}"),
        }
    }
}

//! What is changed on a template's tree before it is used: fields, functions and prints go through our own functions, each of which knows where
//! it stands in the text.
//!
//! A field access becomes a call of [`GET`] with the value and the path; a call of one of Prometheus's functions gets a name of its own
//! (`first@117`), bound to its place; an action that prints ends in [`PRINT`], which writes values as Go does.

use super::functions::{self, FUNCTIONS, GET, PRINT};
use super::{Slot, builtins};
use gotmpl::parse::{
    ActionNode, CommandNode, Expr, ListNode, Node, Number, PipeNode, Pos, TemplateNode,
};
use gotmpl::{FuncMap, TemplateError};
use query_engine::eval::text::{go_g, go_quote};
#[cfg(test)]
use std::collections::HashSet;
use std::sync::Arc;

/// A place at which one of our functions is called.
struct Site {
    /// The name in the tree.
    unique: String,
    /// Which function.
    function: &'static str,
    /// What stands before the reason of an error there.
    context: String,
}

/// All such places of a template.
pub(super) struct Sites<'a> {
    name: &'a str,
    source: &'a str,
    sites: Vec<Site>,
    /// Variables in scope, innermost last.
    variables: Vec<String>,
}

impl<'a> Sites<'a> {
    pub(super) fn new(name: &'a str, source: &'a str) -> Self {
        Sites {
            name,
            source,
            sites: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// Binds the functions to their places.
    pub(super) fn add(self, to: &mut FuncMap, slot: &Slot) {
        for site in self.sites {
            let slot = Arc::clone(slot);
            let function = site.function;
            let context = site.context;
            let call = move |args: &[gotmpl::Value]| {
                functions::call(function, args, &slot)
                    .map_err(|reason| TemplateError::Exec(format!("{context}: {reason}")))
            };
            to.insert(site.unique, Arc::new(call));
        }
    }

    /// Changes one tree; the error is a parse error of Go's.
    pub(super) fn rewrite(&mut self, tree: &mut ListNode) -> Result<(), String> {
        self.variables = vec!["$".to_owned()];
        self.list(tree)
    }

    fn list(&mut self, list: &mut ListNode) -> Result<(), String> {
        list.nodes.iter_mut().try_for_each(|node| self.node(node))
    }

    /// A block whose variables end with it.
    fn scoped(&mut self, body: impl FnOnce(&mut Self) -> Result<(), String>) -> Result<(), String> {
        let depth = self.variables.len();
        let done = body(self);
        self.variables.truncate(depth);
        done
    }

    fn node(&mut self, node: &mut Node) -> Result<(), String> {
        match node {
            Node::List(list) => self.list(list),
            Node::Action(ActionNode { pipe, .. }) => {
                self.pipe(pipe)?;
                if pipe.decl.is_empty() {
                    let print = Expr::Identifier(pipe.pos, PRINT.into());
                    pipe.commands.push(command(pipe.pos, vec![print]));
                }
                Ok(())
            }
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => self.scoped(|sites| {
                sites.pipe(&mut branch.pipe)?;
                sites.scoped(|sites| sites.list(&mut branch.body))?;
                match &mut branch.else_body {
                    Some(body) => sites.scoped(|sites| sites.list(body)),
                    None => Ok(()),
                }
            }),
            Node::Template(TemplateNode {
                pipe: Some(pipe), ..
            }) => self.pipe(pipe),
            // Definitions have trees of their own.
            Node::Template(_)
            | Node::Define(_)
            | Node::Text(_)
            | Node::Break(_)
            | Node::Continue(_) => Ok(()),
        }
    }

    fn pipe(&mut self, pipe: &mut PipeNode) -> Result<(), String> {
        for command in &mut pipe.commands {
            self.command(command)?;
        }
        if !pipe.is_assign {
            let declared = pipe.decl.iter().map(|name| name.to_string());
            self.variables.extend(declared);
        }
        Ok(())
    }

    fn command(&mut self, command: &mut CommandNode) -> Result<(), String> {
        let text = command_text(command);
        let mut args = std::mem::take(&mut command.args).into_iter();
        let Some(first) = args.next() else {
            return Ok(());
        };
        let mut out = match first {
            Expr::Identifier(pos, name) => vec![self.identifier(pos, &name, &text)?],
            other => match self.field_call(other, &text)? {
                Ok(call) => call,
                Err(other) => vec![self.expr(other)?],
            },
        };
        for arg in args {
            out.push(self.expr(arg)?);
        }
        command.args = out;
        Ok(())
    }

    /// A function's name where it is called.
    fn identifier(&mut self, pos: Pos, name: &str, text: &str) -> Result<Expr, String> {
        let mut ours = FUNCTIONS.iter().chain(&builtins::OWN);
        if let Some(function) = ours.find(|f| **f == name) {
            let unique = self.site(pos, function, text);
            return Ok(Expr::Identifier(pos, unique.as_str().into()));
        }
        if builtins::PLAIN.contains(&name) {
            return Ok(Expr::Identifier(pos, name.into()));
        }
        Err(self.parse_error(pos, &format!("function {name:?} not defined")))
    }

    fn parse_error(&self, pos: Pos, reason: &str) -> String {
        let (line, _) = self.place(pos);
        format!("template: {}:{line}: {reason}", self.name)
    }

    /// Where fields are taken: the call that takes them, without further arguments; any other expression is given back.
    fn field_call(&mut self, expr: Expr, text: &str) -> Result<Result<Vec<Expr>, Expr>, String> {
        // Go tells the place of the second name of a path.
        let behind = |pos: Pos, length: usize| Pos::new(pos.offset + length, pos.line);
        let (pos, base, path) = match expr {
            Expr::Field(pos, path) => {
                let first = path.first().map_or(0, |name| name.len() + 1);
                let at = if path.len() > 1 { first } else { 0 };
                (behind(pos, at), Expr::Dot(pos), path)
            }
            Expr::Variable(pos, name, path) if !path.is_empty() => {
                self.check_variable(pos, &name)?;
                let at = behind(pos, name.len());
                (at, Expr::Variable(pos, name, Vec::new()), path)
            }
            Expr::Chain(pos, inner, path) => {
                let inner = self.expr(*inner)?;
                (pos, inner, path)
            }
            other => return Ok(Err(other)),
        };
        let path: Vec<&str> = path.iter().map(|name| name.as_str()).collect();
        let unique = self.site(pos, GET, text);
        Ok(Ok(vec![
            Expr::Identifier(pos, unique.as_str().into()),
            base,
            Expr::String(pos, path.join(".").into()),
        ]))
    }

    fn check_variable(&self, pos: Pos, name: &str) -> Result<(), String> {
        match self.variables.iter().any(|known| known == name) {
            true => Ok(()),
            false => Err(self.parse_error(pos, &format!("undefined variable {name:?}"))),
        }
    }

    fn expr(&mut self, expr: Expr) -> Result<Expr, String> {
        let text = expr_text(&expr);
        Ok(match expr {
            Expr::Identifier(pos, name) => self.identifier(pos, &name, &text)?,
            Expr::Pipe(pos, mut pipe) => {
                self.pipe(&mut pipe)?;
                Expr::Pipe(pos, pipe)
            }
            Expr::Variable(pos, name, path) if path.is_empty() => {
                self.check_variable(pos, &name)?;
                Expr::Variable(pos, name, path)
            }
            other => {
                let pos = other.pos();
                match self.field_call(other, &text)? {
                    Ok(call) => Expr::Pipe(pos, pipe_of(pos, call)),
                    Err(other) => other,
                }
            }
        })
    }

    /// Notes a place; what comes back is the name to call there.
    fn site(&mut self, pos: Pos, function: &'static str, text: &str) -> String {
        let (line, column) = self.place(pos);
        let name = self.name;
        let unique = format!("{function}@{}", self.sites.len());
        self.sites.push(Site {
            unique: unique.clone(),
            function,
            context: format!(
                "template: {name}:{line}:{column}: executing {} at <{text}>",
                go_quote(name.as_bytes())
            ),
        });
        unique
    }

    /// Line from 1 and bytes before the place on its line.
    fn place(&self, pos: Pos) -> (usize, usize) {
        let before = self.source.get(..pos.offset).unwrap_or(self.source);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before.len() - start)
    }
}

fn command(pos: Pos, args: Vec<Expr>) -> CommandNode {
    CommandNode { pos, args }
}

fn pipe_of(pos: Pos, args: Vec<Expr>) -> PipeNode {
    PipeNode {
        pos,
        decl: Vec::new(),
        commands: vec![command(pos, args)],
        is_assign: false,
    }
}

fn command_text(command: &CommandNode) -> String {
    let args: Vec<String> = command.args.iter().map(expr_text).collect();
    args.join(" ")
}

/// An expression as Go prints it back.
fn expr_text(expr: &Expr) -> String {
    let path = |path: &[gotmpl::parse::SmolStr]| -> String {
        path.iter().map(|name| format!(".{name}")).collect()
    };
    match expr {
        Expr::Dot(_) => ".".to_owned(),
        Expr::Field(_, names) => path(names),
        Expr::Variable(_, name, names) => format!("{name}{}", path(names)),
        Expr::Identifier(_, name) => name.to_string(),
        Expr::String(_, text) => go_quote(text.as_bytes()),
        Expr::Number(_, Number::Int(n)) => n.to_string(),
        Expr::Number(_, Number::Uint(n)) => n.to_string(),
        Expr::Number(_, Number::Float(n)) => go_g(*n),
        Expr::Bool(_, value) => value.to_string(),
        Expr::Nil(_) => "nil".to_owned(),
        Expr::Pipe(_, pipe) => {
            let commands: Vec<String> = pipe.commands.iter().map(command_text).collect();
            format!("({})", commands.join(" | "))
        }
        Expr::Chain(_, inner, names) => format!("{}{}", expr_text(inner), path(names)),
    }
}

/// Names are unique: a call by any of them finds one function.
#[cfg(test)]
pub(super) fn all_names() -> HashSet<&'static str> {
    let ours = FUNCTIONS.iter().chain(&builtins::OWN);
    ours.chain(&builtins::PLAIN).copied().collect()
}

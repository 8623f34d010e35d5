//! What the nodes of a program have yielded, until all who use it have had it.
//!
//! Promise: the last user gets the value itself, those before it a copy that is paid for.

use super::Outcome;
use crate::eval::budget::Budget;
use crate::eval::error::EvalError;
use crate::eval::memory::{Held, Work, value_cost};
use crate::eval::rows;
use crate::eval::value::{Row, Value};
use crate::fragment::mixed::RawSeries;
use crate::plan::{Node, Program};
use std::sync::Arc;

/// What a node has yielded.
#[derive(Default)]
pub(super) enum Content {
    #[default]
    Empty,
    Value(Value),
    Columns(Vec<RawSeries>),
}

#[derive(Default)]
struct Slot {
    content: Content,
    held: Held,
    /// How many will still ask for it.
    uses: usize,
}

/// The inputs of one node, and their memory.
pub(super) struct Inputs {
    pub(super) values: Vec<Value>,
    pub(super) held: Held,
}

/// A slot for each node.
pub(super) struct Slots<'p> {
    slots: Vec<Slot>,
    same: &'p [usize],
    budget: Arc<Budget>,
}

impl<'p> Slots<'p> {
    pub(super) fn new(program: &'p Program<'_>, budget: &Arc<Budget>) -> Self {
        let same = program.same.as_slice();
        let mut slots: Vec<Slot> = program.nodes.iter().map(|_| Slot::default()).collect();
        let evaluated = program.nodes.iter().enumerate();
        for (_, node) in evaluated.filter(|(i, _)| same[*i] == *i) {
            for &input in &node.inputs {
                slots[same[input]].uses += 1;
            }
        }
        Slots {
            slots,
            same,
            budget: Arc::clone(budget),
        }
    }

    pub(super) fn put(&mut self, node: usize, content: Content, held: Held) {
        let slot = &mut self.slots[node];
        slot.content = content;
        slot.held = held;
    }

    /// The inputs of `node`.
    pub(super) fn inputs(&mut self, node: &Node<'_>) -> Result<Inputs, EvalError> {
        let mut inputs = Inputs {
            values: Vec::with_capacity(node.inputs.len()),
            held: Held::of(&self.budget),
        };
        for &input in &node.inputs {
            let (value, held) = self.take(self.same[input])?;
            inputs.values.push(value);
            inputs.held.absorb(held);
        }
        Ok(inputs)
    }

    fn take(&mut self, node: usize) -> Result<(Value, Held), EvalError> {
        let slot = &mut self.slots[node];
        slot.uses = slot.uses.saturating_sub(1);
        if slot.uses > 0
            && let Content::Value(value) = &slot.content
        {
            let mut work = Work::of(&self.budget);
            work.take(value_cost(value))?;
            self.budget.take(rows::samples_of(value))?;
            return Ok((copy(value, &mut work)?, work.into_held()));
        }
        match std::mem::take(&mut slot.content) {
            Content::Value(value) => Ok((value, std::mem::take(&mut slot.held))),
            Content::Columns(_) | Content::Empty => Err(EvalError::execution(
                "a range vector stands where an instant vector or a scalar is needed",
            )),
        }
    }

    /// The value of the last node.
    pub(super) fn result(mut self) -> Result<(Outcome, Held), EvalError> {
        let root = self.same.last().copied();
        let Some(slot) = root.and_then(|root| self.slots.get_mut(root)) else {
            return Err(EvalError::execution("the query has no expression"));
        };
        let held = std::mem::take(&mut slot.held);
        match std::mem::take(&mut slot.content) {
            Content::Value(value) => Ok((Outcome::Value(value), held)),
            Content::Columns(columns) => Ok((Outcome::Columns(columns), held)),
            Content::Empty => Err(EvalError::execution("the query has no expression")),
        }
    }
}

fn copy(value: &Value, work: &mut Work) -> Result<Value, EvalError> {
    let Value::Vector(rows) = value else {
        return Ok(value.clone());
    };
    let row = |row: &Row| {
        work.tick(row.values.len() / 8 + 1)?;
        Ok(row.clone())
    };
    let copies: Result<_, EvalError> = rows.iter().map(row).collect();
    copies.map(Value::Vector)
}

//! A stand-in for the kernel: refuses what nf_tables refuses (missing objects, duplicate elements,
//! chains that are still referred to), applies the rest to a model, and keeps every batch.

use std::collections::{BTreeMap, BTreeSet};

use nix::errno::Errno;
use parking_lot::Mutex;

use super::{Batch, Command, Dump, Element, Error, Expression, Nftables, Value, Verdict};

/// Records batches and models their effect.
#[derive(Default)]
pub struct Recorder {
    state: Mutex<State>,
}

#[derive(Default, Clone)]
struct State {
    batches: Vec<Batch>,
    tables: BTreeMap<String, Table>,
}

#[derive(Default, Clone)]
struct Table {
    chains: BTreeMap<String, Vec<Vec<Expression>>>,
    sets: BTreeMap<String, BTreeMap<Vec<u8>, Value>>,
}

impl Recorder {
    /// All batches committed so far.
    pub fn batches(&self) -> Vec<Batch> {
        self.state.lock().batches.clone()
    }
}

impl Nftables for Recorder {
    fn commit(&self, batch: &Batch) -> Result<(), Error> {
        let mut state = self.state.lock();
        let mut next = state.clone();
        for command in &batch.commands {
            apply(&mut next.tables, command)
                .map_err(|source| Error::Refused { object: command.to_string(), source })?;
        }
        for (name, table) in &next.tables {
            if let Some(chain) = table.dangling() {
                return Err(Error::Refused { object: format!("chain {name} {chain}"), source: Errno::EBUSY });
            }
        }
        next.batches.push(batch.clone());
        *state = next;
        Ok(())
    }

    fn dump(&self, table: &str) -> Result<Option<Dump>, Error> {
        Ok(self.state.lock().tables.get(table).map(Table::dump))
    }
}

impl Table {
    /// A chain that something jumps to and that does not exist.
    fn dangling(&self) -> Option<String> {
        let from_rules = self.chains.values().flatten().flatten().filter_map(|expression| match expression {
            Expression::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain)) => Some(chain),
            _ => None,
        });
        let from_elements = self.sets.values().flat_map(BTreeMap::values).filter_map(|value| match value {
            Value::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain)) => Some(chain),
            _ => None,
        });
        from_rules.chain(from_elements).find(|chain| !self.chains.contains_key(*chain)).cloned()
    }

    fn dump(&self) -> Dump {
        let debug = |value: &dyn std::fmt::Debug| format!("{value:?}").into_bytes();
        Dump {
            chains: self
                .chains
                .iter()
                .map(|(name, rules)| (name.clone(), rules.iter().map(|r| debug(r)).collect()))
                .collect(),
            sets: self
                .sets
                .iter()
                .map(|(name, elements)| (name.clone(), elements.iter().map(|e| debug(&e)).collect::<BTreeSet<_>>()))
                .collect(),
        }
    }

    fn chain(&mut self, name: &str) -> Result<&mut Vec<Vec<Expression>>, Errno> {
        self.chains.get_mut(name).ok_or(Errno::ENOENT)
    }

    fn set(&mut self, name: &str) -> Result<&mut BTreeMap<Vec<u8>, Value>, Errno> {
        self.sets.get_mut(name).ok_or(Errno::ENOENT)
    }
}

fn apply(tables: &mut BTreeMap<String, Table>, command: &Command) -> Result<(), Errno> {
    match command {
        Command::DeleteTable { table } => return tables.remove(table).map(|_| ()).ok_or(Errno::ENOENT),
        Command::AddTable { table } => {
            tables.entry(table.clone()).or_default();
        }
        Command::AddChain { table, chain, .. } => {
            find(tables, table)?.chains.entry(chain.clone()).or_default();
        }
        Command::DeleteChain { table, chain } => {
            find(tables, table)?.chains.remove(chain).ok_or(Errno::ENOENT)?;
        }
        Command::FlushChain { table, chain } => find(tables, table)?.chain(chain)?.clear(),
        Command::AddRule { table, chain, rule } => find(tables, table)?.chain(chain)?.push(rule.clone()),
        Command::AddSet { table, set } => {
            find(tables, table)?.sets.entry(set.name.clone()).or_default();
        }
        Command::AddElements { table, set, elements } => add(find(tables, table)?.set(set)?, elements)?,
        Command::DeleteElements { table, set, elements } => {
            let set = find(tables, table)?.set(set)?;
            for element in elements {
                set.remove(&element.key).ok_or(Errno::ENOENT)?;
            }
        }
    }
    Ok(())
}

fn find<'a>(tables: &'a mut BTreeMap<String, Table>, name: &str) -> Result<&'a mut Table, Errno> {
    tables.get_mut(name).ok_or(Errno::ENOENT)
}

fn add(set: &mut BTreeMap<Vec<u8>, Value>, elements: &[Element]) -> Result<(), Errno> {
    for element in elements {
        match set.insert(element.key.clone(), element.value.clone()) {
            Some(before) if before != element.value => return Err(Errno::EEXIST),
            _ => {}
        }
    }
    Ok(())
}

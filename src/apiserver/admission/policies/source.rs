//! The policies that are in force, compiled. They are looked at again whenever one of them, a
//! binding or a definition of custom resources has changed, and compiled again when their own spec
//! has.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use serde_json::Value;

use super::{
    definition::{Binding, Definition, Written},
    parameters::{DEFINITIONS, Kinds},
};
use crate::{
    api::{kind::GroupResource, kinds::admission_registration::expressions::Compiler, meta},
    apiserver::reader::Reader,
};

/// The group of policies and bindings.
const GROUP: &str = "admissionregistration.k8s.io";

/// What a kind of policies does.
pub trait Rules: Sized + Send + Sync {
    /// The resource of policies.
    const POLICIES: &'static str;
    /// The resource of their bindings.
    const BINDINGS: &'static str;
    /// What expressions may look at, but for the policy's own variables.
    fn compiler(has_parameters: bool) -> Compiler;
    /// Compiles what is this kind's own. `None` for what is no policy.
    fn compile(policy: &Value, compiler: &Compiler) -> Option<Self>;
}

/// A compiled policy.
#[derive(Debug)]
pub struct Policy<R> {
    /// What all policies have.
    pub definition: Definition,
    /// What this kind of policies has.
    pub rules: R,
    /// The policy and the definitions that it was made of.
    version: (String, i64, u64),
}

/// A policy with what puts it into force.
#[derive(Debug)]
pub struct Hook<R> {
    /// The policy.
    pub policy: Arc<Policy<R>>,
    /// In the order of their names.
    pub bindings: Vec<Binding>,
}

/// The policies of one kind.
pub struct Source<R> {
    state: Mutex<State<R>>,
}

struct State<R> {
    /// Policies, bindings and definitions that `hooks` was made of.
    seen: Option<[u64; 3]>,
    hooks: Arc<Vec<Hook<R>>>,
}

impl<R> Default for Source<R> {
    fn default() -> Self {
        Self { state: Mutex::new(State { seen: None, hooks: Arc::default() }) }
    }
}

impl<R: Rules> Source<R> {
    /// The policies that are in force, in the order of their names.
    pub fn hooks(&self, reader: &dyn Reader) -> Arc<Vec<Hook<R>>> {
        let now = [policies::<R>(), bindings_of::<R>(), DEFINITIONS].map(|resource| reader.generation(resource));
        let mut state = self.state.lock();
        if state.seen != Some(now) {
            state.hooks = Arc::new(current(reader, &state.hooks, now[2]));
            state.seen = Some(now);
        }
        state.hooks.clone()
    }
}

fn current<R: Rules>(reader: &dyn Reader, before: &[Hook<R>], definitions: u64) -> Vec<Hook<R>> {
    let mut bindings: HashMap<String, Vec<Binding>> = HashMap::new();
    for (policy, binding) in parsed(reader, bindings_of::<R>()).filter_map(|binding| Binding::read(&binding)) {
        bindings.entry(policy).or_default().push(binding);
    }
    if bindings.is_empty() {
        return Vec::new();
    }
    let kinds = Kinds::new(reader);
    let policies = parsed(reader, policies::<R>());
    let hook = |policy: Value| {
        let mut bindings = bindings.remove(meta::name(&policy))?;
        bindings.sort_by(|a, b| a.name.cmp(&b.name));
        let known = before.iter().map(|hook| &hook.policy);
        Some(Hook { policy: compiled(&policy, &kinds, known, definitions)?, bindings })
    };
    let mut hooks: Vec<Hook<R>> = policies.filter_map(hook).collect();
    hooks.sort_by(|a, b| a.policy.definition.name.cmp(&b.policy.definition.name));
    hooks
}

/// A policy as it was compiled before, if nothing has changed that it depends on.
fn compiled<'k, R: Rules + 'k>(
    policy: &Value,
    kinds: &Kinds<'_>,
    mut known: impl Iterator<Item = &'k Arc<Policy<R>>>,
    definitions: u64,
) -> Option<Arc<Policy<R>>> {
    let parameters = policy["spec"]["paramKind"].is_object();
    let version = (meta::uid(policy).to_owned(), meta::generation(policy), if parameters { definitions } else { 0 });
    if let Some(known) = known.find(|known| known.version == version && !version.0.is_empty()) {
        return Some(known.clone());
    }
    let written = Written::read(policy)?;
    let mut compiler = R::compiler(written.has_parameters());
    let definition = Definition::new(written, &mut compiler, kinds);
    let rules = R::compile(policy, &compiler)?;
    Some(Arc::new(Policy { definition, rules, version }))
}

fn parsed(reader: &dyn Reader, resource: GroupResource<'_>) -> impl Iterator<Item = Value> + use<> {
    reader.list(resource, None).into_iter().filter_map(|bytes| serde_json::from_slice(&bytes).ok())
}

fn policies<R: Rules>() -> GroupResource<'static> {
    GroupResource { group: GROUP, resource: R::POLICIES }
}

fn bindings_of<R: Rules>() -> GroupResource<'static> {
    GroupResource { group: GROUP, resource: R::BINDINGS }
}

//! Admission policies: rules and changes in CEL that users put into force by bindings (KEP-3488,
//! KEP-3962). [`source`] keeps them compiled, [`validating`] and [`mutating`] are what they do, and here
//! is whom a request meets.

mod definition;
mod mutating;
mod parameters;
mod reinvocation;
mod source;
mod validating;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    Operation, Request, Warnings,
    expressions::{self, Facts},
    matching::{self, Matched},
};
use crate::{
    api::{
        Status, cel,
        decoded::Decoded,
        kinds::admission_registration::expressions as names,
        meta,
        schema::{self, FieldValidation},
        status::{Cause, Reason},
    },
    apiserver::{audit, authz::Authorizer, reader::Reader, registry::decode::Decoder},
};

pub use reinvocation::Rounds;

use definition::{Binding, Definition};
use mutating::Mutations;
use reinvocation::Invocation;
use source::{Hook, Policy, Source};
use validating::{Review, Validations};

/// The audit annotation of a request that does not satisfy a policy whose binding says `Audit`.
const FAILURE_ANNOTATION: &str = "validation.policy.admission.k8s.io/validation_failure";
const NOTHING: &Value = &Value::Null;

/// All policies.
pub struct Policies {
    reader: Arc<dyn Reader>,
    authorizer: Arc<Authorizer>,
    validating: Source<Validations>,
    mutating: Source<Mutations>,
    /// The schemas of kinds that policies have changed objects of.
    schemas: Decoder,
}

/// A policy that a request meets, with one of its bindings and one parameter.
struct Asked<'h, R> {
    policy: &'h Policy<R>,
    binding: &'h Binding,
    matched: Matched,
    parameter: Option<Value>,
}

/// A policy or binding that cannot be asked.
struct Misconfigured<'h> {
    policy: &'h Definition,
    binding: Option<&'h Binding>,
    problem: String,
}

type Asking<'h, R> = Vec<Result<Asked<'h, R>, Misconfigured<'h>>>;

impl Policies {
    /// The policies that `reader` sees. Expressions may ask `authorizer`.
    pub fn new(reader: Arc<dyn Reader>, authorizer: Arc<Authorizer>) -> Self {
        let (validating, mutating) = (Source::default(), Source::default());
        Self { reader, authorizer, validating, mutating, schemas: Decoder::default() }
    }

    /// Lets mutating policies change the object; `rounds` remembers for whom there must be another round.
    pub fn mutate(&self, request: &Request<'_>, object: &mut Value, rounds: &mut Rounds) -> Result<(), Status> {
        if matching::is_exempt(request.kind) {
            return Ok(());
        }
        let hooks = self.mutating.hooks(&*self.reader);
        let asking = self.asking(&hooks, request, Some(object));
        if asking.is_empty() {
            return Ok(());
        }
        let namespace = expressions::namespace(request, &*self.reader)?;
        let mut refusals = Vec::new();
        rounds.begin(object);
        for asked in asking {
            match asked {
                Ok(asked) => {
                    for problem in self.change(&asked, request, object, &namespace, rounds)? {
                        let (policy, binding) = (&asked.policy.definition, Some(asked.binding));
                        refusals.extend(refusal(policy, binding, &problem).map(|text| (text, Reason::Invalid)));
                    }
                }
                Err(Misconfigured { policy, binding, problem }) => {
                    let problem = configuration_problem(binding, &problem);
                    refusals.extend(refusal(policy, binding, &problem).map(|text| (text, Reason::Forbidden)));
                }
            }
        }
        rounds.end(object);
        match refusals.split_first() {
            None => Ok(()),
            Some(((message, reason), _)) => {
                let causes = refusals.iter().map(|(message, _)| message.clone()).collect();
                Err(refused(request, object, message.clone(), *reason, causes))
            }
        }
    }

    /// Lets validating policies refuse the object, which is the stored one for a deletion.
    pub fn validate(&self, request: &Request<'_>, object: &Value) -> Result<Warnings, Status> {
        let mut outcome = Outcome::default();
        if matching::is_exempt(request.kind) {
            return Ok(outcome.warnings);
        }
        let (new, old) = match request.operation {
            Operation::Delete => (NOTHING, object),
            _ => (object, request.old.unwrap_or(NOTHING)),
        };
        let hooks = self.validating.hooks(&*self.reader);
        let asking = self.asking(&hooks, request, Some(new).filter(|new| !new.is_null()));
        if asking.is_empty() {
            return Ok(outcome.warnings);
        }
        let namespace = expressions::namespace(request, &*self.reader)?;
        for asked in asking {
            match asked {
                Ok(asked) => outcome.add(&asked, self.review(&asked, request, [new, old, &namespace])?),
                Err(misconfigured) => outcome.misconfigured(&misconfigured),
            }
        }
        outcome.finish(request, object)
    }

    fn review(
        &self,
        asked: &Asked<'_, Validations>,
        request: &Request<'_>,
        [new, old, namespace]: [&Value; 3],
    ) -> Result<Review, Status> {
        let (new, old) = (in_version(new, request, asked)?, in_version(old, request, asked)?);
        let facts = Facts::new(request, &asked.matched, &self.authorizer, [&new, &old, namespace]);
        let (conditions, activation) = asked.activations(&facts);
        Ok(asked.policy.review(&conditions, &activation))
    }

    /// Lets one policy change the object. What went wrong is returned; an error ends the request.
    fn change(
        &self,
        asked: &Asked<'_, Mutations>,
        request: &Request<'_>,
        object: &mut Value,
        namespace: &Value,
        rounds: &mut Rounds,
    ) -> Result<Vec<String>, Status> {
        let old = in_version(request.old.unwrap_or(NOTHING), request, asked)?;
        let before = in_version(object, request, asked)?.into_owned();
        let facts = Facts::new(request, &asked.matched, &self.authorizer, [&before, &old, namespace]);
        match asked.policy.definition.is_met(&asked.activations(&facts).0) {
            Ok(true) => {}
            Ok(false) => return Ok(Vec::new()),
            Err(problem) => return Ok(vec![problem]),
        }
        let invocation = asked.invocation();
        if !rounds.is_due(&invocation) {
            return Ok(Vec::new());
        }
        let (mut now, mut problems) = (before.clone(), Vec::new());
        for mutation in &asked.policy.rules.all {
            let facts = Facts::new(request, &asked.matched, &self.authorizer, [&now, &old, namespace]);
            let schema = self.schemas.schema(request.kind);
            let changed = mutation.apply(&asked.activations(&facts).1, &now, &schema);
            match changed {
                Ok(changed) => now = self.completed(request, asked, changed)?,
                Err(problem) => problems.push(problem),
            }
        }
        let changed = now != before;
        if changed {
            *object = expressions::shown(now, &asked.matched, &Matched::of(request.kind))?;
        }
        rounds.asked(invocation, changed, asked.policy.rules.repeats);
        Ok(problems)
    }

    /// A changed object with its defaults.
    fn completed(&self, request: &Request<'_>, asked: &Asked<'_, Mutations>, object: Value) -> Result<Value, Status> {
        let made = Matched::of(request.kind);
        if asked.matched != made || meta::kind(&object) != request.kind.kind {
            return Ok(object);
        }
        if request.kind.strategy.custom().is_some() {
            return request.kind.strategy.decode(object).map(Decoded::into_value);
        }
        let schema = self.schemas.schema(request.kind);
        let (object, _) = schema::check(object, &schema, FieldValidation::Strict).map_err(Status::internal)?;
        request.kind.strategy.decode(object).map(Decoded::into_value)
    }

    /// Whom a request meets, in order.
    fn asking<'h, R>(&self, hooks: &'h [Hook<R>], request: &Request<'_>, object: Option<&Value>) -> Asking<'h, R> {
        hooks.iter().flat_map(|hook| self.asking_one(hook, request, object)).collect()
    }

    fn asking_one<'h, R>(&self, hook: &'h Hook<R>, request: &Request<'_>, object: Option<&Value>) -> Asking<'h, R> {
        let policy = &hook.policy.definition;
        let wrong = |binding, problem| vec![Err(Misconfigured { policy, binding, problem })];
        let matches = |criteria: &Result<matching::Criteria, String>| match criteria {
            Ok(criteria) => criteria.matches(&*self.reader, request, object).map_err(|status| status.message),
            Err(problem) => Err(problem.clone()),
        };
        let matched = match matches(&policy.criteria) {
            Ok(Some(matched)) => matched,
            Ok(None) => return Vec::new(),
            Err(problem) => return wrong(None, problem),
        };
        if let Some(Err(problem)) = &policy.parameters {
            return wrong(None, problem.clone());
        }
        let mut asking = Vec::new();
        for binding in &hook.bindings {
            let parameters = match binding.criteria.as_ref().map(matches) {
                Some(Ok(None)) => continue,
                Some(Err(problem)) => Err(problem),
                None | Some(Ok(Some(_))) => self.parameters(policy, binding, request),
            };
            match parameters {
                Ok(parameters) => asking.extend(parameters.into_iter().map(|parameter| {
                    Ok(Asked { policy: &*hook.policy, binding, matched: matched.clone(), parameter })
                })),
                Err(problem) => asking.extend(wrong(Some(binding), problem)),
            }
        }
        asking
    }

    /// One parameter for each time that the policy is asked.
    fn parameters(
        &self,
        policy: &Definition,
        binding: &Binding,
        request: &Request<'_>,
    ) -> Result<Vec<Option<Value>>, String> {
        match (&policy.parameters, &binding.parameters) {
            (Some(Ok(kind)), Some(reference)) => {
                let found = reference.resolve(kind, &*self.reader, request.namespace())?;
                Ok(found.into_iter().map(Some).collect())
            }
            _ => Ok(vec![None]),
        }
    }
}

impl<R> Asked<'_, R> {
    /// The values of match conditions, and of everything else.
    fn activations<'a>(&'a self, facts: &'a Facts<'_>) -> (cel::Activation<'a>, cel::Activation<'a>) {
        let parameter = || cel::Value::from(self.parameter.as_ref().unwrap_or(NOTHING));
        let (mut conditions, mut all) = (facts.activation(), facts.activation());
        conditions.bind(names::PARAMETERS, parameter());
        // Whether a policy is about a request does not depend on the namespace but by its labels.
        conditions.bind(names::NAMESPACE, cel::Value::null());
        all.bind(names::PARAMETERS, parameter());
        all.bind(names::NAMESPACE, facts.namespace.into());
        self.policy.definition.define(&mut all);
        (conditions, all)
    }

    fn invocation(&self) -> Invocation {
        let name = |parameter: &Value| (meta::namespace(parameter).to_owned(), meta::name(parameter).to_owned());
        Invocation {
            policy: self.policy.definition.name.clone(),
            binding: self.binding.name.clone(),
            parameter: self.parameter.as_ref().map(name),
        }
    }
}

/// What all validating policies together make of a request.
#[derive(Default)]
struct Outcome {
    warnings: Warnings,
    /// The first refusal, which is told.
    refusal: Option<(String, Reason)>,
    annotations: Vec<(String, String)>,
    /// Values of audit annotations by policy and key.
    notes: BTreeMap<(String, String), Vec<String>>,
}

impl Outcome {
    fn add(&mut self, asked: &Asked<'_, Validations>, review: Review) {
        let (policy, binding) = (&asked.policy.definition.name, &asked.binding.name);
        for denial in review.denials {
            for action in &asked.binding.actions {
                let message = &denial.message;
                match action.as_str() {
                    "Deny" => self.refuse(policy, Some(binding), message, denial.reason),
                    "Warn" => self.warnings.push(format!(
                        "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {message}"
                    )),
                    "Audit" => {
                        let failure = json!([{"message": message, "policy": policy, "binding": binding,
                            "expressionIndex": denial.index, "validationActions": asked.binding.actions}]);
                        self.annotations.push((FAILURE_ANNOTATION.to_owned(), failure.to_string()));
                    }
                    _ => {}
                }
            }
        }
        for (key, value) in review.annotations {
            let values = self.notes.entry((policy.clone(), key)).or_default();
            if !values.contains(&value) {
                values.push(value);
            }
        }
        for failure in review.failures {
            self.refuse(policy, Some(binding), &failure, Reason::Invalid);
        }
    }

    fn misconfigured(&mut self, wrong: &Misconfigured<'_>) {
        if wrong.policy.fails {
            let binding = wrong.binding.map(|binding| binding.name.as_str());
            let message = configuration_problem(wrong.binding, &wrong.problem);
            self.refuse(&wrong.policy.name, binding, &message, Reason::Invalid);
        }
    }

    fn refuse(&mut self, policy: &str, binding: Option<&str>, message: &str, reason: Reason) {
        let with = binding.map(|binding| format!(" with binding '{binding}'")).unwrap_or_default();
        let message = format!("ValidatingAdmissionPolicy '{policy}'{with} denied request: {message}");
        self.refusal.get_or_insert((message, reason));
    }

    fn finish(self, request: &Request<'_>, object: &Value) -> Result<Warnings, Status> {
        let notes =
            self.notes.into_iter().map(|((policy, key), values)| (format!("{policy}/{key}"), values.join(", ")));
        for (key, value) in self.annotations.into_iter().chain(notes) {
            audit::annotate(&key, || value);
        }
        let Some((message, reason)) = self.refusal else { return Ok(self.warnings) };
        let told = request.forbid(object, &message).message;
        Err(refused(request, object, told, reason, vec![message]))
    }
}

/// An object in the version that a policy is about.
fn in_version<'v, R>(object: &'v Value, request: &Request<'_>, asked: &Asked<'_, R>) -> Result<Cow<'v, Value>, Status> {
    let made = Matched::of(request.kind);
    if asked.matched == made {
        return Ok(Cow::Borrowed(object));
    }
    expressions::shown(object.clone(), &made, &asked.matched).map(Cow::Owned)
}

fn configuration_problem(binding: Option<&Binding>, problem: &str) -> String {
    let what = if binding.is_some() { "binding" } else { "policy" };
    format!("failed to configure {what}: {problem}")
}

/// What a mutating policy refuses a request with, if it does not ignore its problems.
fn refusal(policy: &Definition, binding: Option<&Binding>, problem: &str) -> Option<String> {
    let message = match binding {
        Some(binding) => format!("policy '{}' with binding '{}' denied request: {problem}", policy.name, binding.name),
        None => format!("policy \"{}\" denied request: {problem}", policy.name),
    };
    policy.fails.then_some(message)
}

fn refused(request: &Request<'_>, object: &Value, message: String, reason: Reason, causes: Vec<String>) -> Status {
    let mut status = request.forbid(object, "");
    (status.message, status.reason) = (message, reason);
    if let Some(details) = &mut status.details {
        let cause = |message| Cause { message, ..Cause::default() };
        details.causes = causes.into_iter().map(cause).collect();
    }
    status
}

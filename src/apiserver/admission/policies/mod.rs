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
    versions,
};
use crate::{
    api::{
        Status, cel,
        decoded::Decoded,
        kind::Descriptor,
        kinds::admission_registration::expressions as names,
        meta,
        schema::{self, FieldValidation, Schema, Wording},
        status::{Answered, Cause, Reason},
    },
    apiserver::{audit, authz::Authorizer, conversion::Converter, reader::Reader, registry::decode::Decoder},
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
    converter: Arc<Converter>,
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

/// What a mutating policy makes of an object.
#[derive(Default)]
struct Changed {
    /// The object, unless the policy had nothing to do with it.
    object: Option<Value>,
    /// What went wrong.
    problems: Vec<String>,
}

impl Misconfigured<'_> {
    /// What a mutating policy refuses a request with, and for what reason.
    fn refusal(&self) -> Option<(String, Reason)> {
        let problem = configuration_problem(self.binding, &self.problem);
        refusal(self.policy, self.binding, &problem).map(|text| (text, Reason::Forbidden))
    }
}

type Asking<'h, R> = Vec<Result<Asked<'h, R>, Misconfigured<'h>>>;

impl Policies {
    /// The policies that `reader` sees. Expressions may ask `authorizer`; `converter` shows custom resources in the
    /// versions that policies name.
    pub fn new(reader: Arc<dyn Reader>, authorizer: Arc<Authorizer>, converter: Arc<Converter>) -> Self {
        let (validating, mutating) = (Source::default(), Source::default());
        Self { reader, authorizer, converter, validating, mutating, schemas: Decoder::default() }
    }

    /// Lets mutating policies change the object; `rounds` remembers for whom there must be another round.
    pub async fn mutate(&self, request: &Request<'_>, object: &mut Value, rounds: &mut Rounds) -> Result<(), Status> {
        if matching::is_exempt(request.kind) {
            return Ok(());
        }
        let hooks = self.mutating.hooks(&*self.reader);
        let asking = self.asking(&hooks, request, Some(object));
        if asking.is_empty() {
            return Ok(());
        }
        let namespace = expressions::namespace(request, &*self.reader)?;
        // What cannot be asked is told of before what was.
        let (mut misconfigured, mut refusals) = (Vec::new(), Vec::new());
        rounds.begin(object);
        for asked in asking {
            match asked {
                Ok(asked) => match self.shown(&asked, request, object).await {
                    Ok(shown) => {
                        for problem in self.change(&asked, request, shown, object, &namespace, rounds).await? {
                            let (policy, binding) = (&asked.policy.definition, Some(asked.binding));
                            refusals.extend(refusal(policy, binding, &problem).map(|text| (text, Reason::Invalid)));
                        }
                    }
                    Err(wrong) => misconfigured.extend(wrong.refusal()),
                },
                Err(wrong) => misconfigured.extend(wrong.refusal()),
            }
        }
        rounds.end(object);
        misconfigured.extend(refusals);
        match misconfigured.first() {
            None => Ok(()),
            Some((message, reason)) => {
                let causes = misconfigured.iter().map(|(message, _)| message.clone()).collect();
                let mut status = refused(request, object, message.clone(), *reason, causes);
                // Whatever the reason, the code stays that of a refusal.
                if let Some(details) = &mut status.details {
                    let (code, reason) = (Reason::Forbidden.code(), format!("{reason:?}"));
                    details.answered = Some(Answered { code, reason });
                }
                Err(status)
            }
        }
    }

    /// Lets validating policies refuse the object, which is the stored one for a deletion.
    pub async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<Warnings, Status> {
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
                Ok(asked) => match self.both(&asked, request, [new, old]).await {
                    Ok([new, old]) => outcome.add(&asked, self.review(&asked, request, [&new, &old, &namespace])),
                    Err(misconfigured) => outcome.misconfigured(&misconfigured),
                },
                Err(misconfigured) => outcome.misconfigured(&misconfigured),
            }
        }
        outcome.finish(request, object)
    }

    fn review(&self, asked: &Asked<'_, Validations>, request: &Request<'_>, objects: [&Value; 3]) -> Review {
        let facts = Facts::new(request, &asked.matched, &self.authorizer, objects);
        let (conditions, activation) = asked.activations(&facts);
        asked.policy.review(&conditions, &activation)
    }

    /// The object as it would be, and as it was, in the version that a policy is about.
    async fn shown<'h>(
        &self,
        asked: &Asked<'h, Mutations>,
        request: &Request<'_>,
        object: &Value,
    ) -> Result<[Value; 2], Misconfigured<'h>> {
        let both = self.both(asked, request, [object, request.old.unwrap_or(NOTHING)]).await?;
        Ok(both.map(Cow::into_owned))
    }

    async fn both<'h, 'v, R>(
        &self,
        asked: &Asked<'h, R>,
        request: &Request<'_>,
        [new, old]: [&'v Value; 2],
    ) -> Result<[Cow<'v, Value>; 2], Misconfigured<'h>> {
        let (matched, policy) = (&asked.matched, &asked.policy.definition);
        let wrong = |status: Status| Misconfigured { policy, binding: None, problem: status.message };
        let mut shown = [Cow::Borrowed(new), Cow::Borrowed(old)];
        if versions::are_as_made(request, matched) {
            return Ok(shown);
        }
        for one in shown.iter_mut().filter(|one| !one.is_null()) {
            let converted = versions::shown(&self.converter, request, matched, one.clone().into_owned()).await;
            *one = Cow::Owned(converted.map_err(wrong)?);
        }
        Ok(shown)
    }

    /// Lets one policy change the object, which is shown to it with the old one. What went wrong is returned; an
    /// error ends the request.
    async fn change(
        &self,
        asked: &Asked<'_, Mutations>,
        request: &Request<'_>,
        [before, old]: [Value; 2],
        object: &mut Value,
        namespace: &Value,
        rounds: &mut Rounds,
    ) -> Result<Vec<String>, Status> {
        let invocation = asked.invocation();
        let is_due = rounds.is_due(&invocation);
        let Changed { object: now, problems } = self.changed(asked, request, [&before, &old, namespace], is_due)?;
        let Some(now) = now else { return Ok(problems) };
        let changed = now != before;
        if changed {
            *object = match versions::are_as_made(request, &asked.matched) {
                true => now,
                false => versions::restored(&self.converter, request, &asked.matched, now, object).await?,
            };
        }
        rounds.asked(invocation, changed, asked.policy.rules.repeats);
        Ok(problems)
    }

    /// What the policy makes of the object.
    fn changed(
        &self,
        asked: &Asked<'_, Mutations>,
        request: &Request<'_>,
        [before, old, namespace]: [&Value; 3],
        is_due: bool,
    ) -> Result<Changed, Status> {
        let facts = Facts::new(request, &asked.matched, &self.authorizer, [before, old, namespace]);
        match asked.policy.definition.is_met(&asked.activations(&facts).0) {
            Ok(true) if is_due => {}
            Ok(_) => return Ok(Changed::default()),
            Err(problem) => return Ok(Changed { object: None, problems: vec![problem] }),
        }
        let kind = versions::kind_shown(request, &asked.matched);
        let schema = self.schemas.schema(kind);
        let (mut now, mut problems) = (before.clone(), Vec::new());
        for mutation in &asked.policy.rules.all {
            let facts = Facts::new(request, &asked.matched, &self.authorizer, [&now, old, namespace]);
            let changed = mutation.apply(&asked.activations(&facts).1, &now, &schema);
            match changed.map(|changed| completed(kind, &schema, changed)) {
                Ok(Ok(changed)) => now = changed,
                // A patch that makes no object is an error of the server's, whatever the policy says of errors.
                Ok(Err(problem)) if mutation.patches => return Err(Status::internal(problem)),
                Ok(Err(problem)) | Err(problem) => problems.push(problem),
            }
        }
        Ok(Changed { object: Some(now), problems })
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

/// A changed object with its defaults, or why it is none of its kind. Custom resources of another version than
/// the one they were made in are checked when they are back in that.
fn completed(kind: &Descriptor, schema: &Schema, object: Value) -> Result<Value, String> {
    if meta::api_version(&object) != kind.api_version() || meta::kind(&object) != kind.kind {
        return Ok(object);
    }
    let decode = |object| kind.strategy.decode(object).map_err(|status| status.message);
    if kind.strategy.custom().is_some() {
        return decode(object).map(Decoded::into_value);
    }
    let checked = schema::check(object, schema, FieldValidation::Strict, Wording::Decoder);
    let (object, _) = checked.map_err(|problem| schema::unfit(schema, &problem).message)?;
    decode(object).map(Decoded::into_value)
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

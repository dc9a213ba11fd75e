//! Priority levels: how many requests are served at once, and what the others wait in.

use jiff::Timestamp;
use k8s_openapi::api::flowcontrol::v1::{
    ExemptPriorityLevelConfiguration, LimitResponse, LimitedPriorityLevelConfiguration, PriorityLevelConfiguration,
    PriorityLevelConfigurationSpec, QueuingConfiguration,
};
use serde_json::{Value, json};

use super::{EXEMPT, GROUP_VERSION, mandatory};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names, Subresource},
    kinds::{cells, names, status},
    status::Cause,
    update_check::{self, UpdateCheck},
};

const TYPES: &[&str] = &["Exempt", "Limited"];
const RESPONSES: &[&str] = &["Queue", "Reject"];
const DEFAULT_SHARES: i32 = 30;
const DEFAULT_HAND_SIZE: i32 = 8;
const DEFAULT_QUEUES: i32 = 64;
const DEFAULT_QUEUE_LENGTH: i32 = 50;
const MOST_QUEUES: i32 = 10_000_000;
/// Bits of a hash by which a hand of queues may be dealt.
const MOST_BITS: f64 = 60.0;
/// Of an older version's form, in which alone it means anything.
const ROUND_TRIP: &str = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";

/// `flowcontrol.apiserver.k8s.io/v1.PriorityLevelConfiguration`
pub struct PriorityLevelConfigurationKind;

impl Kind for PriorityLevelConfigurationKind {
    type Object = PriorityLevelConfiguration;
    const NAMES: Names = Names {
        subresources: &[Subresource::Status],
        ..names::cluster(
            GROUP_VERSION,
            "PriorityLevelConfiguration",
            "prioritylevelconfigurations",
            "prioritylevelconfiguration",
        )
    };
    const GENERATION: Generation = Generation::Spec;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::WHOLE;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Type", "string", "Whether its requests are limited."),
        cells::column("NominalConcurrencyShares", "string", "Its share of what is served at once."),
        cells::column("Queues", "string", "How many queues it has."),
        cells::column("HandSize", "string", "How many queues a flow may use."),
        cells::column("QueueLengthLimit", "string", "How many requests wait in a queue."),
        cells::AGE,
    ];

    fn default(level: &mut PriorityLevelConfiguration) {
        let spec = level.spec.get_or_insert_default();
        if spec.type_ == "Exempt" {
            let exempt = spec.exempt.get_or_insert_default();
            exempt.nominal_concurrency_shares.get_or_insert(0);
            exempt.lendable_percent.get_or_insert(0);
        }
        if let Some(limited) = spec.limited.as_mut() {
            limited.nominal_concurrency_shares.get_or_insert(DEFAULT_SHARES);
            limited.lendable_percent.get_or_insert(0);
            if let Some(queuing) = limited.limit_response.as_mut().and_then(|response| response.queuing.as_mut()) {
                queuing.hand_size.get_or_insert(DEFAULT_HAND_SIZE);
                queuing.queues.get_or_insert(DEFAULT_QUEUES);
                queuing.queue_length_limit.get_or_insert(DEFAULT_QUEUE_LENGTH);
            }
        }
    }

    fn prepare_for_create(level: &mut PriorityLevelConfiguration) {
        level.status = Some(Default::default());
    }

    fn prepare_for_status_update(new: &mut PriorityLevelConfiguration, old: &PriorityLevelConfiguration) {
        status::keep_metadata(&mut new.metadata, &old.metadata);
    }

    fn validate(level: &PriorityLevelConfiguration) -> Vec<Cause> {
        let (spec, path) = (level.spec.clone().unwrap_or_default(), Path::new("spec"));
        let name = level.metadata.name.as_deref().unwrap_or_default();
        let mut causes = Vec::new();
        if has_round_trip(level) {
            let detail = format!("annotation '{ROUND_TRIP}' is forbidden");
            causes.push(field::forbidden(&Path::new("metadata").child("annotations"), &detail));
        }
        if (name == EXEMPT) != (spec.type_ == "Exempt") {
            let detail = "must be 'Exempt' if and only if `name` is 'exempt'";
            causes.push(field::invalid(&path.child("type"), &spec.type_, detail));
        }
        causes.extend(validate(&spec, &path));
        causes.extend(fixed(name, &spec, &path));
        causes.extend(conditions(level));
        causes
    }

    fn validate_status_update(level: &PriorityLevelConfiguration, _old: &PriorityLevelConfiguration) -> Vec<Cause> {
        conditions(level)
    }

    fn cells(level: &PriorityLevelConfiguration, now: Timestamp) -> Vec<Value> {
        let spec = level.spec.clone().unwrap_or_default();
        let limited = spec.limited.as_ref();
        let exempt_shares = spec.exempt.as_ref().and_then(|exempt| exempt.nominal_concurrency_shares);
        let shares = limited.and_then(|limited| limited.nominal_concurrency_shares).or(exempt_shares);
        let queuing = limited.and_then(|limited| limited.limit_response.as_ref()?.queuing.clone());
        let shown = |number: Option<i32>| json!(number.map_or_else(|| cells::NONE.to_owned(), |n| n.to_string()));
        vec![
            cells::name(&level.metadata),
            json!(spec.type_),
            shown(shares),
            shown(queuing.as_ref().and_then(|queuing| queuing.queues)),
            shown(queuing.as_ref().and_then(|queuing| queuing.hand_size)),
            shown(queuing.as_ref().and_then(|queuing| queuing.queue_length_limit)),
            cells::age(&level.metadata, now),
        ]
    }
}

/// What is mandatory can be changed in nothing but what is set aside for exempt requests.
fn fixed(name: &str, spec: &PriorityLevelConfigurationSpec, path: &Path) -> Option<Cause> {
    let mut fixed = mandatory::level(name)?;
    let except = if name == EXEMPT { " except the 'spec.exempt' field" } else { "" };
    if name == EXEMPT {
        fixed.exempt.clone_from(&spec.exempt);
    }
    let detail = format!("spec of '{name}'{except} must equal the fixed value");
    (fixed != *spec).then(|| field::invalid(path, spec, &detail))
}

fn has_round_trip(level: &PriorityLevelConfiguration) -> bool {
    level.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(ROUND_TRIP))
}

fn conditions(level: &PriorityLevelConfiguration) -> Vec<Cause> {
    let conditions = level.status.iter().flat_map(|status| status.conditions.iter().flatten());
    super::conditions(conditions.map(|condition| condition.type_.as_deref().unwrap_or_default()))
}

fn validate(spec: &PriorityLevelConfigurationSpec, path: &Path) -> Vec<Cause> {
    let (exempt_path, limited_path) = (path.child("exempt"), path.child("limited"));
    match (spec.type_.as_str(), &spec.exempt, &spec.limited) {
        ("Exempt", _, Some(_)) => {
            vec![field::forbidden(&limited_path, "must be nil if the type is not Limited")]
        }
        ("Exempt", Some(exempt), None) => self::exempt(exempt, &exempt_path),
        ("Exempt", None, None) => Vec::new(),
        ("Limited", Some(_), _) => vec![field::forbidden(&exempt_path, "must be nil if the type is Limited")],
        ("Limited", None, None) => {
            vec![field::required(&limited_path, "must not be empty when type is Limited")]
        }
        ("Limited", None, Some(limited)) => self::limited(limited, &limited_path),
        ("", ..) => vec![field::required(&path.child("type"), "")],
        (other, ..) => vec![field::unsupported(&path.child("type"), other, TYPES)],
    }
}

fn exempt(exempt: &ExemptPriorityLevelConfiguration, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(shares) = exempt.nominal_concurrency_shares.filter(|shares| *shares < 0) {
        let path = path.child("nominalConcurrencyShares");
        causes.push(field::invalid(&path, shares, "must be a non-negative integer"));
    }
    causes.extend(lendable(exempt.lendable_percent, path));
    causes
}

fn limited(limited: &LimitedPriorityLevelConfiguration, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let shares = limited.nominal_concurrency_shares.unwrap_or_default();
    if shares < 0 {
        let path = path.child("nominalConcurrencyShares");
        causes.push(field::invalid(&path, shares, "must be a non-negative integer"));
    }
    causes.extend(response(limited.limit_response.as_ref(), &path.child("limitResponse")));
    causes.extend(lendable(limited.lendable_percent, path));
    if let Some(percent) = limited.borrowing_limit_percent.filter(|percent| *percent < 0) {
        let detail = "if specified, must be a non-negative integer";
        causes.push(field::invalid(&path.child("borrowingLimitPercent"), percent, detail));
    }
    causes
}

fn lendable(percent: Option<i32>, path: &Path) -> Option<Cause> {
    let percent = percent.filter(|percent| !(0..=100).contains(percent))?;
    Some(field::invalid(&path.child("lendablePercent"), percent, "must be between 0 and 100, inclusive"))
}

fn response(response: Option<&LimitResponse>, path: &Path) -> Vec<Cause> {
    let kind = response.map(|response| response.type_.as_str()).unwrap_or_default();
    match (kind, response.and_then(|response| response.queuing.as_ref())) {
        ("Reject", Some(_)) => {
            let detail = "must be nil if limited.limitResponse.type is not Limited";
            vec![field::forbidden(&path.child("queuing"), detail)]
        }
        ("Queue", None) => {
            let detail = "must not be empty if limited.limitResponse.type is Limited";
            vec![field::required(&path.child("queuing"), detail)]
        }
        ("Queue", Some(queuing)) => self::queuing(queuing, &path.child("queuing")),
        ("Reject", None) => Vec::new(),
        ("", _) => vec![field::required(&path.child("type"), "")],
        (other, _) => vec![field::unsupported(&path.child("type"), other, RESPONSES)],
    }
}

fn queuing(queuing: &QueuingConfiguration, path: &Path) -> Vec<Cause> {
    let queues = queuing.queues.unwrap_or_default();
    let numbers = [
        ("queueLengthLimit", queuing.queue_length_limit.unwrap_or_default()),
        ("queues", queues),
        ("handSize", queuing.hand_size.unwrap_or_default()),
    ];
    let low = numbers.iter().filter(|(_, number)| *number <= 0);
    let mut causes: Vec<Cause> =
        low.map(|(name, number)| field::invalid(&path.child(name), number, "must be positive")).collect();
    if queues > MOST_QUEUES {
        let detail = format!("must not be greater than {MOST_QUEUES}");
        causes.push(field::invalid(&path.child("queues"), queues, &detail));
    }
    let hand = queuing.hand_size.unwrap_or_default();
    let bits = (f64::from(queues.max(1)).log2() * f64::from(hand)).ceil();
    if hand > 0 && hand > queues {
        let detail = format!("should not be greater than queues ({queues})");
        causes.push(field::invalid(&path.child("handSize"), hand, &detail));
    } else if hand > 0 && bits > MOST_BITS {
        let detail = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MOST_BITS}"
        );
        causes.push(field::invalid(&path.child("handSize"), hand, &detail));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::{Strategy, Typed};

    #[test]
    fn a_limited_level_queues_by_default_numbers() {
        let strategy = Typed::<PriorityLevelConfigurationKind>::default();
        let level = json!({"metadata": {"name": "a"}, "spec": {"type": "Limited",
            "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}});
        let level = strategy.decode(level).unwrap();
        assert_eq!(strategy.validate(&level), []);
        let row = strategy.cells(&level, Timestamp::UNIX_EPOCH);
        assert_eq!(row[1..6], ["Limited", "30", "64", "8", "50"].map(Value::from));
    }

    #[test]
    fn only_one_level_is_exempt() {
        let strategy = Typed::<PriorityLevelConfigurationKind>::default();
        let level = strategy.decode(json!({"metadata": {"name": "a"}, "spec": {"type": "Exempt"}})).unwrap();
        assert_eq!(strategy.validate(&level)[0].field, "spec.type");
    }
}

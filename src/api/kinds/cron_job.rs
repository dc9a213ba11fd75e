//! Cron jobs: jobs by the clock.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;
use serde_json::{Value, json};

use super::{cells, job, names, pod_template, workload};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names, Subresource},
    status::Cause,
    update_check::{self, UpdateCheck},
};

const CONCURRENCY: &[&str] = &["Allow", "Forbid", "Replace"];
/// Jobs get a suffix of eleven characters.
const NAME_LIMIT_BYTES: usize = 52;

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
        pod_template::defaults::template(&mut job.template);
    }

    fn validate(cron: &CronJob) -> Vec<Cause> {
        let path = Path::new("spec");
        let spec = &cron.spec;
        let mut causes = Vec::new();
        match spec.schedule.as_str() {
            "" => causes.push(field::required(&path.child("schedule"), "")),
            schedule => causes.extend(self::schedule(schedule, &path.child("schedule"))),
        }
        if let Some(zone) = spec.time_zone.as_deref()
            && jiff::tz::TimeZone::get(zone).is_err()
        {
            causes.push(field::invalid(&path.child("timeZone"), zone, &format!("unknown time zone {zone}")));
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
        causes.extend(job::validate_spec(&template, &path.child("jobTemplate").child("spec")));
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

//! What a Deployment needs next: its ReplicaSets are created, scaled and cleaned up so that a new
//! template replaces the old one as the strategy says. Pure.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};

use crate::controllers::deployment::{
    revision,
    rolling::{self, Bounds, Share},
};

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Create the ReplicaSet of a new template.
    Create(Box<ReplicaSet>),
    /// Change how many pods a ReplicaSet has.
    Scale {
        /// Which.
        set: Arc<ReplicaSet>,
        /// To how many.
        replicas: i32,
        /// Annotations that go with it.
        annotations: BTreeMap<String, String>,
    },
    /// Bring annotations or `minReadySeconds` of a ReplicaSet up to date.
    Refresh {
        /// Which.
        set: Arc<ReplicaSet>,
        /// Its annotations.
        annotations: BTreeMap<String, String>,
    },
    /// Delete a ReplicaSet beyond the history's limit.
    Delete(Arc<ReplicaSet>),
    /// Note the current revision on the Deployment.
    SetRevision(i64),
}

/// The ReplicaSets of a Deployment.
#[derive(Debug, Clone, Default)]
pub struct Sets {
    /// The one with the present template.
    pub current: Option<Arc<ReplicaSet>>,
    /// All others, oldest first.
    pub old: Vec<Arc<ReplicaSet>>,
}

impl Sets {
    /// Sorts the Deployment's own ReplicaSets.
    pub fn new(deployment: &Deployment, own: &[Arc<ReplicaSet>]) -> Self {
        let current = revision::find_current(deployment, own).cloned();
        let uid = current.as_ref().and_then(|set| set.metadata.uid.clone());
        let mut old: Vec<_> = own.iter().filter(|set| set.metadata.uid != uid || uid.is_none()).cloned().collect();
        old.sort_by_key(|set| (set.metadata.creation_timestamp.as_ref().map(|time| time.0), set.metadata.name.clone()));
        Self { current, old }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.current.iter().chain(&self.old)
    }
}

/// Decides. `old_pods_run` says whether any pod of an old ReplicaSet may still run.
pub fn plan(deployment: &Deployment, sets: &Sets, old_pods_run: bool) -> Vec<Action> {
    let Some(spec) = &deployment.spec else { return Vec::new() };
    let bounds = bounds(spec);
    let rollout = Rollout { deployment, spec, sets, bounds };
    if spec.paused == Some(true) {
        let mut actions = rollout.scale();
        if actions.is_empty() {
            actions = rollout.clean_up();
        }
        return actions;
    }
    if rollout.was_scaled() {
        return rollout.scale();
    }
    let mut actions = match spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) {
        Some("Recreate") => rollout.recreate(old_pods_run),
        _ => rollout.rolling_update(),
    };
    if rollout.is_complete() && actions.is_empty() {
        actions = rollout.clean_up();
    }
    actions.extend(rollout.note_revision());
    actions
}

/// The bounds of a Deployment: Recreate neither surges nor keeps anything available.
pub fn bounds(spec: &DeploymentSpec) -> Bounds {
    let replicas = spec.replicas.unwrap_or(1);
    let strategy = spec.strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
        return Bounds { replicas, surge: 0, unavailable: 0 };
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    Bounds::new(
        replicas,
        rolling.and_then(|rolling| rolling.max_surge.as_ref()),
        rolling.and_then(|rolling| rolling.max_unavailable.as_ref()),
    )
}

/// Pods that a ReplicaSet is to have.
pub fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Pods of it that are available.
pub fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

struct Rollout<'a> {
    deployment: &'a Deployment,
    spec: &'a DeploymentSpec,
    sets: &'a Sets,
    bounds: Bounds,
}

impl Rollout<'_> {
    fn revision(&self) -> i64 {
        let current = self.sets.current.as_ref();
        let own = current.map_or(0, |set| revision::revision_of(set.metadata.annotations.as_ref()));
        revision::next_revision(&self.sets.old).max(own)
    }

    fn rolling_update(&self) -> Vec<Action> {
        let old_total = self.sets.old.iter().map(|set| size(set)).sum();
        let Some(current) = &self.sets.current else {
            return vec![self.create(rolling::new_size(&self.bounds, 0, old_total))];
        };
        let wanted = rolling::new_size(&self.bounds, size(current), old_total);
        if wanted != size(current) {
            return vec![self.scale_to(current, wanted)];
        }
        let mut actions = self.refresh(current);
        let old: Vec<Share> = self.sets.old.iter().map(share).collect();
        let sizes = rolling::old_sizes(&self.bounds, &share(current), &old);
        actions.extend(self.scale_all(&self.sets.old, &sizes));
        actions
    }

    /// Recreate: all old pods are gone before the first new one comes.
    fn recreate(&self, old_pods_run: bool) -> Vec<Action> {
        let running: Vec<Action> =
            self.sets.old.iter().filter(|set| size(set) > 0).map(|set| self.scale_to(set, 0)).collect();
        if !running.is_empty() {
            return running;
        }
        if old_pods_run {
            return Vec::new();
        }
        match &self.sets.current {
            None => vec![self.create(self.bounds.replicas)],
            Some(current) if size(current) != self.bounds.replicas => {
                vec![self.scale_to(current, self.bounds.replicas)]
            }
            Some(current) => self.refresh(current),
        }
    }

    /// Whether `spec.replicas` changed since the active sets were last scaled.
    fn was_scaled(&self) -> bool {
        self.sets.all().filter(|set| size(set) > 0).any(|set| {
            let annotations = set.metadata.annotations.as_ref();
            let desired = annotations.and_then(|annotations| annotations.get(revision::DESIRED_REPLICAS));
            desired.and_then(|text| text.parse::<i32>().ok()).is_some_and(|desired| desired != self.bounds.replicas)
        })
    }

    /// Scales without rolling: the only active set takes all; in the middle of a rollout each set
    /// takes its part.
    fn scale(&self) -> Vec<Action> {
        let active: Vec<&Arc<ReplicaSet>> = self.sets.all().filter(|set| size(set) > 0).collect();
        let only = match active.as_slice() {
            [] => self.sets.current.as_ref().or(self.sets.old.last()),
            [only] => Some(*only),
            _ => None,
        };
        if let Some(only) = only {
            return self.scale_all(std::slice::from_ref(only), &BTreeMap::from([(name(only), self.bounds.replicas)]));
        }
        let saturated = self
            .sets
            .current
            .as_ref()
            .is_some_and(|set| size(set) == self.bounds.replicas && available(set) == self.bounds.replicas);
        if saturated {
            let none = self.sets.old.iter().map(|set| (name(set), 0)).collect();
            return self.scale_all(&self.sets.old, &none);
        }
        let shares: Vec<Share> = active.iter().map(|set| share(set)).collect();
        let sizes = rolling::proportional_sizes(&self.bounds, &shares);
        let active: Vec<Arc<ReplicaSet>> = active.into_iter().cloned().collect();
        self.scale_all(&active, &sizes)
    }

    fn scale_all(&self, sets: &[Arc<ReplicaSet>], sizes: &BTreeMap<String, i32>) -> Vec<Action> {
        sets.iter()
            .filter_map(|set| {
                let wanted = *sizes.get(&name(set))?;
                let annotated = self.annotations(set);
                let outdated = wanted > 0 && set.metadata.annotations.as_ref() != Some(&annotated);
                (wanted != size(set) || outdated && self.was_scaled()).then(|| self.scale_to(set, wanted))
            })
            .collect()
    }

    fn scale_to(&self, set: &Arc<ReplicaSet>, replicas: i32) -> Action {
        Action::Scale { set: set.clone(), replicas, annotations: self.annotations(set) }
    }

    fn annotations(&self, set: &ReplicaSet) -> BTreeMap<String, String> {
        let mut annotations = set.metadata.annotations.clone().unwrap_or_default();
        annotations.extend(revision::size_annotations(self.bounds.replicas, self.bounds.most()));
        annotations
    }

    fn create(&self, replicas: i32) -> Action {
        let set = revision::build(self.deployment, self.revision(), replicas, self.bounds.most());
        Action::Create(Box::new(set))
    }

    fn refresh(&self, current: &Arc<ReplicaSet>) -> Vec<Action> {
        let present = current.metadata.annotations.as_ref();
        let mut annotations = revision::annotations(self.deployment, present, self.revision());
        annotations.extend(revision::size_annotations(self.bounds.replicas, self.bounds.most()));
        let min_ready = current.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        if present == Some(&annotations) && min_ready == self.spec.min_ready_seconds.unwrap_or(0) {
            return Vec::new();
        }
        vec![Action::Refresh { set: current.clone(), annotations }]
    }

    fn note_revision(&self) -> Option<Action> {
        let revision = revision::revision_of(self.sets.current.as_ref()?.metadata.annotations.as_ref());
        let noted = revision::revision_of(self.deployment.metadata.annotations.as_ref());
        (revision > 0 && revision != noted).then_some(Action::SetRevision(revision))
    }

    fn is_complete(&self) -> bool {
        let current = self.sets.current.as_ref();
        let none_old = self
            .sets
            .old
            .iter()
            .all(|set| size(set) == 0 && set.status.as_ref().is_none_or(|status| status.replicas == 0));
        none_old && current.is_some_and(|set| available(set) >= self.bounds.replicas)
    }

    /// Deletes the oldest empty sets beyond `revisionHistoryLimit`.
    fn clean_up(&self) -> Vec<Action> {
        let limit = usize::try_from(self.spec.revision_history_limit.unwrap_or(10)).unwrap_or(usize::MAX);
        let mut idle: Vec<&Arc<ReplicaSet>> =
            self.sets.old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).collect();
        let surplus = idle.len().saturating_sub(limit);
        idle.sort_by_key(|set| revision::revision_of(set.metadata.annotations.as_ref()));
        idle.into_iter().take(surplus).filter(|set| is_idle(set)).map(|set| Action::Delete(set.clone())).collect()
    }
}

fn is_idle(set: &ReplicaSet) -> bool {
    let observed = set.status.as_ref().and_then(|status| status.observed_generation);
    size(set) == 0
        && set.status.as_ref().is_none_or(|status| status.replicas == 0)
        && observed >= set.metadata.generation
}

fn share(set: &Arc<ReplicaSet>) -> Share {
    let annotations = set.metadata.annotations.as_ref();
    let max_replicas =
        annotations.and_then(|annotations| annotations.get(revision::MAX_REPLICAS)).and_then(|text| text.parse().ok());
    Share { name: name(set), replicas: size(set), available: available(set), max_replicas }
}

fn name(set: &ReplicaSet) -> String {
    set.metadata.name.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(image: &str, replicas: i32) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "d", "uid": "u"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                     "template": {"metadata": {"labels": {"app": "web"}},
                                  "spec": {"containers": [{"name": "c", "image": image}]}}},
        }))
        .unwrap()
    }

    /// Carries out actions on `sets` as the API and the ReplicaSet controller would.
    fn carry_out(sets: &mut Vec<Arc<ReplicaSet>>, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Create(mut set) => {
                    set.metadata.uid = set.metadata.name.clone();
                    sets.push(Arc::new(*set));
                }
                Action::Scale { set, replicas, annotations } => change(sets, &set, |set| {
                    set.spec.get_or_insert_default().replicas = Some(replicas);
                    set.metadata.annotations = Some(annotations.clone());
                }),
                Action::Refresh { set, annotations } => {
                    change(sets, &set, |set| set.metadata.annotations = Some(annotations.clone()));
                }
                Action::Delete(set) => sets.retain(|other| other.metadata.uid != set.metadata.uid),
                Action::SetRevision(_) => {}
            }
        }
        for set in sets {
            let mut full = (**set).clone();
            let status = full.status.get_or_insert_default();
            status.replicas = size(set);
            status.available_replicas = Some(size(set));
            *set = Arc::new(full);
        }
    }

    fn change(sets: &mut [Arc<ReplicaSet>], wanted: &ReplicaSet, how: impl Fn(&mut ReplicaSet)) {
        for set in sets.iter_mut().filter(|set| set.metadata.uid == wanted.metadata.uid) {
            how(Arc::make_mut(set));
        }
    }

    fn settle(deployment: &Deployment, sets: &mut Vec<Arc<ReplicaSet>>) {
        for _ in 0..50 {
            let actions = plan(deployment, &Sets::new(deployment, sets), false);
            if actions.iter().all(|action| matches!(action, Action::SetRevision(_))) {
                return;
            }
            carry_out(sets, actions);
        }
        panic!("does not settle: {sets:#?}");
    }

    fn sizes(sets: &[Arc<ReplicaSet>]) -> Vec<(i64, i32)> {
        sets.iter().map(|set| (revision::revision_of(set.metadata.annotations.as_ref()), size(set))).collect()
    }

    #[test]
    fn a_new_template_replaces_the_old_and_a_rollback_takes_the_next_revision() {
        let mut sets = Vec::new();
        settle(&deployment("a", 3), &mut sets);
        settle(&deployment("b", 3), &mut sets);
        assert_eq!(sizes(&sets), [(1, 0), (2, 3)]);
        settle(&deployment("a", 3), &mut sets);
        assert_eq!(sizes(&sets), [(3, 3), (2, 0)]);
        let history = sets[0].metadata.annotations.as_ref().unwrap().get(revision::REVISION_HISTORY);
        assert_eq!(history.map(String::as_str), Some("1"));
    }

    #[test]
    fn scaling_touches_the_only_active_set() {
        let mut sets = Vec::new();
        settle(&deployment("a", 3), &mut sets);
        settle(&deployment("a", 5), &mut sets);
        settle(&deployment("a", 0), &mut sets);
        assert_eq!(sizes(&sets), [(1, 0)]);
        settle(&deployment("a", 2), &mut sets);
        assert_eq!(sizes(&sets), [(1, 2)]);
    }

    #[test]
    fn recreate_waits_for_old_pods() {
        let with_strategy = |image| {
            let mut deployment = deployment(image, 2);
            deployment.spec.as_mut().unwrap().strategy = serde_json::from_value(json!({"type": "Recreate"})).unwrap();
            deployment
        };
        let mut sets = Vec::new();
        settle(&with_strategy("a"), &mut sets);
        let next = with_strategy("b");
        let first = plan(&next, &Sets::new(&next, &sets), true);
        assert!(matches!(first.as_slice(), [Action::Scale { replicas: 0, .. }]));
        carry_out(&mut sets, first);
        assert_eq!(plan(&next, &Sets::new(&next, &sets), true), []);
        settle(&next, &mut sets);
        assert_eq!(sizes(&sets), [(1, 0), (2, 2)]);
    }

    #[test]
    fn a_paused_deployment_scales_but_does_not_roll() {
        let mut sets = Vec::new();
        settle(&deployment("a", 3), &mut sets);
        let mut paused = deployment("b", 4);
        paused.spec.as_mut().unwrap().paused = Some(true);
        settle(&paused, &mut sets);
        assert_eq!(sizes(&sets), [(1, 4)]);
    }

    #[test]
    fn history_beyond_its_limit_is_deleted() {
        let mut sets = Vec::new();
        for image in ["a", "b", "c", "d"] {
            let mut deployment = deployment(image, 1);
            deployment.spec.as_mut().unwrap().revision_history_limit = Some(1);
            settle(&deployment, &mut sets);
        }
        assert_eq!(sizes(&sets), [(3, 0), (4, 1)]);
    }
}

//! An operator as it is written with kube-rs: a derived definition, a controller with a finalizer that
//! keeps one ConfigMap per ship of a fleet, owner references, and a status by server-side apply.
//! Its lists are streamed by a watch, and a reflector mirrors what it makes.

use std::{collections::BTreeSet, fs::File, future::Future, sync::Arc, thread, time::Duration};

use futures_util::StreamExt as _;
use k8s_openapi::{
    api::core::v1::ConfigMap, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, CustomResource, CustomResourceExt as _, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{
        WatchStreamExt as _,
        controller::{Action, Controller},
        finalizer::{self, Event, finalizer},
        reflector::{self, reflector},
        wait::{Condition, await_condition, conditions},
        watcher::{self, watcher},
    },
};
use nix::sched::{CloneFlags, setns};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::harness::{PATIENCE, Scenario, scenario};

const MANAGER: &str = "harbour-master";
const FINALIZER: &str = "operator.example.com/harbour";

#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(group = "operator.example.com", version = "v1", kind = "Fleet", namespaced, status = "FleetStatus")]
#[kube(printcolumn = r#"{"name": "Afloat", "type": "integer", "jsonPath": ".status.afloat"}"#)]
struct FleetSpec {
    ships: BTreeSet<String>,
    #[serde(default)]
    colour: Colour,
    motto: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
enum Colour {
    #[default]
    White,
    Red,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FleetStatus {
    afloat: usize,
    observed_generation: Option<i64>,
}

/// What the operator may touch.
struct Harbour {
    fleets: Api<Fleet>,
    maps: Api<ConfigMap>,
}

#[test]
fn an_operator_reconciles_its_resources() {
    let Some(scenario) = scenario("tour-operator") else { return };
    on_host(&scenario, async |client| {
        definition(client.clone()).await;
        let namespace = scenario.namespace.as_str();
        let harbour = || Harbour {
            fleets: Api::namespaced(client.clone(), namespace),
            maps: Api::namespaced(client.clone(), namespace),
        };
        tokio::select! {
            () = operate(harbour()) => panic!("the operator has ended"),
            () = story(harbour(), &scenario) => {}
        }
    });
    scenario.kubectl.run("delete crd fleets.operator.example.com --timeout=30s");
}

/// Runs a future on a thread in the network of the scenario's host.
fn on_host(scenario: &Scenario, tour: impl AsyncFnOnce(Client) + Send) {
    let network = File::open(format!("/run/netns/{}", scenario.host.name())).unwrap();
    let kubeconfig = Kubeconfig::read_from(scenario.host.kubeconfig()).unwrap();
    let run = || {
        setns(network, CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
            tour(Client::try_from(config).unwrap()).await;
        });
    };
    thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

async fn definition(client: Client) {
    let (definitions, name) = (Api::<CustomResourceDefinition>::all(client), Fleet::crd_name());
    definitions.patch(name, &PatchParams::apply(MANAGER), &Patch::Apply(Fleet::crd())).await.unwrap();
    soon("the definition is established", await_condition(definitions, name, conditions::is_crd_established())).await;
}

async fn operate(harbour: Harbour) {
    let streamed = watcher::Config::default().streaming_lists();
    Controller::new(harbour.fleets.clone(), streamed.clone())
        .owns(harbour.maps.clone(), streamed)
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_millis(100)), Arc::new(harbour))
        .for_each(async |_| ())
        .await;
}

async fn reconcile(fleet: Arc<Fleet>, harbour: Arc<Harbour>) -> Result<Action, finalizer::Error<kube::Error>> {
    finalizer(&harbour.fleets, FINALIZER, fleet, async |event| match event {
        Event::Apply(fleet) => keep_afloat(&fleet, &harbour).await,
        Event::Cleanup(fleet) => farewell(&fleet, &harbour).await,
    })
    .await
}

async fn keep_afloat(fleet: &Fleet, harbour: &Harbour) -> Result<Action, kube::Error> {
    let fleet_name = fleet.name_any();
    let owner = json!([kube::Resource::controller_owner_ref(fleet, &()).unwrap()]);
    for ship in &fleet.spec.ships {
        let name = format!("{fleet_name}-{ship}");
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"fleet": fleet_name}, "ownerReferences": owner},
            "data": {"colour": fleet.spec.colour},
        });
        harbour.maps.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(map)).await?;
    }
    let mine = ListParams::default().labels(&format!("fleet={fleet_name}"));
    for map in harbour.maps.list(&mine).await? {
        let name = map.name_any();
        if !fleet.spec.ships.contains(name.trim_start_matches(&format!("{fleet_name}-"))) {
            harbour.maps.delete(&name, &DeleteParams::default()).await?;
        }
    }
    let status = FleetStatus { afloat: fleet.spec.ships.len(), observed_generation: fleet.metadata.generation };
    let status = json!({"apiVersion": "operator.example.com/v1", "kind": "Fleet", "status": status});
    harbour.fleets.patch_status(&fleet_name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(status)).await?;
    Ok(Action::await_change())
}

async fn farewell(fleet: &Fleet, harbour: &Harbour) -> Result<Action, kube::Error> {
    let farewell = ConfigMap {
        metadata: kube::api::ObjectMeta { name: Some("farewell".into()), ..Default::default() },
        ..Default::default()
    };
    assert_eq!(fleet.finalizers(), [FINALIZER]);
    harbour.maps.create(&PostParams::default(), &farewell).await?;
    Ok(Action::await_change())
}

async fn story(harbour: Harbour, scenario: &Scenario) {
    let (mirror, writer) = reflector::store();
    let maps = watcher(harbour.maps.clone(), watcher::Config::default().labels("fleet=argo"));
    let mirroring = reflector(writer, maps).applied_objects().for_each(async |_| ());
    let told = async {
        let mut fleet = Fleet::new("argo", FleetSpec { ships: ships("a b"), colour: Colour::Red, motto: None });
        harbour.fleets.create(&PostParams::default(), &fleet).await.unwrap();
        soon("two are afloat", await_condition(harbour.fleets.clone(), "argo", afloat(2))).await;
        let made = harbour.maps.get("argo-a").await.unwrap();
        assert_eq!(made.data.unwrap()["colour"], "Red");
        assert_eq!(made.metadata.owner_references.unwrap()[0].controller, Some(true));
        assert_eq!(scenario.kubectl.run("get fleets"), "NAME   AFLOAT\nargo   2\n");

        harbour.maps.delete("argo-b", &DeleteParams::default()).await.unwrap();
        soon("the lost ship is replaced", await_condition(harbour.maps.clone(), "argo-b", there())).await;

        let smaller = json!({"spec": {"ships": ["a"], "motto": "slow"}});
        fleet = harbour.fleets.patch("argo", &PatchParams::default(), &Patch::Merge(smaller)).await.unwrap();
        soon("one is afloat", await_condition(harbour.fleets.clone(), "argo", afloat(1))).await;
        assert_eq!(fleet.metadata.generation, Some(2));
        assert!(harbour.maps.get_opt("argo-b").await.unwrap().is_none());
        let mirrored = mirror.state().iter().map(|map| map.name_any()).collect::<Vec<_>>();
        assert!(mirrored.contains(&"argo-a".to_owned()), "{mirrored:?}");

        harbour.fleets.delete("argo", &DeleteParams::default()).await.unwrap();
        let uid = fleet.uid().unwrap();
        soon("it is finalized and gone", await_condition(harbour.fleets.clone(), "argo", conditions::is_deleted(&uid)))
            .await;
        harbour.maps.get("farewell").await.expect("the operator cleaned up");
        let gone = |map: Option<&ConfigMap>| map.is_none();
        soon("what it owned is collected", await_condition(harbour.maps.clone(), "argo-a", gone)).await;
    };
    tokio::select! {
        () = mirroring => panic!("the reflector has ended"),
        () = told => {}
    }
}

fn ships(names: &str) -> BTreeSet<String> {
    names.split(' ').map(ToOwned::to_owned).collect()
}

/// The status is of the present generation, and counts this many.
fn afloat(count: usize) -> impl Condition<Fleet> {
    move |fleet: Option<&Fleet>| {
        fleet.is_some_and(|fleet| {
            let status = fleet.status.clone().unwrap_or_default();
            status.afloat == count && status.observed_generation == fleet.metadata.generation
        })
    }
}

fn there() -> impl Condition<ConfigMap> {
    |map: Option<&ConfigMap>| map.is_some()
}

async fn soon<T, E: std::fmt::Debug>(what: &str, future: impl Future<Output = Result<T, E>>) -> T {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.unwrap_or_else(|_| panic!("after {PATIENCE:?} still not so: {what}")).unwrap()
}

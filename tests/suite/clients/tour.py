"""A tour of the API with the Python client: typed and dynamic, watches, server-side apply, exec, and
the bodies of refusals. Run as: tour.py KUBECONFIG NAMESPACE."""

import json
import sys
import time

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream

KUBECONFIG, NAMESPACE = sys.argv[1:]
GROUP = "python.example.com"


def refusal(call, *arguments, **options):
    """The Status that a call is refused with."""
    try:
        answer = call(*arguments, **options)
    except ApiException as error:
        status = json.loads(error.body)
        assert error.status == status["code"], error
        assert status["kind"] == "Status" and status["status"] == "Failure", status
        return status
    raise AssertionError(f"not refused: {answer}")


def config_maps():
    core = client.CoreV1Api()
    labelled = client.V1ObjectMeta(name="a", labels={"x": "y"})
    created = core.create_namespaced_config_map(NAMESPACE, client.V1ConfigMap(metadata=labelled, data={"k": "1"}))
    assert created.data == {"k": "1"} and created.metadata.uid and created.metadata.creation_timestamp.tzinfo

    exists = refusal(core.create_namespaced_config_map, NAMESPACE, {"metadata": {"name": "a"}})
    assert (exists["code"], exists["reason"]) == (409, "AlreadyExists")
    assert exists["message"] == 'configmaps "a" already exists'
    assert exists["details"] == {"kind": "configmaps", "name": "a"}
    missing = refusal(core.read_namespaced_config_map, "none", NAMESPACE)
    assert (missing["code"], missing["reason"], missing["message"]) == (404, "NotFound", 'configmaps "none" not found')
    invalid = refusal(core.create_namespaced_config_map, NAMESPACE, {"metadata": {"name": "A_"}})
    assert (invalid["code"], invalid["reason"]) == (422, "Invalid")
    cause = invalid["details"]["causes"][0]
    assert (cause["field"], cause["reason"]) == ("metadata.name", "FieldValueInvalid")

    created.data = {"k": "2"}
    assert core.replace_namespaced_config_map("a", NAMESPACE, created).data == {"k": "2"}
    stale = refusal(core.replace_namespaced_config_map, "a", NAMESPACE, created)
    assert stale["reason"] == "Conflict" and "the object has been modified" in stale["message"]
    merged = core.patch_namespaced_config_map("a", NAMESPACE, {"data": {"m": "1"}})
    assert merged.data == {"k": "2", "m": "1"}
    edited = core.patch_namespaced_config_map("a", NAMESPACE, [{"op": "remove", "path": "/data/m"}])
    assert edited.data == {"k": "2"}

    page = core.list_namespaced_config_map(NAMESPACE, limit=1)
    assert len(page.items) == 1 and page.metadata.remaining_item_count == 1
    rest = core.list_namespaced_config_map(NAMESPACE, limit=1, _continue=page.metadata._continue)
    assert len(rest.items) == 1 and not rest.metadata._continue
    assert len(core.list_namespaced_config_map(NAMESPACE, label_selector="x=y").items) == 1
    deleted = core.delete_namespaced_config_map("a", NAMESPACE)
    assert deleted["status"] == "Success" if isinstance(deleted, dict) else deleted.status == "Success"


def pods():
    core = client.CoreV1Api()
    script = "echo logged; sleep 1000"
    container = {"name": "main", "image": "busybox", "imagePullPolicy": "Never", "command": ["sh", "-c", script]}
    core.create_namespaced_pod(
        NAMESPACE,
        {"metadata": {"name": "p"}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}},
    )
    phases = []
    watcher = watch.Watch()
    for event in watcher.stream(core.list_namespaced_pod, NAMESPACE, timeout_seconds=60):
        phases.append((event["type"], event["object"].status.phase))
        if event["object"].status.phase == "Running":
            watcher.stop()
    assert phases[0][0] == "ADDED" and phases[-1] == ("MODIFIED", "Running"), phases
    log = watch.Watch().stream(core.read_namespaced_pod_log, "p", NAMESPACE)
    assert next(log) == "logged"
    log.close()

    execute = core.connect_get_namespaced_pod_exec
    streams = {"stdin": False, "stdout": True, "stderr": True, "tty": False}
    said = stream(execute, "p", NAMESPACE, command=["sh", "-c", "echo out; echo err >&2"], **streams)
    assert sorted(said.split()) == ["err", "out"], said
    streams["stdin"] = True
    talk = stream(
        execute, "p", NAMESPACE, command=["sh", "-c", "read x; echo got $x; exit 3"], _preload_content=False, **streams
    )
    talk.write_stdin("word\n")
    talk.run_forever(timeout=30)
    assert talk.read_stdout() == "got word\n" and talk.returncode == 3
    assert isinstance(core.delete_namespaced_pod("p", NAMESPACE), client.V1Pod)


def workloads():
    apps, batch = client.AppsV1Api(), client.BatchV1Api()
    containers = [{"name": "main", "image": "busybox"}]
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": containers}}
    deployment = apps.create_namespaced_deployment(
        NAMESPACE,
        {
            "metadata": {"name": "d"},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "d"}}, "template": template},
        },
    )
    assert deployment.spec.strategy.rolling_update.max_surge == "25%"
    assert deployment.spec.template.spec.dns_policy == "ClusterFirst"
    assert apps.read_namespaced_deployment_scale("d", NAMESPACE).spec.replicas in (0, None)
    scale = apps.patch_namespaced_deployment_scale("d", NAMESPACE, {"metadata": {"name": "d"}, "spec": {"replicas": 0}})
    assert scale.status.selector == "app=d"

    job = {"suspend": True, "template": {"spec": {"restartPolicy": "Never", "containers": containers}}}
    made = batch.create_namespaced_job(NAMESPACE, {"metadata": {"name": "j"}, "spec": job})
    assert made.spec.completions == 1 and "batch.kubernetes.io/controller-uid" in made.spec.selector.match_labels
    yearly = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}}
    assert batch.create_namespaced_cron_job(NAMESPACE, {"metadata": {"name": "c"}, "spec": yearly}).spec.suspend is False


def permissions():
    rbac = client.RbacAuthorizationV1Api()
    rule = client.V1PolicyRule(api_groups=[""], resources=["pods"], verbs=["get"])
    rbac.create_namespaced_role(NAMESPACE, client.V1Role(metadata=client.V1ObjectMeta(name="r"), rules=[rule]))
    rbac.create_namespaced_role_binding(
        NAMESPACE,
        client.V1RoleBinding(
            metadata=client.V1ObjectMeta(name="r"),
            role_ref=client.V1RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name="r"),
            subjects=[client.RbacV1Subject(api_group="rbac.authorization.k8s.io", kind="User", name="ann")],
        ),
    )

    def may(verb):
        attributes = {"namespace": NAMESPACE, "verb": verb, "resource": "pods"}
        review = {"spec": {"user": "ann", "resourceAttributes": attributes}}
        return client.AuthorizationV1Api().create_subject_access_review(review).status.allowed

    assert may("get") and not may("delete")
    request = client.AuthenticationV1TokenRequest(
        spec=client.V1TokenRequestSpec(audiences=["x"], expiration_seconds=600)
    )
    answer = client.CoreV1Api().create_namespaced_service_account_token("default", NAMESPACE, request)
    assert answer.status.token.count(".") == 2 and answer.status.expiration_timestamp


def custom_objects():
    extensions, custom = client.ApiextensionsV1Api(), client.CustomObjectsApi()
    properties = {
        "spec": {"type": "object", "properties": {"line": {"type": "integer"}}},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
    }
    names = {"plural": "kites", "singular": "kite", "kind": "Kite"}
    spec = {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]}
    extensions.create_custom_resource_definition({"metadata": {"name": f"kites.{GROUP}"}, "spec": spec})
    for event in watch.Watch().stream(
        extensions.list_custom_resource_definition, field_selector=f"metadata.name=kites.{GROUP}", timeout_seconds=30
    ):
        conditions = event["object"].status.conditions or []
        if any(condition.type == "Established" and condition.status == "True" for condition in conditions):
            break
    kites = (GROUP, "v1", NAMESPACE, "kites")

    def kite(name, line):
        return {"apiVersion": f"{GROUP}/v1", "kind": "Kite", "metadata": {"name": name}, "spec": {"line": line}}

    assert custom.create_namespaced_custom_object(*kites, kite("k", 5))["spec"] == {"line": 5}
    invalid = refusal(custom.create_namespaced_custom_object, *kites, kite("l", "x"))
    assert invalid["message"] == (
        f'Kite.{GROUP} "l" is invalid: spec.line: Invalid value: "string": spec.line in body must be of type integer: "string"'
    )
    assert custom.patch_namespaced_custom_object(*kites, "k", {"spec": {"line": 6}})["spec"] == {"line": 6}
    assert custom.patch_namespaced_custom_object_status(*kites, "k", {"status": {"up": True}})["status"] == {"up": True}
    assert len(custom.list_namespaced_custom_object(*kites)["items"]) == 1


def dynamically():
    discovery = dynamic.DynamicClient(client.ApiClient())
    kites = discovery.resources.get(api_version=f"{GROUP}/v1", kind="Kite")
    assert kites.namespaced and kites.get(namespace=NAMESPACE, name="k").spec.line == 6
    maps = discovery.resources.get(api_version="v1", kind="ConfigMap")

    def apply(value, manager, **options):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": {"a": value}}
        return maps.server_side_apply(body=body, namespace=NAMESPACE, field_manager=manager, **options)

    applied = apply("1", "one")
    assert applied.data.to_dict() == {"a": "1"} and applied.metadata.managedFields[0].operation == "Apply"
    try:
        apply("2", "two")
        raise AssertionError("no conflict")
    except dynamic.exceptions.ConflictError as error:
        status = json.loads(error.body)
        assert status["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.a', status
        assert status["details"]["causes"][0] == {
            "field": ".data.a",
            "message": 'conflict with "one"',
            "reason": "FieldManagerConflict",
        }
    assert apply("2", "two", force_conflicts=True).data.a == "2"
    seen = {event["object"].metadata.name for event in maps.watch(namespace=NAMESPACE, timeout=1)}
    assert "s" in seen, seen
    client.CoreV1Api().delete_collection_namespaced_config_map(NAMESPACE, field_selector="metadata.name=s")
    try:
        maps.get(namespace=NAMESPACE, name="s")
        raise AssertionError("still there")
    except dynamic.exceptions.NotFoundError:
        pass
    client.ApiextensionsV1Api().delete_custom_resource_definition(f"kites.{GROUP}")


def main():
    config.load_kube_config(KUBECONFIG)
    assert client.VersionApi().get_code().git_version.startswith("v1.36.")
    for part in (config_maps, pods, workloads, permissions, custom_objects, dynamically):
        started = time.monotonic()
        part()
        print(f"{part.__name__}: {time.monotonic() - started:.1f} s")
    print("all is as it should be")


main()

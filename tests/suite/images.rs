//! Images: imports and removals, archives that are broken, pulls from a real registry with and
//! without credentials, and what a pod says when its image cannot be had.

use std::fs;

use crate::harness::{Host, Image, PATIENCE, eventually, scenario, text};
use crate::pods::{becomes, script};

/// The only user of the registry, as htpasswd(1) writes it (bcrypt).
const HTPASSWD: &str = "user:$2y$05$kqo3k5V3oEPLBpxdu/jh.OS1X8IuZbIBZOq1UQslGVKIQdFrIOI3a";

#[test]
fn what_is_wrong_with_an_image_is_said() {
    let Some(scenario) = scenario("images-wrong") else { return };
    let kubectl = &scenario.kubectl;
    let with_image = |name: &str, image: &str, policy: &str| {
        script(name, "", "", "sleep 3600")
            .replace("image: busybox", &format!("image: '{image}'"))
            .replace("IfNotPresent", policy)
    };
    kubectl.apply(&with_image("invalid", "Not A Name", "Always"));
    kubectl.apply(&with_image("never", "busybox:absent", "Never"));
    kubectl.apply(&with_image("missing", "10.77.0.254:5000/missing:1", "Always"));
    let reason = "{.status.containerStatuses[0].state.waiting.reason}";
    becomes(kubectl, "pod invalid", reason, "InvalidImageName");
    becomes(kubectl, "pod never", reason, "ErrImageNeverPull");
    becomes(kubectl, "pod missing", reason, "ImagePullBackOff");
    let events = kubectl.run("events --for pod/missing");
    assert!(events.contains("Failed to pull image \"10.77.0.254:5000/missing:1\""), "{events}");
    let no_map = script("unset", "", "envFrom: [{configMapRef: {name: none}}],", "true");
    kubectl.apply(&no_map);
    becomes(kubectl, "pod unset", reason, "CreateContainerConfigError");
    let message = kubectl.path("pod unset", "{.status.containerStatuses[0].state.waiting.message}");
    assert_eq!(message, "configmap \"none\" not found");
}

#[test]
fn archives_are_imported_listed_and_removed() {
    let Some(scenario) = scenario("images-import") else { return };
    let host = scenario.host;
    let archive = Image::Redis.archive();
    let imported = host.nauplius(&format!("ctr images import {}", archive.display()));
    assert!(imported.status.success(), "{}", text(&imported));
    let listed = || text(&host.nauplius("ctr images ls"));
    assert!(listed().contains("docker.io/library/redis:latest"), "{}", listed());
    let removed = host.nauplius("ctr images rm docker.io/library/redis:latest");
    assert!(removed.status.success(), "{}", text(&removed));
    assert!(!listed().contains("redis"), "{}", listed());

    let whole = fs::read(&archive).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    for (name, contents) in
        [("flipped", flipped.as_slice()), ("short", &whole[..middle]), ("text", b"no archive".as_slice())]
    {
        let path = host.directory().join(name);
        fs::write(&path, contents).unwrap();
        let refused = host.nauplius(&format!("ctr images import {}", path.display()));
        assert!(!refused.status.success(), "{name} was imported: {}", text(&refused));
        assert!(text(&refused).contains(name), "the message does not name the file: {}", text(&refused));
        assert!(!listed().contains("redis"), "{}", listed());
    }
    let again = host.nauplius(&format!("ctr images import {}", archive.display()));
    assert!(again.status.success(), "{}", text(&again));
}

/// Starts Debian's registry on the host; it ends with the host.
fn registry(host: &Host, port: u16, htpasswd: Option<&str>) -> std::process::Child {
    let folder = host.directory().join(format!("registry-{port}"));
    fs::create_dir_all(&folder).unwrap();
    let auth = htpasswd.map_or_else(String::new, |line| {
        fs::write(folder.join("htpasswd"), format!("{line}\n")).unwrap();
        format!("auth: {{htpasswd: {{realm: test, path: {}/htpasswd}}}}\n", folder.display())
    });
    let configuration = format!(
        "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}/data}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n{auth}",
        folder.display()
    );
    fs::write(folder.join("config.yml"), configuration).unwrap();
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut command = host.command("docker-registry");
    command.arg("serve").arg(folder.join("config.yml")).stdout(log.try_clone().unwrap()).stderr(log);
    let child = command.spawn().unwrap();
    eventually("the registry answers", PATIENCE, || {
        host.sees(
            &format!("curl -s -o /dev/null -w %{{http_code}} http://127.0.0.1:{port}/v2/"),
            if htpasswd.is_some() { "401" } else { "200" },
        )
    });
    child
}

#[test]
fn images_are_pulled_from_a_real_registry() {
    let Some(scenario) = scenario("images-pull") else { return };
    let (host, kubectl) = (scenario.host, &scenario.kubectl);
    let mut registries = [registry(host, 5000, None), registry(host, 5001, Some(HTPASSWD))];
    let archive = Image::Nginx.archive();
    for target in ["127.0.0.1:5000/team/nginx:1", "127.0.0.1:5001/team/nginx:1"] {
        let push = format!(
            "skopeo copy --quiet --dest-tls-verify=false --dest-creds=user:secret oci-archive:{} docker://{target}",
            archive.display()
        );
        host.sh(&push);
    }
    let pod = |name: &str, image: &str, spec: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{{spec} terminationGracePeriodSeconds: 1, containers: [{{name: main, image: '{image}', imagePullPolicy: Always}}]}}}}"
        )
    };
    kubectl.apply(&pod("open", "127.0.0.1:5000/team/nginx:1", ""));
    kubectl.run("wait --for=condition=Ready pod/open --timeout=60s");
    let id = kubectl.path("pod open", "{.status.containerStatuses[0].imageID}");
    assert!(id.starts_with("127.0.0.1:5000/team/nginx@sha256:"), "{id}");

    kubectl.apply(&pod("closed", "127.0.0.1:5001/team/nginx:1", ""));
    let reason = "{.status.containerStatuses[0].state.waiting.reason}";
    becomes(kubectl, "pod closed", reason, "ImagePullBackOff");
    let config = r#"{"auths":{"127.0.0.1:5001":{"username":"user","password":"secret"}}}"#;
    kubectl.apply(&format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: pull}}, type: kubernetes.io/dockerconfigjson, stringData: {{.dockerconfigjson: '{config}'}}}}"
    ));
    kubectl.apply(&pod("credited", "127.0.0.1:5001/team/nginx:1", "imagePullSecrets: [{name: pull}],"));
    kubectl.run("wait --for=condition=Ready pod/credited --timeout=60s");
    kubectl.apply(&pod("unknown", "127.0.0.1:5000/team/none:1", ""));
    becomes(kubectl, "pod unknown", reason, "ImagePullBackOff");
    kubectl.run("delete pod --all --grace-period=1");
    for child in &mut registries {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

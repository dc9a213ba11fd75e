//! Programs that people run, made into images from Debian's packages: a web server and a store.

use crate::harness::{Image, PATIENCE, eventually, scenario};

#[test]
fn nginx_serves_a_page_from_a_config_map() {
    let Some(scenario) = scenario("nginx") else { return };
    let kubectl = &scenario.kubectl;
    scenario.host.add_image(Image::Nginx);
    kubectl.apply(
        "
apiVersion: v1
kind: ConfigMap
metadata: {name: page}
data: {index.html: served by nginx}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: nginx}
spec:
  replicas: 2
  selector: {matchLabels: {app: nginx}}
  template:
    metadata: {labels: {app: nginx}}
    spec:
      containers:
        - name: nginx
          image: nginx
          imagePullPolicy: IfNotPresent
          ports: [{containerPort: 80}]
          readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
          volumeMounts: [{name: page, mountPath: /usr/share/nginx/html}]
      volumes: [{name: page, configMap: {name: page}}]
",
    );
    kubectl.apply(
        "{apiVersion: v1, kind: Service, metadata: {name: nginx}, spec: {selector: {app: nginx}, ports: [{port: 80}]}}",
    );
    kubectl.run("rollout status deployment/nginx --timeout=90s");
    let address = kubectl.path("service nginx", "{.spec.clusterIP}");
    let fetch = format!("curl -s -m 2 http://{address}/");
    eventually("nginx answers", PATIENCE, || scenario.host.sees(&fetch, "served by nginx"));
    assert!(kubectl.run("logs deployment/nginx --all-pods=true").contains("GET / HTTP/1.1"));
}

#[test]
fn redis_keeps_its_data_over_a_restart() {
    let Some(scenario) = scenario("redis") else { return };
    let kubectl = &scenario.kubectl;
    scenario.host.add_image(Image::Redis);
    let data = scenario.host.directory().join("redis");
    std::fs::create_dir_all(&data).unwrap();
    scenario.host.sh(&format!("chown 999 {}", data.display()));
    kubectl.apply(&format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: redis}}
spec:
  strategy: {{type: Recreate}}
  selector: {{matchLabels: {{app: redis}}}}
  template:
    metadata: {{labels: {{app: redis}}}}
    spec:
      containers:
        - name: redis
          image: redis
          imagePullPolicy: IfNotPresent
          args: [--dir, /data, --appendonly, 'yes', --appendfsync, always]
          readinessProbe: {{exec: {{command: [redis-cli, ping]}}, periodSeconds: 1}}
          volumeMounts: [{{name: data, mountPath: /data}}]
      volumes: [{{name: data, hostPath: {{path: {}}}}}]
",
        data.display()
    ));
    kubectl.run("rollout status deployment/redis --timeout=90s");
    assert_eq!(kubectl.run("exec deployment/redis -- redis-cli set key value"), "OK\n");
    assert_eq!(scenario.host.sh(&format!("stat -c %u {}/appendonlydir", data.display())), "999\n");
    kubectl.run("rollout restart deployment/redis");
    kubectl.run("rollout status deployment/redis --timeout=90s");
    assert_eq!(kubectl.run("exec deployment/redis -- redis-cli get key"), "value\n");
}

//! What goes through a node to its containers: logs, exec, cp, attach and port-forward.

use crate::harness::{PATIENCE, eventually, scenario};
use crate::pods::{becomes, script};

#[test]
fn logs_come_in_every_form() {
    let Some(scenario) = scenario("logs") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(&script(
        "talker",
        "",
        "",
        "seq 1 5; sleep 1; echo oops >&2; until [ -e /go ]; do sleep 0.1; done; echo gone; sleep 3600",
    ));
    kubectl.run("wait --for=condition=Ready pod/talker --timeout=60s");
    eventually("all is written", PATIENCE, || match kubectl.run("logs talker") {
        text if text == "1\n2\n3\n4\n5\noops\n" => Ok(()),
        other => Err(other),
    });
    assert_eq!(kubectl.run("logs talker --tail=2"), "5\noops\n");
    assert_eq!(kubectl.run("logs -l app=talker --tail=1 --prefix"), "[pod/talker/main] oops\n");
    assert_eq!(kubectl.run("logs talker --limit-bytes=4"), "1\n2\n");
    assert_eq!(kubectl.run("logs talker --since-time=2100-01-01T00:00:00Z"), "");
    assert!(kubectl.run("logs talker --since=1h").starts_with("1\n"));
    let stamped = kubectl.run("logs talker --timestamps --tail=1");
    assert!(stamped.starts_with("20") && stamped.ends_with("Z oops\n"), "{stamped}");
    let follower = kubectl.spawn("logs -f talker --tail=1");
    eventually("the follower has begun", PATIENCE, || {
        if follower.output() == "oops\n" { Ok(()) } else { Err(follower.output()) }
    });
    kubectl.run("exec talker -- touch /go");
    eventually("the new line arrives", PATIENCE, || {
        if follower.output() == "oops\ngone\n" { Ok(()) } else { Err(follower.output()) }
    });
    let failure = kubectl.fails("logs talker -c none");
    assert!(failure.contains("container none is not valid for pod talker"), "{failure}");
    assert!(
        kubectl
            .fails("logs talker --previous")
            .contains("previous terminated container \"main\" in pod \"talker\" not found")
    );
}

#[test]
fn exec_carries_input_output_and_exit_codes() {
    let Some(scenario) = scenario("exec") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(&script("shell", "", "", "sleep 3600"));
    kubectl.run("wait --for=condition=Ready pod/shell --timeout=60s");
    let failure = kubectl.try_run("exec shell -- sh -c 'echo out; echo err >&2; exit 42'").unwrap_err();
    assert_eq!((failure.code, failure.stdout.as_str()), (Some(42), "out\n"));
    assert!(failure.stderr.contains("err\n") && failure.stderr.contains("exit code 42"), "{failure}");
    let input = vec![b'x'; 3 << 20];
    assert_eq!(kubectl.run_with("exec -i shell -- wc -c", &input).trim(), input.len().to_string());
    assert_eq!(kubectl.run("exec shell -- head -c 3145728 /dev/zero").len(), 3 << 20);
    let missing = kubectl.fails("exec shell -- no-such-program");
    assert!(missing.contains("executable file not found") || missing.contains("no-such-program"), "{missing}");
    // `script` gives kubectl the terminal that -t asks for. Without `exec` a shell may leave the
    // terminal's foreground to itself, and kubectl stops as soon as it touches the terminal.
    let mut command = std::process::Command::new("script");
    let kubectl = kubectl.command("exec -it shell -- sh -c 'tty; stty size'");
    let line = format!("exec {kubectl:?}").replace('"', "'");
    let output = command
        .args(["-qec", &line, "/dev/null"])
        .stdin(std::process::Stdio::null())
        .env("SHELL", "/bin/sh")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("/dev/pts/0"), "{text}");
}

#[test]
fn cp_goes_both_ways() {
    let Some(scenario) = scenario("cp") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(&script("files", "", "", "sleep 3600"));
    kubectl.run("wait --for=condition=Ready pod/files --timeout=60s");
    let folder = tempfile::Builder::new().prefix("nauplius-test-").tempdir().unwrap();
    let (there, back) = (folder.path().join("there"), folder.path().join("back"));
    std::fs::create_dir(&there).unwrap();
    let contents: Vec<u8> = (0..2_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    std::fs::write(there.join("data"), &contents).unwrap();
    kubectl.run(&format!("cp {} files:/tmp/copied", there.display()));
    kubectl.run(&format!("cp files:/tmp/copied {}", back.display()));
    assert!(std::fs::read(back.join("data")).unwrap() == contents, "the copy differs");
}

#[test]
fn port_forward_reaches_the_pod() {
    let Some(scenario) = scenario("forward") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(&script("web", "", "", "mkdir /www; echo forwarded > /www/index.html; exec httpd -f -p 80 -h /www"));
    kubectl.apply("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 8080, targetPort: 80}]}}");
    kubectl.run("wait --for=condition=Ready pod/web --timeout=60s");
    let forward = kubectl.spawn("port-forward pod/web 18080:80");
    let by_service = kubectl.spawn("port-forward service/web 18081:8080");
    for (port, child) in [(18080, &forward), (18081, &by_service)] {
        let fetch = format!("for i in 1 2 3; do curl -s -m 3 http://127.0.0.1:{port}/ || exit 1; done");
        eventually("the forwarded port answers", PATIENCE, || {
            scenario
                .host
                .sees(&fetch, "forwarded\nforwarded\nforwarded\n")
                .map_err(|error| format!("{error}\n{}", child.output()))
        });
    }
}

#[test]
fn attach_follows_the_output() {
    let Some(scenario) = scenario("attach") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(&script("ticker", "", "", "n=0; while :; do n=$((n+1)); echo tick $n; sleep 0.2; done"));
    kubectl.run("wait --for=condition=Ready pod/ticker --timeout=60s");
    let attached = kubectl.spawn("attach ticker");
    eventually("ticks arrive", PATIENCE, || {
        if attached.output().contains("tick 3") || attached.output().matches("tick").count() > 2 {
            Ok(())
        } else {
            Err(attached.output())
        }
    });
    drop(attached);
    kubectl.apply(&script(
        "reader",
        "restartPolicy: Never,",
        "stdin: true, stdinOnce: true,",
        "read line; echo got $line",
    ));
    kubectl.run("wait --for=condition=Ready pod/reader --timeout=60s");
    kubectl.run_with("attach -i reader", b"hello\n");
    becomes(kubectl, "pod reader", "{.status.phase}", "Succeeded");
    assert_eq!(kubectl.run("logs reader"), "got hello\n");
}

//! Images made of this machine's own programs, once, in target/test-images.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use parking_lot::Mutex;

use super::host::text;

/// An image of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// Debian's static busybox, as `busybox:latest`.
    Busybox,
    /// The same with curl, as `tools:latest`: what a static program asks of the resolver fails.
    Tools,
    /// Debian's nginx, as `nginx:latest`.
    Nginx,
    /// Debian's redis, as `redis:latest`.
    Redis,
}

/// What nginx is configured with: logs to standard output and error, its page under /usr/share/nginx/html.
const NGINX_CONFIGURATION: &str = "user www-data;\\nworker_processes 1;\\nerror_log /dev/stderr;\\npid /tmp/nginx.pid;\\n\
    events {}\\nhttp {\\n access_log /dev/stdout;\\n server {\\n  listen 80;\\n  root /usr/share/nginx/html;\\n }\\n}\\n";

impl Image {
    /// The archive, in the OCI layout.
    pub fn archive(self) -> PathBuf {
        // Tests that run at the same time must not make the same image.
        static MAKING: Mutex<()> = Mutex::new(());
        let _making = MAKING.lock();
        let path = root().join("target/test-images").join(self.file_name());
        if !is_newer(&path, &script()) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            self.make(&path);
        }
        path
    }

    /// Name of the archive.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Busybox => "busybox.tar",
            Self::Tools => "tools.tar",
            Self::Nginx => "nginx.tar",
            Self::Redis => "redis.tar",
        }
    }

    fn make(self, path: &Path) {
        let mut command = Command::new(script());
        command.arg("--output").arg(path);
        match self {
            Self::Busybox => {
                command.args(["--tag=docker.io/library/busybox:latest", "--busybox=/bin/busybox", "--command=sh"]);
                command.args(["--directory=/home", "--directory=/etc"]);
            }
            Self::Tools => {
                command.args(["--tag=docker.io/library/tools:latest", "--busybox=/bin/busybox"]);
                command.args(["--program=/usr/bin/curl", "--command=sh"]);
            }
            Self::Nginx => {
                command.args(["--tag=docker.io/library/nginx:latest", "--program=/usr/sbin/nginx"]);
                command.args(["--user-entry=www-data:33", "--directory=/var/log/nginx", "--directory=/var/lib/nginx"]);
                command.args(["--text", &format!("/etc/nginx/nginx.conf={NGINX_CONFIGURATION}")]);
                command.args(["--text", "/usr/share/nginx/html/index.html=Welcome to nginx!\\n"]);
                command.args(["--entrypoint=/usr/sbin/nginx", "--command=-g 'daemon off;'"]);
            }
            Self::Redis => {
                command.args(["--tag=docker.io/library/redis:latest", "--program=/usr/bin/redis-server"]);
                command.args(["--program=/usr/bin/redis-cli", "--user-entry=redis:999", "--directory=/data:755:999"]);
                command.args([
                    "--user=redis",
                    "--entrypoint=/usr/bin/redis-server",
                    "--command=--bind '* -::*' --protected-mode no --dir /data",
                ]);
            }
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", text(&output));
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn script() -> PathBuf {
    root().join("scripts/make-image")
}

fn is_newer(path: &Path, than: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    matches!((modified(path), modified(than)), (Ok(path), Ok(than)) if path > than)
}

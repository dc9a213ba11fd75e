//! A pod's `/etc/resolv.conf` and `/etc/hosts` (Kubernetes documentation, "DNS for Services and
//! Pods").

use std::{fmt::Write, net::IpAddr};

use k8s_openapi::api::core::v1::Pod;

use crate::kubelet::{Config, names};

/// Most name servers a resolver uses.
const NAMESERVER_LIMIT: usize = 3;
/// Most search domains (API validation).
const SEARCH_LIMIT: usize = 32;

/// What a resolver is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolver {
    /// `nameserver`
    pub nameservers: Vec<String>,
    /// `search`
    pub searches: Vec<String>,
    /// `options`
    pub options: Vec<String>,
}

impl Resolver {
    /// Reads resolv.conf(5).
    pub fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let keyword = words.next().unwrap_or_default();
            let words = words.take_while(|word| !word.starts_with(['#', ';'])).map(str::to_owned);
            match keyword {
                "nameserver" => resolver.nameservers.extend(words.take(1)),
                "search" | "domain" => resolver.searches = words.filter(|word| word != ".").collect(),
                "options" => resolver.options.extend(words),
                _ => {}
            }
        }
        resolver
    }

    /// Writes resolv.conf(5).
    pub fn render(&self) -> String {
        let mut text = String::new();
        if !self.searches.is_empty() {
            writeln!(text, "search {}", self.searches.join(" ")).expect("writing to a String succeeds");
        }
        for nameserver in &self.nameservers {
            writeln!(text, "nameserver {nameserver}").expect("writing to a String succeeds");
        }
        if !self.options.is_empty() {
            writeln!(text, "options {}", self.options.join(" ")).expect("writing to a String succeeds");
        }
        text
    }
}

/// The resolver configuration of a pod; `host` is the node's own.
pub fn resolver(pod: &Pod, config: &Config, host: &Resolver) -> Resolver {
    let Some(spec) = &pod.spec else { return host.clone() };
    let host_network = spec.host_network == Some(true);
    let mut resolver = match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "None" => Resolver::default(),
        "ClusterFirstWithHostNet" => cluster_first(pod, config, host),
        "ClusterFirst" if !host_network && !config.cluster_dns.is_empty() => cluster_first(pod, config, host),
        _ => host.clone(),
    };
    if let Some(wish) = &spec.dns_config {
        append(&mut resolver.nameservers, wish.nameservers.iter().flatten());
        append(&mut resolver.searches, wish.searches.iter().flatten());
        for option in wish.options.iter().flatten() {
            let name = option.name.as_deref().unwrap_or_default();
            resolver.options.retain(|existing| existing.split(':').next() != Some(name));
            let value = option.value.as_deref().map(|value| format!(":{value}")).unwrap_or_default();
            resolver.options.push(format!("{name}{value}"));
        }
    }
    resolver.nameservers.truncate(NAMESERVER_LIMIT);
    resolver.searches.truncate(SEARCH_LIMIT);
    resolver
}

/// A pod's `/etc/hosts`. With the host's network, `host` is the node's own file.
pub fn hosts(pod: &Pod, addresses: &[IpAddr], cluster_domain: &str, host: Option<&str>) -> String {
    let mut text = match host {
        Some(host) => format!("# Kubernetes-managed hosts file (host network).\n{host}"),
        None => own_hosts(pod, addresses, cluster_domain),
    };
    let aliases = pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten());
    for (index, alias) in aliases.enumerate() {
        if index == 0 {
            text.push_str("\n# Entries added by HostAliases.\n");
        }
        let names = alias.hostnames.iter().flatten().cloned().collect::<Vec<_>>().join("\t");
        writeln!(text, "{}\t{names}", alias.ip).expect("writing to a String succeeds");
    }
    text
}

fn own_hosts(pod: &Pod, addresses: &[IpAddr], cluster_domain: &str) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    let name = names::short_hostname(pod);
    for address in addresses {
        match names::domain(pod, cluster_domain) {
            Some(domain) => writeln!(text, "{address}\t{name}.{domain}\t{name}"),
            None => writeln!(text, "{address}\t{name}"),
        }
        .expect("writing to a String succeeds");
    }
    text
}

fn cluster_first(pod: &Pod, config: &Config, host: &Resolver) -> Resolver {
    let domain = &config.cluster_domain;
    let namespace = names::namespace(pod);
    let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    append(&mut searches, &host.searches);
    Resolver {
        nameservers: config.cluster_dns.iter().map(ToString::to_string).collect(),
        searches,
        options: vec!["ndots:5".to_owned()],
    }
}

fn append<'a>(list: &mut Vec<String>, more: impl IntoIterator<Item = &'a String>) {
    for item in more {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec})).unwrap()
    }

    fn render(spec: Value) -> String {
        let config = Config::new("edge", vec!["192.0.2.1".parse().unwrap()]);
        let host = Resolver::parse("# host\nnameserver 192.0.2.53\nsearch lan\noptions edns0\n");
        resolver(&pod(spec), &config, &host).render()
    }

    #[test]
    fn the_cluster_is_asked_first() {
        assert_eq!(
            render(json!({"containers": []})),
            "search n.svc.cluster.local svc.cluster.local cluster.local lan\nnameserver 10.43.0.10\noptions ndots:5\n"
        );
    }

    #[test]
    fn the_host_network_and_default_use_the_hosts_resolver() {
        let host = "search lan\nnameserver 192.0.2.53\noptions edns0\n";
        assert_eq!(render(json!({"containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirst"})), host);
        assert_eq!(render(json!({"containers": [], "dnsPolicy": "Default"})), host);
    }

    #[test]
    fn dns_config_is_merged() {
        let spec = json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"],
            "searches": ["a.b"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}});
        assert_eq!(render(spec), "search a.b\nnameserver 1.1.1.1\noptions ndots:2 edns0\n");
        let spec = json!({"containers": [], "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}});
        assert!(render(spec).ends_with("options ndots:2\n"));
    }

    #[test]
    fn hosts_names_the_pod_and_its_aliases() {
        let pod = pod(json!({"containers": [], "hostAliases": [{"ip": "192.0.2.9", "hostnames": ["a", "b"]}]}));
        let text = hosts(&pod, &["10.42.0.2".parse().unwrap()], "cluster.local", None);
        assert!(text.contains("\n10.42.0.2\tp\n"));
        assert!(text.ends_with("\n# Entries added by HostAliases.\n192.0.2.9\ta\tb\n"));
    }
}

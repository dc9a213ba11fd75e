//! Service CIDRs: the networks that services get their addresses from (KEP-1880).

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use serde_json::{Value, json};

use super::{cells, names, status};
use crate::api::{
    field::{self, IMMUTABLE, Path},
    kind::{Column, Kind, Names, Subresource},
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::network,
};

/// `networking.k8s.io/v1.ServiceCIDR`
pub struct ServiceCidrKind;

impl Kind for ServiceCidrKind {
    type Object = ServiceCIDR;
    const NAMES: Names = Names {
        subresources: &[Subresource::Status],
        ..names::cluster(names::NETWORKING, "ServiceCIDR", "servicecidrs", "servicecidr")
    };
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_OBJECT;
    const COLUMNS: &'static [Column] = &[cells::NAME, cells::column("CIDRs", "string", "The networks."), cells::AGE];

    fn prepare_for_create(object: &mut ServiceCIDR) {
        object.status = Some(Default::default());
    }

    fn prepare_for_status_update(new: &mut ServiceCIDR, old: &ServiceCIDR) {
        status::keep_metadata(&mut new.metadata, &old.metadata);
    }

    fn validate(object: &ServiceCIDR) -> Vec<Cause> {
        networks(cidrs(object), &Path::new("spec").child("cidrs"))
    }

    /// Nothing but a second network that is added is looked at.
    fn validate_again(_new: &ServiceCIDR, _old: &ServiceCIDR) -> Vec<Cause> {
        Vec::new()
    }

    fn validate_update(new: &ServiceCIDR, old: &ServiceCIDR) -> Vec<Cause> {
        let path = Path::new("spec").child("cidrs");
        let given = new.spec.as_ref().and_then(|spec| spec.cidrs.as_ref());
        let (new, old) = (cidrs(new), cidrs(old));
        let is_added = (old.len(), new.len()) == (1, 2);
        if !is_added && old.len() != new.len() {
            return vec![field::invalid(&path, given, IMMUTABLE)];
        }
        let pairs = new.iter().zip(old).enumerate();
        let mut causes: Vec<Cause> =
            pairs.flat_map(|(index, (new, old))| field::immutable(&path.index(index), new, old)).collect();
        if is_added {
            causes.extend(networks(new, &path));
        }
        causes
    }

    fn cells(object: &ServiceCIDR, now: Timestamp) -> Vec<Value> {
        vec![cells::name(&object.metadata), json!(cidrs(object).join(",")), cells::age(&object.metadata, now)]
    }
}

fn cidrs(object: &ServiceCIDR) -> &[String] {
    object.spec.as_ref().and_then(|spec| spec.cidrs.as_deref()).unwrap_or_default()
}

fn networks(cidrs: &[String], path: &Path) -> Vec<Cause> {
    if cidrs.is_empty() {
        return vec![field::required(path, "at least one CIDR required")];
    }
    if cidrs.len() > 2 {
        let detail = "may only hold up to 2 values";
        return vec![field::invalid(path, cidrs, detail)];
    }
    let mut causes = Vec::new();
    let mut families = Vec::new();
    for (index, text) in cidrs.iter().enumerate() {
        let Ok(network) = text.parse::<IpNet>() else {
            causes.extend(field::invalid_each(&path.index(index), text, &network::cidr(text)));
            continue;
        };
        families.push(network.addr().is_ipv4());
        let canonical = network.trunc().to_string();
        if canonical != *text {
            let detail = format!("must be in canonical form ({canonical:?})");
            causes.push(field::invalid(&path.index(index), text, &detail));
        }
    }
    if let [first, second] = families.as_slice()
        && first == second
    {
        let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        causes.push(field::invalid(path, cidrs, detail));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(cidrs: &[&str]) -> Vec<String> {
        let cidrs: Vec<String> = cidrs.iter().map(|text| (*text).to_owned()).collect();
        networks(&cidrs, &Path::new("c")).into_iter().map(|cause| cause.message).collect()
    }

    #[test]
    fn there_is_one_network_per_family() {
        assert!(found(&["10.0.0.0/16", "2001:db8::/64"]).is_empty());
        assert_eq!(found(&[]), ["Required value: at least one CIDR required"]);
        assert_eq!(
            found(&["10.0.0.1/16"]),
            ["Invalid value: \"10.0.0.1/16\": must be in canonical form (\"10.0.0.0/16\")"]
        );
        assert_eq!(found(&["10.0.0.0/16", "10.1.0.0/16"]).len(), 1);
    }
}

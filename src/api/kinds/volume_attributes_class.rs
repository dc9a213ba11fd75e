//! Volume attributes classes: properties of volumes that can change during their life (KEP-3751).

use jiff::Timestamp;
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names},
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::name,
};

const PARAMETERS_LIMIT: usize = 512;
const PARAMETERS_LIMIT_BYTES: usize = 256 * 1024;

/// `storage.k8s.io/v1.VolumeAttributesClass`
pub struct VolumeAttributesClassKind;

impl Kind for VolumeAttributesClassKind {
    type Object = VolumeAttributesClass;
    const NAMES: Names = Names {
        short_names: &["vac"],
        ..names::cluster(names::STORAGE, "VolumeAttributesClass", "volumeattributesclasses", "volumeattributesclass")
    };
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_WHOLE;
    const COLUMNS: &'static [Column] =
        &[cells::NAME, cells::column("DriverName", "string", "The driver that knows the parameters."), cells::AGE];

    fn validate(class: &VolumeAttributesClass) -> Vec<Cause> {
        let (driver, path) = (class.driver_name.to_lowercase(), Path::new("driverName"));
        let mut causes = if driver.is_empty() {
            vec![field::required(&path, "")]
        } else {
            field::invalid_each(&path, &driver, &name::qualified_name(&driver))
        };
        let path = Path::new("parameters");
        let parameters = class.parameters.clone().unwrap_or_default();
        if parameters.is_empty() {
            causes.push(field::required(&path, "must contain at least one key/value pair"));
        }
        if parameters.len() > PARAMETERS_LIMIT {
            causes.push(field::too_long(&path, PARAMETERS_LIMIT));
        }
        if parameters.contains_key("") {
            causes.push(field::invalid(&path, "", "field can not be empty."));
        }
        let size: usize = parameters.iter().map(|(key, value)| key.len() + value.len()).sum();
        if size > PARAMETERS_LIMIT_BYTES {
            causes.push(field::too_long(&path, PARAMETERS_LIMIT_BYTES));
        }
        causes
    }

    fn validate_update(new: &VolumeAttributesClass, old: &VolumeAttributesClass) -> Vec<Cause> {
        let mut causes = Vec::new();
        if new.driver_name != old.driver_name {
            causes.push(field::forbidden(&Path::new("driverName"), "updates to driverName are forbidden."));
        }
        if new.parameters != old.parameters {
            causes.push(field::forbidden(&Path::new("parameters"), "updates to parameters are forbidden."));
        }
        causes
    }

    fn cells(class: &VolumeAttributesClass, now: Timestamp) -> Vec<Value> {
        vec![cells::name(&class.metadata), json!(class.driver_name), cells::age(&class.metadata, now)]
    }
}

//! Rules of where volumes come from that PersistentVolumes and the volumes of pods share.

use k8s_openapi::api::core::v1::{FCVolumeSource, SecretReference};

use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::{self, name},
};

const DRIVER_LIMIT_BYTES: usize = 63;
const LUN_LIMIT: i32 = 255;

/// A text that must be there.
pub fn required(value: Option<&str>, path: &Path) -> Option<Cause> {
    value.unwrap_or_default().is_empty().then(|| field::required(path, ""))
}

/// The name of a CSI driver.
pub fn csi_driver(driver: &str, path: &Path) -> Vec<Cause> {
    if driver.is_empty() {
        return vec![field::required(path, "")];
    }
    let mut causes = Vec::new();
    if driver.len() > DRIVER_LIMIT_BYTES {
        causes.push(field::too_long(path, DRIVER_LIMIT_BYTES));
    }
    causes.extend(field::invalid_each(path, driver, &name::dns1123_subdomain(&driver.to_lowercase())));
    causes
}

/// A path on an NFS server.
pub fn nfs(server: &str, exported: &str, path: &Path) -> Vec<Cause> {
    let mut causes: Vec<Cause> = required(Some(server), &path.child("server")).into_iter().collect();
    causes.extend(required(Some(exported), &path.child("path")));
    if !exported.starts_with('/') {
        causes.push(field::invalid(&path.child("path"), exported, "must be an absolute path"));
    }
    causes
}

/// A disk behind fibre channel.
pub fn fibre_channel(source: &FCVolumeSource, path: &Path) -> Vec<Cause> {
    let names = source.target_wwns.as_deref().unwrap_or_default();
    let ids = source.wwids.as_deref().unwrap_or_default();
    let path_names = path.child("targetWWNs");
    let mut causes = Vec::new();
    match (names.is_empty(), ids.is_empty()) {
        (true, true) => {
            causes.push(field::required(&path_names, "must specify either targetWWNs or wwids, but not both"));
        }
        (false, false) => {
            let detail = "targetWWNs and wwids can not be specified simultaneously";
            causes.push(field::invalid(&path_names, names, detail));
        }
        _ => {}
    }
    if !names.is_empty() {
        match source.lun {
            None => causes.push(field::required(&path.child("lun"), "lun is required if targetWWNs is specified")),
            Some(number) => causes.extend(lun(number, &path.child("lun"))),
        }
    }
    causes
}

/// What a target behind iSCSI is called, whoever asks for it.
pub struct Iscsi<'a> {
    /// `address:port`
    pub portal: &'a str,
    /// Its qualified name.
    pub iqn: &'a str,
    /// Number of the disk.
    pub lun: i32,
    /// Whether it asks who is there, and has no secret to check that with.
    pub lacks_secret: bool,
    /// The initiator's qualified name.
    pub initiator: Option<&'a str>,
    /// What is wrong with a name of no known form.
    pub unknown_form: &'static str,
}

impl Iscsi<'_> {
    /// Problems of the source at `path`.
    pub fn validate(&self, path: &Path) -> Vec<Cause> {
        let mut causes: Vec<Cause> = required(Some(self.portal), &path.child("targetPortal")).into_iter().collect();
        match self.iqn {
            "" => causes.push(field::required(&path.child("iqn"), "")),
            text => causes.extend(self.qualified_name(text, &path.child("iqn"))),
        }
        causes.extend(lun(self.lun, &path.child("lun")));
        if self.lacks_secret {
            causes.push(field::required(&path.child("secretRef"), ""));
        }
        causes.extend(self.initiator.and_then(|text| self.qualified_name(text, &path.child("initiatorname"))));
        causes
    }

    fn qualified_name(&self, text: &str, path: &Path) -> Option<Cause> {
        let is_valid = match text.get(..3) {
            Some("iqn") => is_iqn(text),
            Some("eui") => is_number(text, 16),
            Some("naa") => is_number(text, 32),
            _ => return Some(field::invalid(path, text, self.unknown_form)),
        };
        (!is_valid).then(|| field::invalid(path, text, "must be valid format"))
    }
}

/// `iqn.2001-04.com.example:storage.disk`
fn is_iqn(text: &str) -> bool {
    let Some((head, rest)) = text.split_once(':') else { return false };
    let parts: Vec<&str> = head.splitn(3, '.').collect();
    let [_, date, authority] = parts.as_slice() else { return false };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_date = matches!(date.split_once('-'), Some((year, month))
        if year.len() == 4 && month.len() == 2 && digits(year) && digits(month));
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    is_date
        && !authority.is_empty()
        && authority.bytes().all(legal)
        && !rest.is_empty()
        && !rest.contains(|letter: char| ",;*&$|".contains(letter) || letter.is_whitespace())
}

/// `eui.02004567A425678D`: a form, any character and letters or digits.
fn is_number(text: &str, length: usize) -> bool {
    text.len() == length + 4 && text[4..].bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn lun(number: i32, path: &Path) -> Option<Cause> {
    let detail = validation::between(0, LUN_LIMIT.into());
    (!(0..=LUN_LIMIT).contains(&number)).then(|| field::invalid(path, number, &detail))
}

/// A secret that a PersistentVolume refers to.
pub fn secret_reference(reference: &SecretReference, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    match reference.name.as_deref().unwrap_or_default() {
        "" => causes.push(field::required(&path.child("name"), "")),
        text => causes.extend(field::invalid_each(&path.child("name"), text, &name::dns1123_subdomain(text))),
    }
    match reference.namespace.as_deref().unwrap_or_default() {
        "" => causes.push(field::required(&path.child("namespace"), "")),
        text => causes.extend(field::invalid_each(&path.child("namespace"), text, &name::dns1123_label(text))),
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qualified_names_have_one_of_three_forms() {
        let unknown_form = "must be valid format starting with iqn, eui, or naa";
        let problems = |iqn: &str| {
            let source =
                Iscsi { portal: "1.2.3.4:3260", iqn, lun: 0, lacks_secret: false, initiator: None, unknown_form };
            source.validate(&Path::new("iscsi")).into_iter().map(|cause| cause.message).collect::<Vec<_>>()
        };
        assert!(problems("iqn.2001-04.com.example:storage").is_empty());
        assert!(problems("eui.02004567A425678D").is_empty());
        assert_eq!(problems("iqn.2001"), ["Invalid value: \"iqn.2001\": must be valid format"]);
        assert_eq!(problems("other"), [format!("Invalid value: \"other\": {unknown_form}")]);
    }

    #[test]
    fn a_disk_behind_fibre_channel_has_names_or_an_identity() {
        let source = FCVolumeSource { target_wwns: Some(vec!["a".into()]), lun: Some(256), ..Default::default() };
        let causes = fibre_channel(&source, &Path::new("fc"));
        assert_eq!(causes[0].message, "Invalid value: 256: must be between 0 and 255, inclusive");
        let causes = fibre_channel(&FCVolumeSource::default(), &Path::new("fc"));
        assert_eq!(causes[0].message, "Required value: must specify either targetWWNs or wwids, but not both");
    }
}

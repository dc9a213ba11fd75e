//! Files of volumes whose contents come from the API: configMap, secret, downwardAPI, projected.

use std::{collections::BTreeMap, path::PathBuf};

use k8s_openapi::{
    ByteString,
    api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, ServiceAccountTokenProjection, Volume, VolumeProjection},
};

use crate::kubelet::{
    container::downward,
    objects::{Kind, Reference},
    volumes::{
        Cause, Request,
        atomic::{File, Payload, is_safe},
        tokens::TokenKey,
    },
};

/// Mode of files unless the volume says otherwise.
const DEFAULT_MODE: u32 = 0o644;

/// The files of a volume.
pub fn of(request: &Request<'_>, volume: &Volume) -> Result<Payload, Cause> {
    let mut payload = Payload::new();
    if let Some(source) = &volume.config_map {
        let wanted = Wanted {
            reference: Reference::config_map(&source.name),
            items: source.items.as_deref(),
            optional: source.optional == Some(true),
            mode: mode(source.default_mode),
        };
        add_object(request, &wanted, &mut payload)?;
    } else if let Some(source) = &volume.secret {
        let wanted = Wanted {
            reference: Reference::secret(source.secret_name.as_deref().unwrap_or_default()),
            items: source.items.as_deref(),
            optional: source.optional == Some(true),
            mode: mode(source.default_mode),
        };
        add_object(request, &wanted, &mut payload)?;
    } else if let Some(source) = &volume.downward_api {
        add_downward(request, source.items.as_deref(), mode(source.default_mode), &mut payload)?;
    } else if let Some(projected) = &volume.projected {
        for source in projected.sources.iter().flatten() {
            add_projection(request, source, mode(projected.default_mode), &mut payload)?;
        }
    } else {
        return Err(Cause::Unsupported);
    }
    Ok(payload)
}

/// Tokens that a pod's volumes need.
pub fn tokens(pod: &Pod) -> Vec<TokenKey> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let sources = volumes.filter_map(|volume| volume.projected.as_ref()).flat_map(|p| p.sources.iter().flatten());
    let mut keys: Vec<TokenKey> =
        sources.filter_map(|source| source.service_account_token.as_ref()).map(token_key).collect();
    keys.sort();
    keys.dedup();
    keys
}

struct Wanted<'a> {
    reference: Reference,
    items: Option<&'a [KeyToPath]>,
    optional: bool,
    mode: u32,
}

fn add_projection(
    request: &Request<'_>,
    source: &VolumeProjection,
    mode: u32,
    payload: &mut Payload,
) -> Result<(), Cause> {
    if let Some(source) = &source.config_map {
        let reference = Reference::config_map(&source.name);
        let optional = source.optional == Some(true);
        add_object(request, &Wanted { reference, items: source.items.as_deref(), optional, mode }, payload)?;
    }
    if let Some(source) = &source.secret {
        let reference = Reference::secret(&source.name);
        let optional = source.optional == Some(true);
        add_object(request, &Wanted { reference, items: source.items.as_deref(), optional, mode }, payload)?;
    }
    if let Some(source) = &source.downward_api {
        add_downward(request, source.items.as_deref(), mode, payload)?;
    }
    if let Some(source) = &source.service_account_token {
        add_token(request, source, mode, payload)?;
    }
    if source.cluster_trust_bundle.is_some() || source.pod_certificate.is_some() {
        return Err(Cause::Unsupported);
    }
    Ok(())
}

fn add_object(request: &Request<'_>, wanted: &Wanted<'_>, payload: &mut Payload) -> Result<(), Cause> {
    let reference = &wanted.reference;
    let empty = BTreeMap::new();
    let object = request.objects.get(reference).cloned().flatten();
    let data: &BTreeMap<String, ByteString> = match &object {
        Some(object) => &object.data,
        None if wanted.optional => &empty,
        None => return Err(Cause::NotFound { kind: reference.kind.lower(), name: reference.name.clone() }),
    };
    let file = |value: &ByteString, mode: u32| File { data: value.0.clone(), mode, owner: None };
    let Some(items) = wanted.items.filter(|items| !items.is_empty()) else {
        payload.extend(data.iter().map(|(key, value)| (PathBuf::from(key), file(value, wanted.mode))));
        return Ok(());
    };
    for item in items {
        match data.get(&item.key) {
            Some(value) => {
                let mode = item.mode.map_or(wanted.mode, |mode| mode.unsigned_abs());
                payload.insert(safe_path(&item.path)?, file(value, mode));
            }
            None if wanted.optional => {}
            None => {
                let kind = match reference.kind {
                    Kind::ConfigMap => "config",
                    Kind::Secret => "secret",
                };
                return Err(Cause::Key { kind, key: item.key.clone() });
            }
        }
    }
    Ok(())
}

fn add_downward(
    request: &Request<'_>,
    items: Option<&[DownwardAPIVolumeFile]>,
    default_mode: u32,
    payload: &mut Payload,
) -> Result<(), Cause> {
    for item in items.into_iter().flatten() {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => downward::field(request.pod, &field.field_path, request.context)?,
            (None, Some(resource)) => downward::resource(request.pod, None, resource, request.context)?,
            (None, None) => continue,
        };
        let mode = item.mode.map_or(default_mode, |mode| mode.unsigned_abs());
        payload.insert(safe_path(&item.path)?, File { data: text.into_bytes(), mode, owner: None });
    }
    Ok(())
}

fn add_token(
    request: &Request<'_>,
    source: &ServiceAccountTokenProjection,
    mode: u32,
    payload: &mut Payload,
) -> Result<(), Cause> {
    let token = match request.tokens.get(&token_key(source)) {
        Some(Ok(token)) => token.clone(),
        Some(Err(error)) => return Err(Cause::Token(error.clone())),
        None => return Err(Cause::Token("not requested".into())),
    };
    let owner = single_user(request.pod);
    let group = request.pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()).and_then(|c| c.fs_group);
    // Where the one who reads the token is known, nobody else may (KEP-2451).
    let mode = if owner.is_some() || group.is_some() { 0o600 } else { mode };
    payload.insert(safe_path(&source.path)?, File { data: token.into_bytes(), mode, owner });
    Ok(())
}

/// The user that all containers run as, if the spec names one and the same for all.
fn single_user(pod: &Pod) -> Option<u32> {
    let spec = pod.spec.as_ref()?;
    let shared = spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let mut users = spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
        .map(|container| container.security_context.as_ref().and_then(|context| context.run_as_user).or(shared));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok()).flatten()
}

fn token_key(source: &ServiceAccountTokenProjection) -> TokenKey {
    TokenKey {
        audience: source.audience.clone().unwrap_or_default(),
        expiration_seconds: source.expiration_seconds.unwrap_or(3600),
    }
}

fn safe_path(path: &str) -> Result<PathBuf, Cause> {
    let safe = PathBuf::from(path);
    if is_safe(&safe) { Ok(safe) } else { Err(Cause::Path(path.to_owned())) }
}

fn mode(mode: Option<i32>) -> u32 {
    mode.map_or(DEFAULT_MODE, i32::unsigned_abs)
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use serde_json::{Value, json};

    use super::*;
    use crate::kubelet::{
        container::downward::Context,
        objects::{Object, Snapshot},
    };

    fn contents(volume: Value, spec: Value) -> Result<Vec<(String, String, u32)>, Cause> {
        let mut pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
        pod.spec.as_mut().unwrap().volumes = Some(vec![serde_json::from_value(volume).unwrap()]);
        let data = BTreeMap::from([("k".to_owned(), ByteString(b"v".to_vec()))]);
        let object = Some(Arc::new(Object { data, kind: String::new() }));
        let objects = Snapshot::from([(Reference::config_map("cm"), object), (Reference::secret("none"), None)]);
        let tokens = tokens(&pod).into_iter().map(|key| (key, Ok("token".to_owned()))).collect();
        let context = Context::default();
        let request =
            Request { pod: &pod, directory: Path::new("/"), objects: &objects, tokens: &tokens, context: &context };
        let payload = of(&request, &pod.spec.as_ref().unwrap().volumes.as_ref().unwrap()[0])?;
        let text = |file: &File| String::from_utf8(file.data.clone()).unwrap();
        Ok(payload.iter().map(|(path, file)| (path.display().to_string(), text(file), file.mode)).collect())
    }

    fn plain(volume: Value) -> Result<Vec<(String, String, u32)>, Cause> {
        contents(volume, json!({"containers": []}))
    }

    #[test]
    fn all_keys_or_chosen_ones() {
        let all = plain(json!({"name": "v", "configMap": {"name": "cm", "defaultMode": 0o400}})).unwrap();
        assert_eq!(all, [("k".into(), "v".into(), 0o400)]);
        let items = json!([{"key": "k", "path": "dir/file", "mode": 0o600}]);
        let chosen = plain(json!({"name": "v", "configMap": {"name": "cm", "items": items}})).unwrap();
        assert_eq!(chosen, [("dir/file".into(), "v".into(), 0o600)]);
    }

    #[test]
    fn missing_objects_and_keys_fail_unless_optional() {
        let secret = |optional: bool| json!({"name": "v", "secret": {"secretName": "none", "optional": optional}});
        assert_eq!(plain(secret(false)).unwrap_err().to_string(), "secret \"none\" not found");
        assert_eq!(plain(secret(true)).unwrap(), []);
        let items = json!([{"key": "absent", "path": "p"}]);
        let error = plain(json!({"name": "v", "configMap": {"name": "cm", "items": items}})).unwrap_err();
        assert_eq!(error.to_string(), "references non-existent config key: absent");
    }

    #[test]
    fn a_path_may_not_leave_the_volume() {
        let items = json!([{"key": "k", "path": "../escape"}]);
        assert!(matches!(
            plain(json!({"name": "v", "configMap": {"name": "cm", "items": items}})),
            Err(Cause::Path(_))
        ));
    }

    #[test]
    fn a_projected_volume_brings_tokens_objects_and_fields_together() {
        let volume = json!({"name": "v", "projected": {"sources": [
            {"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "cm"}},
            {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}});
        let files = plain(volume.clone()).unwrap();
        assert_eq!(
            files,
            [
                ("k".into(), "v".into(), 0o644),
                ("name".into(), "p".into(), 0o644),
                ("token".into(), "token".into(), 0o644)
            ]
        );
        let as_user = json!({"containers": [{"name": "c"}], "securityContext": {"runAsUser": 1000}});
        assert_eq!(contents(volume, as_user).unwrap()[2].2, 0o600);
    }
}

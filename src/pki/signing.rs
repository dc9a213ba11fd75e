//! The service-account signing key and its compact JWS tokens (RFC 7515, ES256 of RFC 7518).

use std::path::Path;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
    },
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{base::file, pki::Error};

/// Longest token that is looked at, bytes.
const LIMIT_BYTES: usize = 16 * 1024;

/// Signs and verifies service-account tokens.
pub struct SigningKey {
    key: EcdsaKeyPair,
    random: SystemRandom,
    id: String,
}

impl SigningKey {
    /// Reads the PKCS#8 PEM key at `path`, or makes it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let corrupt = || Error::Corrupt { path: path.to_owned(), what: "signing key" };
        let pair = match file::read_optional(path)? {
            Some(pem) => {
                let pem = String::from_utf8(pem).map_err(|_| corrupt())?;
                KeyPair::from_pem_and_sign_algo(&pem, &PKCS_ECDSA_P256_SHA256).map_err(|_| corrupt())?
            }
            None => {
                let failed = |source| Error::Certificate { what: "service-account key".into(), source };
                let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
                file::write_atomic(path, pair.serialize_pem().as_bytes(), file::SECRET_MODE)?;
                pair
            }
        };
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pair.serialized_der(), &random)
            .map_err(|_| corrupt())?;
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(pair.subject_public_key_info()));
        Ok(Self { key, random, id })
    }

    /// The key's identifier, `kid` in headers and key sets.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Signs `claims`.
    pub fn sign(&self, claims: &Value) -> Result<String, Error> {
        let header = json!({"alg": "ES256", "kid": self.id});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let signature = self.key.sign(&self.random, signed.as_bytes()).map_err(|_| Error::Random)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }

    /// Checks the signature of `token` and returns its claims, whose meaning (issuer, audience,
    /// times) is not looked at.
    pub fn verify(&self, token: &str) -> Result<Value, Error> {
        if token.len() > LIMIT_BYTES {
            return Err(Error::Jwt("token is too long"));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Error::Jwt("token is not a JWS"))?;
        let (header, payload) = signed.split_once('.').ok_or(Error::Jwt("token is not a JWS"))?;
        let header = decode(header)?;
        if header["alg"] != "ES256" || header["kid"].as_str().is_some_and(|kid| kid != self.id) {
            return Err(Error::Jwt("token was signed with another key"));
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Error::Jwt("token is not base64url"))?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| Error::Jwt("token signature is invalid"))?;
        decode(payload)
    }

    /// The public key as a JSON Web Key (RFC 7517).
    pub fn public_jwk(&self) -> Value {
        // An uncompressed point: 0x04, then x and y of 32 bytes each (SEC 1).
        let point = self.key.public_key().as_ref();
        let (x, y) = (&point[1..33], &point[33..65]);
        json!({
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }
}

fn decode(part: &str) -> Result<Value, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Error::Jwt("token is not base64url"))?;
    serde_json::from_slice(&bytes).map_err(|_| Error::Jwt("token is not JSON"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> (tempfile::TempDir, SigningKey) {
        let directory = tempfile::tempdir().unwrap();
        let key = SigningKey::open(&directory.path().join("service.key")).unwrap();
        (directory, key)
    }

    #[test]
    fn a_reopened_key_verifies_what_it_signed_before() {
        let (directory, key) = key();
        let token = key.sign(&json!({"sub": "a"})).unwrap();
        let again = SigningKey::open(&directory.path().join("service.key")).unwrap();
        assert_eq!(again.verify(&token).unwrap()["sub"], "a");
    }

    #[test]
    fn another_key_and_no_algorithm_are_refused() {
        let (_one, first) = key();
        let (_two, second) = key();
        assert!(second.verify(&first.sign(&json!({})).unwrap()).is_err());
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let unsigned = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode("{}"));
        assert!(first.verify(&unsigned).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_changed_byte_goes_unnoticed(position in 0usize..200, change in 1u8..64) {
            let (_directory, key) = key();
            let token = key.sign(&json!({"sub": "system:serviceaccount:default:default", "exp": 4_000_000_000_u64}))
                .unwrap();
            let mut bytes = token.clone().into_bytes();
            let position = position % (bytes.len() - 2);
            bytes[position] = bytes[position].wrapping_add(change) & 0x7f;
            if let Ok(changed) = String::from_utf8(bytes) && changed != token {
                prop_assert!(key.verify(&changed).is_err());
            }
        }

        #[test]
        fn rubbish_never_panics(text in ".{0,200}") {
            let (_directory, key) = key();
            prop_assert!(key.verify(&text).is_err());
        }
    }
}

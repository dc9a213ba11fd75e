//! Signed tokens of others (JWS in the compact form, RFC 7515) and the keys that verify them (JSON Web
//! Key Sets, RFC 7517). What the claims mean is not looked at.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use p521::ecdsa::{Signature, VerifyingKey, signature::Verifier as _};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, EcdsaVerificationAlgorithm, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::Value;

use crate::pki::Error;

/// Longest token that is looked at, bytes.
const TOKEN_LIMIT_BYTES: usize = 64 * 1024;
/// Keys of a set that are looked at.
const KEYS_LIMIT: usize = 128;

/// How a token is signed (RFC 7518, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
}

/// All algorithms with their names.
pub const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
    ("PS256", Algorithm::Ps256),
    ("PS384", Algorithm::Ps384),
    ("PS512", Algorithm::Ps512),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("ES512", Algorithm::Es512),
];

impl Algorithm {
    /// The algorithm of this name.
    pub fn named(name: &str) -> Option<Self> {
        ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        ALGORITHMS.iter().find(|(_, algorithm)| *algorithm == self).map_or("", |(name, _)| name)
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Some(&RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Some(&RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Some(&RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Some(&RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Some(&RSA_PSS_2048_8192_SHA512),
            Self::Es256 | Self::Es384 | Self::Es512 => None,
        }
    }
}

/// A token that was taken apart, but not verified.
#[derive(Debug)]
pub struct Token<'a> {
    /// The name of its algorithm.
    pub algorithm: String,
    /// The key it says it was signed with; empty if it does not say.
    pub key_id: String,
    /// What it claims. Not to be trusted before [`KeySet::verifies`] has said so.
    pub claims: Value,
    signed: &'a [u8],
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    crit: Vec<String>,
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        if text.len() > TOKEN_LIMIT_BYTES {
            return Err(Error::Jwt("token is too long"));
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Error::Jwt("malformed jwt"))?;
        let (header, claims) = signed.split_once('.').ok_or(Error::Jwt("malformed jwt"))?;
        let header: Header = decode(header)?;
        if !header.crit.is_empty() {
            return Err(Error::Jwt("token has critical headers that are not supported"));
        }
        Ok(Self {
            algorithm: header.alg,
            key_id: header.kid,
            claims: decode(claims)?,
            signed: signed.as_bytes(),
            signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| Error::Jwt("token is not base64url"))?,
        })
    }
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Error::Jwt("token is not base64url"))?;
    serde_json::from_slice(&bytes).map_err(|_| Error::Jwt("token is not JSON"))
}

/// Public keys.
#[derive(Debug, Default, Clone)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug, Clone)]
struct Key {
    id: String,
    /// The one algorithm it is for, if it says so.
    algorithm: Option<String>,
    material: Material,
}

#[derive(Debug, Clone)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point, and the algorithm that goes with its curve.
    Curve {
        point: Vec<u8>,
        algorithm: Algorithm,
    },
}

#[derive(Deserialize)]
struct WireSet {
    keys: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireKey {
    kty: String,
    kid: String,
    #[serde(rename = "use")]
    purpose: String,
    alg: Option<String>,
    n: String,
    e: String,
    crv: String,
    x: String,
    y: String,
}

impl KeySet {
    /// Reads a key set. Keys of kinds that are not known, or for other purposes than signing, are
    /// left out.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        let wire: WireSet = serde_json::from_slice(json).map_err(|_| Error::Parse("JSON web key set"))?;
        let keys = wire.keys.into_iter().take(KEYS_LIMIT).filter_map(|key| serde_json::from_value(key).ok());
        Ok(Self { keys: keys.filter_map(key).collect() })
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether there is a key of this name; an empty name stands for any.
    pub fn knows(&self, id: &str) -> bool {
        self.keys.iter().any(|key| id.is_empty() || key.id == id)
    }

    /// Whether one of the keys signed the token.
    pub fn verifies(&self, token: &Token<'_>) -> bool {
        let Some(algorithm) = Algorithm::named(&token.algorithm) else { return false };
        let fits = |key: &&Key| {
            (token.key_id.is_empty() || key.id == token.key_id)
                && key.algorithm.as_ref().is_none_or(|only| *only == token.algorithm)
        };
        self.keys.iter().filter(fits).any(|key| key.material.verifies(algorithm, token))
    }
}

impl Material {
    fn verifies(&self, algorithm: Algorithm, token: &Token<'_>) -> bool {
        match self {
            Self::Rsa { modulus, exponent } => algorithm.rsa().is_some_and(|parameters| {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, token.signed, &token.signature).is_ok()
            }),
            Self::Curve { point, algorithm: own } if *own == algorithm => match own {
                Algorithm::Es512 => is_signed_on_p521(point, token),
                Algorithm::Es384 => is_signed_on(&ECDSA_P384_SHA384_FIXED, point, token),
                _ => is_signed_on(&ECDSA_P256_SHA256_FIXED, point, token),
            },
            Self::Curve { .. } => false,
        }
    }
}

fn is_signed_on(curve: &'static EcdsaVerificationAlgorithm, point: &[u8], token: &Token<'_>) -> bool {
    UnparsedPublicKey::new(curve, point).verify(token.signed, &token.signature).is_ok()
}

/// ring has no such curve.
fn is_signed_on_p521(point: &[u8], token: &Token<'_>) -> bool {
    let (key, signature) = (VerifyingKey::from_sec1_bytes(point), Signature::from_slice(&token.signature));
    key.is_ok_and(|key| signature.is_ok_and(|signature| key.verify(token.signed, &signature).is_ok()))
}

fn key(wire: WireKey) -> Option<Key> {
    if !matches!(wire.purpose.as_str(), "" | "sig") {
        return None;
    }
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok().filter(|bytes| !bytes.is_empty());
    let material = match (wire.kty.as_str(), wire.crv.as_str()) {
        ("RSA", _) => {
            Material::Rsa { modulus: without_zeros(bytes(&wire.n)?), exponent: without_zeros(bytes(&wire.e)?) }
        }
        ("EC", "P-256") => curve(&bytes(&wire.x)?, &bytes(&wire.y)?, 32, Algorithm::Es256)?,
        ("EC", "P-384") => curve(&bytes(&wire.x)?, &bytes(&wire.y)?, 48, Algorithm::Es384)?,
        ("EC", "P-521") => curve(&bytes(&wire.x)?, &bytes(&wire.y)?, 66, Algorithm::Es512)?,
        _ => return None,
    };
    Some(Key { id: wire.kid, algorithm: wire.alg, material })
}

/// Numbers in key sets have no leading zeros, but some issuers write them.
fn without_zeros(number: Vec<u8>) -> Vec<u8> {
    number.into_iter().skip_while(|byte| *byte == 0).collect()
}

fn curve(x: &[u8], y: &[u8], size: usize, algorithm: Algorithm) -> Option<Material> {
    // 0x04, then both coordinates (SEC 1).
    let point = (x.len() == size && y.len() == size).then(|| [&[4], x, y].concat())?;
    Some(Material::Curve { point, algorithm })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
    };
    use serde_json::json;

    use super::*;
    use crate::pki::signing::SigningKey;

    fn encode(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    fn own() -> (SigningKey, KeySet) {
        let directory = tempfile::tempdir().unwrap();
        let key = SigningKey::open(&directory.path().join("key")).unwrap();
        let set = KeySet::parse(json!({"keys": [key.public_jwk()]}).to_string().as_bytes()).unwrap();
        (key, set)
    }

    #[test]
    fn a_key_set_verifies_what_its_keys_signed() {
        let (key, set) = own();
        let (other, _) = own();
        let token = key.sign(&json!({"sub": "jane"})).unwrap();
        let token = Token::parse(&token).unwrap();
        assert!(set.verifies(&token) && set.knows(key.id()) && token.claims["sub"] == "jane");
        let foreign = other.sign(&json!({})).unwrap();
        assert!(!set.verifies(&Token::parse(&foreign).unwrap()) && !set.knows(other.id()));
    }

    #[test]
    fn the_larger_curve_is_known() {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let point = key.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..49]), URL_SAFE_NO_PAD.encode(&point[49..]));
        let keys =
            json!({"keys": [{"kty": "EC", "crv": "P-384", "kid": "a", "x": x, "y": y}, {"kty": "oct", "k": "AA"}]});
        let set = KeySet::parse(keys.to_string().as_bytes()).unwrap();
        let signed = format!("{}.{}", encode(&json!({"alg": "ES384"})), encode(&json!({})));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(&random, signed.as_bytes()).unwrap().as_ref());
        assert!(set.verifies(&Token::parse(&format!("{signed}.{signature}")).unwrap()));
        let claimed = format!("{}.{}.{signature}", encode(&json!({"alg": "ES256"})), encode(&json!({})));
        assert!(!set.verifies(&Token::parse(&claimed).unwrap()));
    }

    #[test]
    fn the_largest_curve_is_known() {
        // Made with OpenSSL.
        let x = "AQmwECzuNeGv4Cleb0DYbXjjJko07pjse-EOeXmsk1jVXEbmgTWL393c6KUbk60pfodzxd4FJhF0MYa4zbwFbgJ0";
        let y = "AZqv5mJMZ0XvaVeb28U6Aj_fIciDJ4i_alhLO1Ah5Y78siEXuFfGQYF9Rqjee8bQsWpuG6nIN-M91VmOSH0tFLrh";
        let signature = "AcJCy9fv0zRz6dwp-fgo54Jpl6a23XG9TREpi8tNjcoW7uQJjMBxRSdAlx_11SZe8LusZ6ToLnK3tMMEyUYXbTrTADSoqMVR\
                         -Nye4i95iQW_EQ_SnyAo0yAT4pBhppYcfO0l_Vp44SCdP9dJMv5K5j-S3TSIOeI3wqgLFuKDXBYBsJ2O";
        let keys = json!({"keys": [{"kty": "EC", "crv": "P-521", "kid": "a", "x": x, "y": y}]});
        let set = KeySet::parse(keys.to_string().as_bytes()).unwrap();
        let verifies = |algorithm: &str, name: &str, signature: &str| {
            let token = format!("{}.{}.{signature}", encode(&json!({"alg": algorithm})), encode(&json!({"sub": name})));
            set.verifies(&Token::parse(&token).unwrap())
        };
        assert!(verifies("ES512", "jane", signature));
        assert!(!verifies("ES512", "joe", signature) && !verifies("ES384", "jane", signature));
        assert!(!verifies("ES512", "jane", &signature[..88]));
    }

    /// Made with OpenSSL: modulus of a key, and what it signed with RS256, RS512 and PS384.
    const MODULUS: &str = "krZv16wo25_9wNLD878zlAv2d-27kliud5lS-QTBMVlTSdOB0FiLnH9QZsGgP_YRmquiffg8omLEk9WGkO75zLFDyV5H13Wh\
         -tXPmke4-uPkJr3WgVzPqT-CLYhovJh64LhE2PrCCLKh3ZW662iCFj98Z--yVthKgmdqpdlR9OU3-OFg6ncdGVdDbvPABXqs\
         Mj6pqgzQL5m3vA1mN6wOiVeypAbXM9SBlKUcSOu-bNgBy6o578XabrcSF7vnfxbJep8FaZSFKVZK-qxPufElxF0PpzDHIDaR\
         aAahsz5qaGdl-78o403PwJV6Hb39g0TNGTpyygqjToZ7u4LUVuWUlw";
    const SIGNED: [&str; 3] = [
        "eyJhbGciOiJSUzI1NiIsImtpZCI6InIifQ.eyJzdWIiOiJqYW5lIn0.U-AoI4bvbeoOT8zNxudj1nEoWcSmN3YG5qv109UUY\
         3eF_ASAVkyQMGcFrHLHOj-vRsIXv2Scanl7KULXopgJCtLOCuWigLXDLKSSY6OxCq7Qc8VY7V5r0y1WIs_NYsLbZwXef35-K\
         HWhggdIqOKGniQTyxW_wkFxIyxoJiqD6cYKNQ0tO-FnGol3xZ4O41BOwwKzs8JMDEANMzk6E-GIOJIIGt8rhr3Vs_EOoOFwM\
         lUZTFgaMgG76XPlkz3e1sdY39O-WIbXU7ZXhWQVGAucQOohlRQEPnIgbBF6r-DkEfisMStid_k4PS_Kiav3CoVejFxZU6few\
         EJsHQTnKi5lEg",
        "eyJhbGciOiJSUzUxMiIsImtpZCI6InIifQ.eyJzdWIiOiJqYW5lIn0.OcyrxDjSMDem2wZEpeO2-r0vLK6cgbm2fi34Twaze\
         ldJ4vpM_lZjjnXJWUsWGK0J00MgMlcIyaEr_g__0iJwPGk3C4woQoiGg_pLyODJdRxgn0vA3EAGOJxu3VJ_eO8dbjveF1TRA\
         zERZrUUtMF1gjFFHoNqjjG2qfsOS5dVhZHwcgUgM_P2ys9EYBhbceGYDx_rmOAWwTAgobLL0bWvDBA1nvqEiXLsnWdPYaXRh\
         Tfg5yWtlD1Iaq54rjoYbDyAHkZLIpNll8-Kv2r7AYKmNdcm25s9iMwK79bgV9OvduLT2u7xqA2HJdS2eAknr__Y-3ck7jVEu\
         1z69HMfQtZTuA",
        "eyJhbGciOiJQUzM4NCIsImtpZCI6InIifQ.eyJzdWIiOiJqYW5lIn0.ZP95dE5yuxrn7FkEL_uCz7O4F-ldEGUQlDX66wsja\
         OLhKDjX1iXYLjlS8Jv2QBEvDK9Loa0QvzV9BUHWGXO6F04I11RtBAY-EggtFGQOcmGhhXiSaB-Wq0kCE2Xu-ueht1Ic9sWsh\
         2POYL5CDpa7hQgqi0joR0gtPi_KfXn2wv5qxg2gusK01uQBLB14BcntWagXv_L1MrH1kpM2Bq0jU67V9DnK8pUZDKRya1U34\
         IknVqi7fjdKrU03jtgiE7zNtJNYkoMooIx-jNAwhJuwlpflkxYsUFh6v-VzHjIzDa-bHtn5lDrvPDzyZ7zzQZjBtmpQXn0o-\
         l1Fn-zgpCNnEw",
    ];

    #[test]
    fn rsa_signatures_of_others_are_verified() {
        let keys = json!({"keys": [{"kty": "RSA", "use": "sig", "kid": "r", "n": MODULUS, "e": "AQAB"}]});
        let set = KeySet::parse(keys.to_string().as_bytes()).unwrap();
        for token in SIGNED {
            assert!(set.verifies(&Token::parse(token).unwrap()), "{token}");
            let changed = token.replacen("eyJzdWIiOiJqYW5lIn0", "eyJzdWIiOiJqYW5mIn0", 1);
            assert!(!set.verifies(&Token::parse(&changed).unwrap()));
        }
        let encryption = json!({"keys": [{"kty": "RSA", "use": "enc", "kid": "r", "n": MODULUS, "e": "AQAB"}]});
        assert!(KeySet::parse(encryption.to_string().as_bytes()).unwrap().is_empty());
    }

    #[test]
    fn tokens_without_a_signature_are_nobodys() {
        let (_, set) = own();
        for algorithm in ["none", "HS256", ""] {
            let token = format!("{}.{}.", encode(&json!({"alg": algorithm})), encode(&json!({})));
            assert!(!set.verifies(&Token::parse(&token).unwrap()), "{algorithm}");
        }
        let critical = format!("{}.{}.", encode(&json!({"alg": "ES256", "crit": ["b64"]})), encode(&json!({})));
        assert!(Token::parse(&critical).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn rubbish_never_panics(text in ".{0,200}", json in ".{0,200}") {
            let _ = Token::parse(&text);
            let _ = KeySet::parse(json.as_bytes());
        }
    }
}
